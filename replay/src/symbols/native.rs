//! Native code places → functions, files and lines, from the ELF and DWARF files of this machine.
//!
//! What comes in: places (module, offset) of a tape and its modules. What goes out: one
//! [`Symbol`] for each place, with inlined functions expanded, and notes on modules that have no
//! usable file. It never guesses: a file whose build-id is not the recorded one names nothing.

use super::cache::{Cache, Entry};
use super::elf_file::{Named, name_places, source_files};
use super::shield::shielded;
use crate::tape::Tape;
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::{Frame, Module};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// A place in the recorded program's code, as stack frames name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodePlace {
    /// Number of the module in the tape; 0: unknown code, `offset` is the address.
    pub module: u32,
    /// ELF virtual address.
    pub offset: u64,
    /// False: a return address, so the call is the instruction before it.
    pub exact: bool,
}

impl CodePlace {
    /// The place of a frame; None for frames of an interpreter, and where a stack was cut.
    #[must_use]
    pub fn of(frame: Frame) -> Option<Self> {
        match frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => Some(Self {
                module,
                offset,
                exact,
            }),
            Frame::Python { .. } | Frame::Cut(_) => None,
        }
    }

    /// The place that a symbol names.
    #[must_use]
    pub fn of_symbol(symbol: &Symbol) -> Self {
        Self {
            module: symbol.module,
            offset: symbol.offset,
            exact: symbol.exact,
        }
    }

    /// Its symbol.
    #[must_use]
    pub fn symbol(self, frames: Vec<SourceFrame>) -> Symbol {
        Symbol {
            module: self.module,
            offset: self.offset,
            exact: self.exact,
            frames,
        }
    }

    /// Its symbol when nothing is known of it.
    pub(super) fn unknown(self) -> Symbol {
        self.symbol(Vec::new())
    }

    /// The ELF virtual address to look up: inside the call instruction.
    #[must_use]
    pub fn look_up_address(self) -> u64 {
        if self.exact {
            self.offset
        } else {
            self.offset.saturating_sub(1)
        }
    }
}

/// What a look-up found.
#[derive(Debug, Default)]
pub struct LookUp {
    /// One symbol for each place, in no order; without frames where nothing is known.
    pub symbols: Vec<Symbol>,
    /// One for each module file that cannot be used, or whose debug file cannot.
    pub notes: Vec<Note>,
    /// Modules at whose files the symbol library failed: what is known of their places depends on
    /// which of them were looked up together.
    pub failed: Vec<u32>,
}

/// Why a module has no symbols, or not those of a debug file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Number of the module.
    pub module: u32,
    /// It is about a debug file.
    pub is_of_debug_file: bool,
    /// One line for a person.
    pub text: String,
}

/// A module with more places than this is shared among threads.
const PART_PLACES_MIN: usize = 8192;
/// The note on a file that the symbol library cannot digest.
const MALFORMED: &str = "the file is malformed";

/// The file that a module was, as its tape tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordedFile {
    /// Its path.
    pub path: String,
    /// Its build-id; empty when it has none.
    pub build_id: Vec<u8>,
    /// Without a build-id: when it was there at the latest, Unix time in nanoseconds. What was
    /// changed since may be another file.
    pub met_unix_ns: u64,
}

impl RecordedFile {
    /// The file of `module`, a module of `tape`.
    #[must_use]
    pub fn of(tape: &Tape, module: &Module) -> Self {
        let header = &tape.header;
        let met_unix_ns = match module.build_id.is_empty() {
            true => header
                .start_realtime_ns
                .saturating_add(header.stamp_to_ns(module.stamp)),
            false => 0,
        };
        Self {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            met_unix_ns,
        }
    }
}

/// A file whose places are looked up.
struct Source<'f> {
    file: &'f RecordedFile,
    /// The files that may name them.
    files: Vec<PathBuf>,
    /// What is known of them from before.
    entry: Option<Entry>,
}

