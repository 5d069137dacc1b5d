//! What stands between the events of a process: modules, marks, names, facts, lost events.
//!
//! In: blobs of the rings. Out: table records, written before the events that may need them
//! (modules, code objects, domains) or after (the rest). A blob that cannot be understood is left
//! out.

use crate::clock::Clock;
use crate::press::Press;
use crate::process_info::arguments;
use crate::tape::TapeWriter;
use heaptape_format::tables::{
    Child, CodeObject, Domain, ForkCut, Frame, Lost, Mark, Module, Process, StackNode,
};
use heaptape_session::reasons;
use heaptape_session::record::{blob, blob_bytes};
use rustc_hash::FxHashMap;

/// Modules that a process numbers at most; damaged records may have any number.
const MODULES_MAX: usize = 1 << 16;

/// Code objects whose records are told apart from missed ones; damaged nodes may have any number.
const CODES_MAX: usize = 1 << 20;

/// The notes of one process image.
#[derive(Debug, Default)]
pub struct Notes {
    /// The image's record.
    pub process: Process,
    /// The record is not in the tape, or was changed since.
    pub process_changed: bool,
    modules: Vec<Module>,
    /// By the number of a module: its record is in the tape, or was missed already.
    met_modules: Vec<bool>,
    /// A stack node went to the tape before the record of its module or its code object, which
    /// waits in another thread's ring.
    lacks_name: bool,
    codes: Vec<CodeObject>,
    /// By the number of a code object: whether there is a record of it; else one was missed.
    met_codes: FxHashMap<u32, bool>,
    domains: Vec<Domain>,
    fork_cuts: Vec<ForkCut>,
    marks: Vec<Mark>,
    lost: Vec<Lost>,
    /// Children that are recorded, and those that cannot be.
    pub children: Vec<Child>,
    /// The program calls an allocator of its own, of which nothing is seen.
    pub brings_allocator: bool,
    /// Command and reason of each child that could not be recorded.
    pub refused: Vec<(String, String)>,
    /// What the tape that is continued has already: it is not written again.
    pub known: Known,
}

/// Records that another drainer wrote before it died, where writing them twice would say
/// something else than once.
#[derive(Debug, Default)]
pub struct Known {
    /// Marks.
    pub marks: Vec<Mark>,
    /// Lost events.
    pub lost: Vec<Lost>,
    /// Children.
    pub children: Vec<Child>,
    /// Numbers of code objects.
    pub codes: Vec<u32>,
}

/// Reads the fields of a blob.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number<const N: usize>(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes.get_mut(..N)?.copy_from_slice(self.take(N)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.number::<1>()?;
        self.take(count as usize)
    }

    fn text(&self) -> String {
        heaptape_format::text::of_bytes(self.0)
    }
}

impl Notes {
    /// Takes a blob of the stream `stream`; the thread's name when it is one.
    pub fn take(
        &mut self,
        kind: u8,
        stamp: u64,
        stream: u32,
        bytes: usize,
        content: &[u64],
        clock: &Clock,
    ) -> Option<String> {
        let content: Vec<u8> = blob_bytes(content, bytes).collect();
        let mut fields = Fields(&content);
        match kind {
            blob::MODULE => self.modules.extend(module(&mut fields, stamp)),
            blob::EXECUTABLE => set(
                &mut self.process.executable,
                fields.text(),
                &mut self.process_changed,
            ),
            blob::COMMAND => {
                let command = arguments(&content);
                // A process that can open no file does not know its own.
                if !command.is_empty() && command != self.process.command {
                    self.process_changed = true;
                    self.process.command = command;
                }
            }
            blob::WORKING_FOLDER => {
                set(
                    &mut self.process.working_folder,
                    fields.text(),
                    &mut self.process_changed,
                );
            }
            blob::ALLOCATOR => {
                set(
                    &mut self.process.allocator,
                    fields.text(),
                    &mut self.process_changed,
                );
            }
            blob::MARK => {
                let name = fields.text();
                self.marks.push(Mark {
                    stamp,
                    stream,
                    name,
                });
            }
            blob::DOMAIN => {
                if let Some(id) = fields.number::<2>() {
                    let name = fields.text();
                    self.domains.push(Domain {
                        id: id as u16,
                        name,
                    });
                }
            }
            blob::NOT_RECORDED => {
                if let Some(child) = not_recorded(&mut fields, stamp) {
                    self.brings_allocator |= child.reason == reasons::OWN_ALLOCATOR;
                    self.refused
                        .push((child.command.clone(), child.reason.clone()));
                    self.children.push(child);
                }
            }
            blob::THREAD_NAME => return Some(fields.text()),
            blob::LOST => self.lost.extend(lost(&mut fields, stamp, stream, clock)),
            blob::FORK_CUTS => {
                let cuts = std::iter::from_fn(|| fork_cut(&mut fields, clock));
                self.fork_cuts.extend(cuts);
            }
            _ => {}
        }
        None
    }

    /// A mark that was set from outside of the process.
    pub fn mark_from_outside(&mut self, stamp: u64, name: String) {
        self.marks.push(Mark {
            stamp,
            stream: u32::MAX,
            name,
        });
    }

    /// Lost events of a stream or of the process.
    pub fn add_lost(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// True when there is more than who the image is.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !(self.marks.is_empty() && self.lost.is_empty() && self.children.is_empty())
    }

