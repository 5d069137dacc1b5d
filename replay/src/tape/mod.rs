//! An opened tape: its header, its tables, where its chunks are, its stacks, its damage.
//!
//! In: a file. Out: values. It never changes the file, and damage never makes it fail once the
//! header is whole.

pub(crate) mod chunks;
pub(crate) mod domains;
pub(crate) mod fork_cuts;
pub(crate) mod growing;
mod lineage;
pub(crate) mod open;
mod stacks;
mod tables;
mod totals;
mod verify;

pub use stacks::CutStacks;
pub use totals::TapeTotals;
pub use verify::Verification;

use crate::block::{StackId, StreamId};
use crate::error::Error;
use chunks::{ChunkList, StreamChunks, damaged_chunk};
use fork_cuts::ForkCuts;
use heaptape_format::left::{Left, left};
use heaptape_format::scan::{Damage, FoundChunk};
use heaptape_format::stack::Frame;
use heaptape_format::symbols::Symbol;
use heaptape_format::tables::{
    Child, ClockPair, CodeObject, Domain, End, Epoch, Folded, Lost, Mark, Module, Process,
    ResidentSample, Stream,
};
use heaptape_format::{ChunkKind, TapeHeader};
use open::Bytes;
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use stacks::StackTable;
use std::path::{Path, PathBuf};
use tables::Tables;

/// `Process::origin`: heaptape started the command.
pub const ORIGIN_STARTED: u8 = 0;
/// `Process::origin`: the process was forked by a recorded one.
pub const ORIGIN_FORKED: u8 = 1;
/// Bit of `Process::options`: mappings are recorded.
const OPTION_MAPPINGS: u32 = 2;
/// Bit of `Process::options`: frees have stacks.
const OPTION_FREE_STACKS: u32 = 1;

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
    /// The code objects by number, those of a parent's tape behind them. [`Tape::code`] finds one.
    pub codes: Vec<CodeObject>,
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
    /// The cuts that its writer made while it recorded.
    pub(crate) epochs: Vec<Epoch>,
    /// Forked: where the streams of the parent's tape stood.
    pub(crate) fork_cuts: ForkCuts,
    /// The events up to a moment are gone, and what they added up to; None: the tape has them all.
    pub folded: Option<Folded>,
    /// What could not be read but for events, by offset. Damaged events are found when they are
    /// decoded: see [`Tape::verify`].
    pub damage: Vec<Damage>,
    /// Stamp at which this image began: 0 when heaptape started it.
    pub start_stamp: u64,
    /// Stamp of the end of the recording, or of the last thing in a cut tape.
    pub end_stamp: u64,
    /// `end_stamp - start_stamp`.
    pub duration_stamp: u64,
    /// Size of the file.
    pub tape_bytes: u64,
    /// Events that the tape had, by the numbers in the headers of their chunks and by the end's:
    /// those that are not readable were in damaged or missing chunks. Of a tape that has no end,
    /// those behind a stream's last chunk are not known.
    pub numbered_events: u64,
    /// All chunks in the order of the file.
    pub(crate) chunks: Vec<FoundChunk>,
    /// The event chunks of each stream, by stream.
    pub(crate) event_streams: Vec<StreamChunks>,
    pub(crate) bytes: Bytes,
    pub(crate) stacks: StackTable,
    /// The number of the chunk behind the last.
    next_sequence: u64,
    /// Stacks and frames of this tape itself, without its parent's.
    own_counts: (usize, usize),
}