/// Looks up `places`: what was named before is taken from the user's cache, the rest is looked up
/// in parallel over modules and remembered there. `progress` is told (done, total).
pub fn look_up(
    places: &[CodePlace],
    file: impl Fn(u32) -> Option<RecordedFile>,
    progress: impl FnMut(u64, u64) + Send,
) -> LookUp {
    look_up_with(Cache::of_user().as_ref(), places, file, progress)
}

fn look_up_with(
    cache: Option<&Cache>,
    places: &[CodePlace],
    file: impl Fn(u32) -> Option<RecordedFile>,
    progress: impl FnMut(u64, u64) + Send,
) -> LookUp {
    let mut found = LookUp::default();
    let mut files: FxHashMap<u32, Option<RecordedFile>> = FxHashMap::default();
    for place in places {
        files
            .entry(place.module)
            .or_insert_with(|| file(place.module).filter(|file| file.path.starts_with('/')));
    }
    let mut by_file: BTreeMap<&RecordedFile, Vec<CodePlace>> = BTreeMap::new();
    for &place in places {
        match files.get(&place.module).and_then(Option::as_ref) {
            Some(file) => by_file.entry(file).or_default().push(place),
            None => found.symbols.push(place.unknown()),
        }
    }
    let (mut sources, mut work) = (Vec::new(), Vec::new());
    for (file, mut places) in by_file {
        match source(file, cache) {
            Ok(source) => {
                if let Some(entry) = &source.entry {
                    places.retain(|&place| match entry.frames(place) {
                        Some(frames) => {
                            found.symbols.push(place.symbol(frames.to_vec()));
                            false
                        }
                        None => true,
                    });
                }
                work.extend(split(places).map(|part| (sources.len(), part)));
                sources.push(source);
            }
            Err(note) => {
                found.notes.extend(places.first().map(|place| Note {
                    module: place.module,
                    is_of_debug_file: false,
                    text: format!("{}: {note}", file.path),
                }));
                found
                    .symbols
                    .extend(places.iter().map(|place| place.unknown()));
            }
        }
    }
    let progress = Progress::new(places.len(), found.symbols.len(), progress);
    let named: Vec<(usize, Named)> = work
        .into_par_iter()
        .filter_map(|(number, places)| {
            let Source { file, files, .. } = sources.get(number)?;
            let named = shielded(|| name_places(file, files, &places, |done| progress.add(done)));
            let named = named.unwrap_or_else(|| Named {
                symbols: places.iter().map(|place| place.unknown()).collect(),
                has_failed: true,
                note: None,
                is_makeshift: true,
            });
            Some((number, named))
        })
        .collect();
    remember(sources, &named);
    for (_, part) in named {
        found.take(part);
    }
    found
}

/// Where the places of `file` are looked up, or why they cannot be.
fn source<'f>(file: &'f RecordedFile, cache: Option<&Cache>) -> Result<Source<'f>, String> {
    let files = shielded(|| source_files(file)).unwrap_or_else(|| Err(MALFORMED.to_owned()))?;
    let entry = cache.and_then(|cache| shielded(|| cache.entry(&files, &file.build_id))?);
    Ok(Source { file, files, entry })
}

/// The places of one file in parts for all threads, each part in the order of addresses.
fn split(mut places: Vec<CodePlace>) -> impl Iterator<Item = Vec<CodePlace>> {
    places.sort_unstable_by_key(|place| place.look_up_address());
    let parts = rayon::current_num_threads().min(places.len() / PART_PLACES_MIN + 1);
    let part = places.len().div_ceil(parts.max(1)).max(1);
    let parts: Vec<Vec<CodePlace>> = places.chunks(part).map(<[_]>::to_vec).collect();
    parts.into_iter()
}

/// Puts what was found into the cache, except of files that made the symbol library fail, that
/// could not be opened, and those with a note, which is for every run to say.
fn remember(sources: Vec<Source<'_>>, named: &[(usize, Named)]) {
    for (number, source) in sources.into_iter().enumerate() {
        let parts = || {
            named
                .iter()
                .filter(|part| part.0 == number)
                .map(|part| &part.1)
        };
        let is_whole = |part: &Named| {
            let is_sure = !part.has_failed && !part.is_makeshift;
            is_sure && part.note.is_none()
        };
        let is_whole = parts().all(is_whole);
        if let Some(entry) = source.entry.filter(|_| is_whole) {
            entry.store(parts().flat_map(|part| &part.symbols));
        }
    }
}

