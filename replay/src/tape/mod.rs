//! An opened tape: its header, its tables, where its chunks are, its stacks, its damage.
//!
//! In: a file. Out: values. It never changes the file, and damage never makes it fail once the
//! header is whole.

use crate::block::{StackId, StreamId};
use crate::error::Error;
use heaptape_format::scan::Damage;
use heaptape_format::symbols::Symbol;
use heaptape_format::tables::{
    Child, ClockPair, Domain, End, Frame, Lost, Mark, Module, Process, ResidentSample, Stream,
};
use heaptape_format::{TapeHeader, event::DomainId, header::ClockKind};
use std::path::{Path, PathBuf};

/// An opened tape.
#[derive(Debug)]
pub struct Tape {
    /// Its path as it was given.
    pub path: PathBuf,
    /// Its header.
    pub header: TapeHeader,
    /// The recorded process image; all empty when the tape was cut before it was written.
    pub process: Process,
    /// How the recording ended; None when the tape was cut.
    pub end: Option<End>,
    /// The streams by index. [`Tape::stream`] finds one.
    pub streams: Vec<Stream>,
    /// The modules by index, those of a parent's tape behind them. [`Tape::module`] finds one.
    pub modules: Vec<Module>,
    /// The marks in the order of time.
    pub marks: Vec<Mark>,
    /// The samples of resident memory in the order of time.
    pub resident: Vec<ResidentSample>,
    /// Events that are not in the tape.
    pub lost: Vec<Lost>,
    /// Process images that this one started or tried to.
    pub children: Vec<Child>,
    /// Pairs of clocks.
    pub clock_pairs: Vec<ClockPair>,
    /// User-defined domains.
    pub domains: Vec<Domain>,
    /// What could not be read of the chunk headers and the tables. Damaged events are found when
    /// they are decoded: see [`Tape::verify`].
    pub damage: Vec<Damage>,
    /// Stamp at which this image began: 0 when heaptape started it.
    pub start_stamp: u64,
    /// Stamp of the end of the recording, or of the last thing in a cut tape.
    pub end_stamp: u64,
    /// `end_stamp - start_stamp`.
    pub duration_stamp: u64,
    /// Size of the file.
    pub tape_bytes: u64,
}

/// The state of every checksum of a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verification {
    /// Chunks with a readable header.
    pub chunks: u64,
    /// Chunks and stretches that cannot be read.
    pub damaged: u64,
    /// Events that the recorder itself counted as lost.
    pub lost_events: u64,
    /// Events in readable chunks.
    pub readable_events: u64,
    /// Where the first damage begins, in bytes from the start of the tape.
    pub first_damage_offset: Option<u64>,
}

impl Tape {
    /// Opens the tape at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tape.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            header: TapeHeader::new(ClockKind::Monotonic, 1_000_000_000, 0),
            process: Process::default(),
            end: None,
            streams: Vec::new(),
            modules: Vec::new(),
            marks: Vec::new(),
            resident: Vec::new(),
            lost: Vec::new(),
            children: Vec::new(),
            clock_pairs: Vec::new(),
            domains: Vec::new(),
            damage: Vec::new(),
            start_stamp: 0,
            end_stamp: 0,
            duration_stamp: 0,
            tape_bytes: 0,
        })
    }

    /// The frames of a stack, the most recent first.
    pub fn frames(&self, stack: StackId) -> impl Iterator<Item = Frame> + '_ {
        let _ = stack;
        std::iter::empty()
    }

    /// The most recent frame of a stack; None for [`StackId::NONE`].
    #[must_use]
    pub fn frame(&self, stack: StackId) -> Option<Frame> {
        let _ = stack;
        None
    }

    /// The stack of the caller: the same without the most recent frame.
    #[must_use]
    pub fn parent(&self, stack: StackId) -> StackId {
        let _ = stack;
        StackId::NONE
    }

    /// Stacks in the table: ids run from 1 to this number. Each node of the tree is a stack.
    #[must_use]
    pub fn stack_count(&self) -> usize {
        0
    }

    /// Distinct frames in the table.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        0
    }

    /// The stream of an id; None for inherited blocks and where its record is damaged.
    #[must_use]
    pub fn stream(&self, stream: StreamId) -> Option<&Stream> {
        let found = self.streams.binary_search_by_key(&stream.0, |s| s.index);
        found.ok().and_then(|place| self.streams.get(place))
    }

    /// The module of an index.
    #[must_use]
    pub fn module(&self, index: u32) -> Option<&Module> {
        let found = self.modules.binary_search_by_key(&index, |m| m.index);
        found.ok().and_then(|place| self.modules.get(place))
    }

    /// The name of a domain: `native`, `raw`, `mem`, `obj`, `mmap`, `arena` or the user's.
    #[must_use]
    pub fn domain_name(&self, domain: DomainId) -> &str {
        let _ = domain;
        "native"
    }

    /// The symbols that the tape carries.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }

    /// Events that the recorder counted as lost.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        0
    }

    /// Checks every checksum and decodes every chunk.
    #[must_use]
    pub fn verify(&self) -> Verification {
        Verification::default()
    }
}
