//! The tape of the process that forked this one: finding it, and taking over its stacks.
//!
//! In: a forked tape. Out: its parent's tape in the same folder, opened, when it is there and was
//! recorded by the same clock. The frames of inherited blocks become frames of this tape.

use super::{ORIGIN_FORKED, Tape};
use crate::block::StackId;
use crate::symbols::paths::{file_name, on_disk_in};
use heaptape_format::TapeHeader;
use heaptape_format::stack::Frame;
use heaptape_format::tables::{CodeObject, Module};
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files of a folder that are looked at for a parent that was renamed.
const FILES_MAX: usize = 10_000;
/// The longest header that any version writes.
const HEADER_BYTES_MAX: u64 = 65536;

impl Tape {
    /// True when the recorded process was forked by a recorded one: it inherited blocks.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.process.origin == ORIGIN_FORKED
    }

    /// The tape of the process image that forked this one; None when this one was not forked or
    /// no such tape is there.
    ///
    /// A tape can have been renamed since (the name goes to the last image of a process), so when
    /// the named one is not the right image, the other tapes of the folder are tried.
    #[must_use]
    pub fn parent_tape(&self) -> Option<Self> {
        if !self.is_forked() {
            return None;
        }
        let name = file_name(&self.process.parent_tape);
        if name.is_empty() {
            return None;
        }
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        self.opened_parent(&on_disk_in(folder, name), true)
            .or_else(|| {
                let candidates = self.relatives(folder);
                candidates
                    .iter()
                    .find_map(|path| self.opened_parent(path, false))
            })
    }

    /// The tape at `path`, when it can be the parent's. The one that is named may be that of an
    /// older ancestor: of an image in between that made no event, there is no tape.
    fn opened_parent(&self, path: &Path, is_named: bool) -> Option<Self> {
        if !self.is_relative(path) {
            return None;
        }
        let parent = Self::open(path).ok()?;
        let cut = self.process.cut_stamp;
        let same_process = is_named
            || self.process.parent_pid == 0
            || parent.process.pid == self.process.parent_pid;
        let last = self.fork_cuts.last();
        let lived = parent.start_stamp <= cut && (parent.end.is_none() || last <= parent.end_stamp);
        (same_process && lived).then_some(parent)
    }

    /// The tapes of the same recording in `folder`.
    fn relatives(&self, folder: &Path) -> Vec<PathBuf> {
        let Ok(files) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = files
            .take(FILES_MAX)
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "tape")
            })
            .filter(|path| self.is_relative(path))
            .collect();
        paths.sort();
        paths
    }

    /// True when `path` is another tape of the same recording: its stamps mean the same times.
    fn is_relative(&self, path: &Path) -> bool {
        if !path.is_file() {
            return false;
        }
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(HEADER_BYTES_MAX).read_to_end(&mut bytes));
        let (Ok(_), Ok((header, _))) = (read, TapeHeader::decode(&bytes)) else {
            return false;
        };
        header.session_id == self.header.session_id
            && header.tape_id != self.header.tape_id
            && header.clock == self.header.clock
            && header.ticks_per_second == self.header.ticks_per_second
            && header.start_ticks == self.header.start_ticks
            && header.stamp_shift == self.header.stamp_shift
    }

    /// Takes over the code objects of `parent`. Returns what number each has here.
    fn adopt_codes(&mut self, parent: &Self) -> FxHashMap<u32, u32> {
        let own = self.codes.iter().rev();
        let mut own: FxHashMap<_, u32> = own.map(|code| (contents(code), code.number)).collect();
        let mut last = self.codes.last().map_or(0, |last| last.number);
        let mut numbers = FxHashMap::default();
        let mut new = Vec::new();
        for code in parent.codes.iter().filter(|code| code.number != 0) {
            let number = *own.entry(contents(code)).or_insert_with(|| {
                // 2^32 code objects do not fit in a tape: any other would be unknown.
                let Some(number) = last.checked_add(1) else {
                    return 0;
                };
                last = number;
                new.push(CodeObject {
                    number,
                    ..code.clone()
                });
                number
            });
            numbers.insert(code.number, number);
        }
        self.codes.extend(new);
        numbers
    }

    /// Takes over the modules, code objects and stacks of `parent`. Returns what its stack
    /// `place + 1` is here.
    pub(crate) fn adopt_stacks(&mut self, parent: &Self) -> Vec<StackId> {
        let mut own: FxHashMap<(u64, String, Vec<u8>), u32> = self
            .modules
            .iter()
            .rev()
            .map(|module| (identity(module), module.index))
            .collect();
        let mut next = self
            .modules
            .last()
            .map_or(1, |last| last.index.saturating_add(1));
        let mut indexes: FxHashMap<u32, u32> = FxHashMap::default();
        for module in &parent.modules {
            let index = *own.entry(identity(module)).or_insert_with(|| {
                let index = next;
                next = next.saturating_add(1);
                self.modules.push(Module {
                    index,
                    ..module.clone()
                });
                index
            });
            indexes.insert(module.index, index);
        }
        let codes = self.adopt_codes(parent);
        self.stacks.adopt(&parent.stacks, |frame| match frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => Frame::Native {
                module: indexes.get(&module).copied().unwrap_or(0),
                offset,
                exact,
            },
            Frame::Python { code, instruction } => Frame::Python {
                code: codes.get(&code).copied().unwrap_or(0),
                instruction,
            },
            Frame::Cut(reason) => Frame::Cut(reason),
        })
    }
}

/// What tells that two tapes mean the same code object: all but its number.
fn contents(code: &CodeObject) -> (u8, u32, &str, &str, &[u8]) {
    let (file, name) = (&code.file, &code.name);
    (code.form, code.first_line, file, name, &code.line_table)
}

/// What tells that two tapes mean the same load of the same object.
fn identity(module: &Module) -> (u64, String, Vec<u8>) {
    (
        module.load_bias,
        module.path.clone(),
        module.build_id.clone(),
    )
}