impl LookUp {
    fn take(&mut self, part: Named) {
        let module = part.symbols.first().map(|symbol| symbol.module);
        self.failed.extend(module.filter(|_| part.has_failed));
        // All parts of a file say the same.
        if let (Some(text), Some(module)) = (part.note, module)
            && self.notes.iter().all(|note| note.text != text)
        {
            self.notes.push(Note {
                module,
                is_of_debug_file: true,
                text,
            });
        }
        self.symbols.extend(part.symbols);
    }
}

/// Counts what all threads have done and tells it.
struct Progress<P> {
    total: u64,
    state: Mutex<(u64, P)>,
}

impl<P: FnMut(u64, u64) + Send> Progress<P> {
    fn new(total: usize, done: usize, tell: P) -> Self {
        let progress = Self {
            total: total as u64,
            state: Mutex::new((0, tell)),
        };
        progress.add(done);
        progress
    }

    fn add(&self, places: usize) {
        // A poisoned lock only means that a thread died while telling; telling goes on.
        let mut state = self.state.lock().unwrap_or_else(|lock| lock.into_inner());
        state.0 += places as u64;
        let done = state.0;
        (state.1)(done, self.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blazesym::helper::read_elf_build_id;
    use blazesym::symbolize::{Input, Symbolized, Symbolizer, source};
    use std::fs::{self, File};
    use std::time::SystemTime;

    /// What is in the cache is believed as long as the file is the same, and so are its companions.
    #[test]
    fn what_was_found_before_is_taken_from_the_cache() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let file = RecordedFile {
            path: program.to_str().unwrap().to_owned(),
            build_id: read_elf_build_id(&program).unwrap().unwrap().into_owned(),
            met_unix_ns: 0,
        };
        let cache = Cache::in_folder(room.path().join("cache"));
        let place = CodePlace {
            module: 3,
            offset: an_address_in(&program),
            exact: true,
        };
        let names = |cache| {
            let mut told = Vec::new();
            let progress = |done, total| told.push((done, total));
            let found = look_up_with(cache, &[place], |_| Some(file.clone()), progress);
            assert_eq!((told.last(), found.notes.len()), (Some(&(1, 1)), 0));
            let [symbol] = &found.symbols[..] else {
                panic!("{found:?}");
            };
            assert_eq!(CodePlace::of_symbol(symbol), place);
            let frames = symbol.frames.iter();
            frames
                .map(|frame| frame.function.clone())
                .collect::<Vec<_>>()
        };
        let right = names(None);
        assert!(right.iter().all(|name| !name.is_empty()) && !right.is_empty());
        assert_eq!(names(Some(&cache)), right);
        assert_eq!(names(Some(&cache)), right);
        let frames = vec![SourceFrame {
            function: "another".to_owned(),
            ..SourceFrame::default()
        }];
        let files = source_files(&file).unwrap();
        let entry = cache.entry(&files, &file.build_id).unwrap();
        entry.store([place.symbol(frames)].iter());
        assert_eq!(names(Some(&cache)), ["another"]);
        let touched = File::options().write(true).open(&program).unwrap();
        touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(names(Some(&cache)), right);
        // A folder that cannot be.
        let nowhere = Cache::in_folder(program.join("cache"));
        assert_eq!(names(Some(&nowhere)), right);
    }

    /// The ELF virtual address of a function.
    fn an_address_in(program: &std::path::Path) -> u64 {
        let source = source::Source::Elf(source::Elf::new(program));
        let symbolizer = Symbolizer::new();
        let is_known = |address: &u64| {
            let found = symbolizer.symbolize_single(&source, Input::VirtOffset(*address));
            matches!(found, Ok(Symbolized::Sym(_)))
        };
        (0x1000..).step_by(0x1000).find(is_known).unwrap()
    }
}