impl Tape {
    /// Opens the tape at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tape.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::of_bytes(path, open::tape_bytes(path)?)
    }

    /// As [`Tape::open`], the first `bytes` bytes of the file alone.
    ///
    /// # Errors
    /// As [`Tape::open`], and when it is shorter.
    pub(crate) fn open_part(path: &Path, bytes: u64) -> Result<Self, Error> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let file = open::tape_file(path)?;
        if file.metadata().map_err(read)?.len() < bytes {
            return Err(read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Self::of_bytes(path, Bytes::of_start(&file, bytes).map_err(read)?)
    }

    /// The tape at `path`, of which `bytes` are the whole or the first ones.
    pub(crate) fn of_bytes(path: &Path, bytes: Bytes) -> Result<Self, Error> {
        Self::read(path, bytes, |bytes, list| {
            StackTable::merge(bytes, &list.chunks, &mut list.damage)
        })
    }

    /// True while it is being recorded, or an end is being put to it.
    #[must_use]
    pub fn is_being_written(&self) -> bool {
        self.end.is_none() && open::is_locked(&self.path)
    }

    /// Opens the tape at `path` without its stacks, and gives the distinct frames of them: for who
    /// asks for code places alone, at a fraction of the cost.
    ///
    /// # Errors
    /// As [`Tape::open`].
    pub(crate) fn open_for_frames(path: &Path) -> Result<(Self, FxHashSet<Frame>), Error> {
        let tape = Self::read(path, open::tape_bytes(path)?, |_, _| StackTable::default())?;
        let frames = stacks::distinct_frames(&tape.bytes, &tape.chunks);
        Ok((tape, frames))
    }

    fn read(
        path: &Path,
        bytes: Bytes,
        stacks: impl FnOnce(&[u8], &mut ChunkList) -> StackTable,
    ) -> Result<Self, Error> {
        let (header, header_bytes) =
            TapeHeader::decode(&bytes).map_err(|source| Error::Header {
                path: path.to_owned(),
                source,
            })?;
        let mut list = ChunkList::scan(&bytes, header_bytes);
        let folded = list.folded(&bytes);
        let first = folded.as_ref().map_or(0, |folded| folded.sequence);
        let next_sequence = list.check_sequence(header_bytes as u64, first);
        list.refuse_unknown(path)?;
        let tables = Tables::read(&bytes, &mut list);
        let event_streams = list.streams(folded.is_some());
        let stacks = stacks(&bytes, &mut list);
        list.check_others(&bytes);
        let tape = Self::assemble(path, bytes, header, list, tables, event_streams, stacks);
        Ok(Self {
            numbered_events: tape.numbered_events(folded.as_ref()),
            folded,
            next_sequence,
            ..tape
        })
    }

    fn assemble(
        path: &Path,
        bytes: Bytes,
        header: TapeHeader,
        mut list: ChunkList,
        tables: Tables,
        event_streams: Vec<StreamChunks>,
        stacks: StackTable,
    ) -> Self {
        list.damage.sort_by_key(|damage| damage.offset);
        let last_event = event_streams
            .iter()
            .filter_map(|stream| stream.chunks.last())
            .map(|chunk| chunk.stamp_last)
            .max();
        let end = tables.end.as_ref().map(|end| end.stamp);
        // What the sampler wrote behind the end is no part of the run; a later event is.
        let end_stamp = end
            .unwrap_or(tables.stamp_last)
            .max(last_event.unwrap_or(0));
        let start_stamp = match tables.process.origin {
            ORIGIN_STARTED => 0,
            _ => tables.process.cut_stamp.min(end_stamp),
        };
        let fork_cuts = ForkCuts::new(&tables.fork_cuts, tables.process.cut_stamp);
        Self {
            path: path.to_owned(),
            header,
            process: tables.process,
            end: tables.end,
            streams: tables.streams,
            modules: tables.modules,
            codes: tables.codes,
            marks: tables.marks,
            resident: tables.resident,
            lost: tables.lost,
            children: tables.children,
            clock_pairs: tables.clock_pairs,
            domains: tables.domains,
            epochs: tables.epochs,
            fork_cuts,
            damage: list.damage,
            start_stamp,
            end_stamp,
            duration_stamp: end_stamp - start_stamp,
            tape_bytes: bytes.len() as u64,
            numbered_events: list.numbered_events,
            folded: None,
            next_sequence: 0,
            chunks: list.chunks,
            event_streams,
            own_counts: stacks.counts(),
            stacks,
            bytes,
        }
    }

    /// Events that there are by the chunks' numbers, and by the end's count: chunks at the end of a
    /// stream may be gone.
    fn numbered_events(&self, folded: Option<&Folded>) -> u64 {
        let gone = folded.map_or(0, |folded| folded.events);
        let written = self.end.as_ref().map_or(0, |end| {
            let counts = [end.allocs, end.frees, end.reallocs, end.maps];
            counts.into_iter().fold(0, u64::saturating_add)
        });
        self.numbered_events.max(written.saturating_sub(gone))
    }

    /// The first moment that the tape tells of: its image's start, or where it was folded.
    #[must_use]
    pub fn told_from(&self) -> u64 {
        let folded = self.folded.as_ref().map_or(0, |folded| folded.stamp);
        folded.max(self.start_stamp)
    }

    /// Every event that counts is behind this stamp; None: all do. A folded tape that has others
    /// has them by a defect of its writer.
    pub(crate) fn folded_at(&self) -> Option<u64> {
        self.folded.as_ref().map(|folded| folded.stamp)
    }

    /// What the events that are gone left behind. What cannot be read is left out.
    pub(crate) fn left(&self) -> Vec<Left> {
        let chunks = self.chunks.iter();
        let chunks = chunks.filter(|chunk| chunk.header.kind == ChunkKind::LEFT);
        let (mut all, mut payload) = (Vec::new(), Vec::new());
        for chunk in chunks {
            if chunk.payload(&self.bytes, &mut payload).is_ok() {
                all.extend(left(&payload, chunk.header.count).unwrap_or_default());
            }
        }
        all
    }

    /// The frames of a stack, the most recent first.
    pub fn frames(&self, stack: StackId) -> impl Iterator<Item = Frame> + '_ {
        let mut at = stack;
        std::iter::from_fn(move || {
            let frame = self.stacks.frame(at)?;
            at = self.stacks.parent(at);
            Some(frame)
        })
    }

    /// The most recent frame of a stack; None for [`StackId::NONE`].
    #[must_use]
    pub fn frame(&self, stack: StackId) -> Option<Frame> {
        self.stacks.frame(stack)
    }

    /// The stack of the caller: the same without the most recent frame.
    #[must_use]
    pub fn parent(&self, stack: StackId) -> StackId {
        self.stacks.parent(stack)
    }

    /// The largest [`StackId`]: ids run from 1 to this number, those of a parent's tape included.
    #[must_use]
    pub fn stack_id_max(&self) -> u32 {
        self.stacks.counts().0 as u32
    }

    /// Stacks that this tape itself holds: each node of the tree is one, also those at which no
    /// allocation was made.
    #[must_use]
    pub fn stack_count(&self) -> usize {
        self.own_counts.0
    }

    /// Stacks of this tape itself that are cut; those that others continue are not counted.
    #[must_use]
    pub fn cut_stacks(&self) -> CutStacks {
        self.stacks.cut(self.own_counts.0)
    }

    /// Distinct frames that this tape itself holds.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.own_counts.1
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

    /// The code object of a number; None for 0, and where its record is damaged.
    #[must_use]
    pub fn code(&self, number: u32) -> Option<&CodeObject> {
        let found = self.codes.binary_search_by_key(&number, |c| c.number);
        let found = found.ok().filter(|_| number != 0);
        found.and_then(|place| self.codes.get(place))
    }

    /// The symbols that the tape carries, in the order of the file. Damaged ones are left out.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut all = Vec::new();
        let mut payload = Vec::new();
        for chunk in &self.chunks {
            if chunk.header.kind != ChunkKind::SYMBOLS
                || chunk.payload(&self.bytes, &mut payload).is_err()
            {
                continue;
            }
            all.extend(
                heaptape_format::symbols::symbols(&payload, chunk.header.count).unwrap_or_default(),
            );
        }
        all
    }

    /// Events that the recorder counted as lost.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        let counted = self
            .lost
            .iter()
            .fold(0u64, |sum, lost| sum.saturating_add(lost.count));
        counted.max(self.end.as_ref().map_or(0, |end| end.lost))
    }

    /// True when frees have stacks.
    #[must_use]
    pub fn has_free_stacks(&self) -> bool {
        self.process.options & OPTION_FREE_STACKS != 0
    }

    /// True when the recording was asked for mappings (`run --mmap`).
    #[must_use]
    pub fn has_mappings(&self) -> bool {
        self.process.options & OPTION_MAPPINGS != 0
    }

    /// True when no event chunk has a wrong checksum but those at `offsets`, which are sorted.
    pub(crate) fn are_sound(&self, offsets: &[u64]) -> bool {
        self.event_streams
            .par_iter()
            .flat_map_iter(|stream| &stream.chunks)
            .all(|chunk| {
                let found = &chunk.found;
                let stored = found.stored(&self.bytes);
                stored.is_ok_and(|stored| found.header.checked(stored).is_ok())
                    || offsets.binary_search(&found.offset).is_ok()
            })
    }

    /// Event chunks that were found to be unreadable at `offsets`, as damage.
    pub(crate) fn event_damage(&self, offsets: &[u64]) -> Vec<Damage> {
        let chunks = self.event_streams.iter().flat_map(|stream| &stream.chunks);
        chunks
            .filter(|chunk| offsets.binary_search(&chunk.found.offset).is_ok())
            .filter_map(|chunk| {
                let error = crate::history::transitions::decode(self, chunk).err()?;
                Some(damaged_chunk(&chunk.found, error))
            })
            .collect()
    }
}