    /// True when no module's record is in the tape yet.
    #[must_use]
    pub fn has_no_module(&self) -> bool {
        self.met_modules.is_empty()
    }

    /// Adds a code object, unless another thread told of it before.
    pub fn add_code(&mut self, code: CodeObject) {
        if self.met_codes.len() >= CODES_MAX
            || self.met_codes.insert(code.number, true) != Some(true)
        {
            self.codes.push(code);
        }
    }

    /// Takes it that the tape has `known` already.
    pub fn set_known(&mut self, known: Known) {
        let codes = known.codes.iter().map(|&number| (number, true));
        self.met_codes.extend(codes.take(CODES_MAX));
        self.known = known;
    }

    /// Looks whether the modules and code objects of `nodes`, which are about to be written, are in
    /// the tape.
    pub fn look_for_names(&mut self, nodes: &[StackNode]) {
        for node in nodes {
            self.lacks_name |= match node.frame {
                Frame::Native { module, .. } => module != 0 && self.meet(module),
                Frame::Python { code, .. } => code != 0 && self.meet_code(code),
                Frame::Cut(_) => false,
            };
        }
    }

    /// Meets a code object; true when it is the first time.
    fn meet_code(&mut self, code: u32) -> bool {
        let is_first = self.met_codes.len() < CODES_MAX && !self.met_codes.contains_key(&code);
        if is_first {
            self.met_codes.insert(code, false);
        }
        is_first
    }

    /// True when a record was missed.
    #[must_use]
    pub fn lacks_name(&self) -> bool {
        self.lacks_name
    }

    /// Whether a record was missed since this was last asked. Each is missed once at most.
    #[must_use]
    pub fn take_lack(&mut self) -> bool {
        std::mem::take(&mut self.lacks_name)
    }

    /// Meets a module; true when it is the first time.
    fn meet(&mut self, module: u32) -> bool {
        let at = module as usize;
        if at >= MODULES_MAX {
            return false;
        }
        if at >= self.met_modules.len() {
            self.met_modules.resize(at + 1, false);
        }
        let met = self.met_modules.get_mut(at);
        met.is_some_and(|met| !std::mem::replace(met, true))
    }

    /// Writes what events may refer to.
    pub fn write_first(&mut self, press: &mut Press, tape: &mut TapeWriter) {
        if self.process_changed {
            self.process_changed = false;
            let stamp = self.process.cut_stamp;
            tape.table(press, std::slice::from_ref(&self.process), (stamp, stamp));
        }
        let stamps = span(self.modules.iter().map(|module| module.stamp));
        tape.table(press, &self.modules, stamps);
        for module in std::mem::take(&mut self.modules) {
            self.meet(module.index);
        }
        tape.table(press, &self.codes, (0, 0));
        self.codes.clear();
        tape.table(press, &self.domains, (0, 0));
        self.domains.clear();
        tape.table(press, &self.fork_cuts, (0, 0));
        self.fork_cuts.clear();
    }

    /// Writes the rest.
    pub fn write_last(&mut self, press: &mut Press, tape: &mut TapeWriter) {
        let known = &self.known;
        self.marks.retain(|mark| !known.marks.contains(mark));
        self.lost.retain(|lost| !known.lost.contains(lost));
        self.children
            .retain(|child| !known.children.contains(child));
        tape.table(
            press,
            &self.marks,
            span(self.marks.iter().map(|mark| mark.stamp)),
        );
        self.marks.clear();
        tape.lost(press, &self.lost);
        self.lost.clear();
        let stamps = span(self.children.iter().map(|child| child.stamp));
        tape.table(press, &self.children, stamps);
        self.children.clear();
    }
}

fn set(place: &mut String, value: String, changed: &mut bool) {
    if !value.is_empty() && *place != value {
        *place = value;
        *changed = true;
    }
}

/// Smallest and largest of some stamps.
fn span(stamps: impl Iterator<Item = u64> + Clone) -> (u64, u64) {
    (stamps.clone().min().unwrap_or(0), stamps.max().unwrap_or(0))
}

fn module(fields: &mut Fields<'_>, stamp: u64) -> Option<Module> {
    Some(Module {
        index: fields.number::<4>()? as u32,
        load_bias: fields.number::<8>()?,
        start: fields.number::<8>()?,
        end: fields.number::<8>()?,
        stamp,
        build_id: fields.counted()?.to_vec(),
        path: fields.text(),
    })
}

fn fork_cut(fields: &mut Fields<'_>, clock: &Clock) -> Option<ForkCut> {
    Some(ForkCut {
        stream: fields.number::<4>()? as u32,
        stamp: clock.stamp(fields.number::<8>()?),
    })
}

fn not_recorded(fields: &mut Fields<'_>, stamp: u64) -> Option<Child> {
    let reason = String::from_utf8_lossy(fields.counted()?).into_owned();
    Some(Child {
        stamp,
        pid: 0,
        origin: 2,
        tape: String::new(),
        command: fields.text(),
        reason,
    })
}

fn lost(fields: &mut Fields<'_>, stamp: u64, stream: u32, clock: &Clock) -> Option<Lost> {
    Some(Lost {
        stream,
        count: fields.number::<4>()?,
        stamp_first: stamp,
        stamp_last: clock.stamp(fields.number::<8>()?),
        reason: fields.number::<1>()? as u8,
    })
}
