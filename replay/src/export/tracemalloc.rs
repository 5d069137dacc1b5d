//! A snapshot of Python's `tracemalloc`, as `tracemalloc.Snapshot.dump` of Python 3.9 and later
//! writes one.
//!
//! In: live blocks. Out: a pickle with one trace for each, a tuple of domain, size, traceback and
//! the number of frames that the traceback had before it was cut. A traceback is a tuple of (file,
//! line), the most recent first, as the module's C code hands them out. Blocks that are alike are
//! one trace that stands in the list several times, and every traceback, frame and file is written
//! once: of a million blocks a few megabytes are left.

use super::pickle::{Memo, Pickle, is_pickle};
use super::place::FileKind;
use crate::block::{Block, StackId};
use crate::stats::filter::FrameFilter;
use crate::stats::key::UNKNOWN;
use crate::stats::query::{At, Query, QueryError};
use crate::stats::trace::{TraceId, Traces};
use crate::symbols::{FrameId, FrameTable, StackFrames, StackSource};
use crate::tape::Tape;
use heaptape_format::event::DomainId;
use heaptape_format::symbols::Symbol;
use heaptape_format::tables::{CodeObject, Frame, Module};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::{self, Write};

/// The most frames that `tracemalloc` keeps or counts.
pub const FRAMES_MAX: u16 = u16::MAX;
/// Files of this format.
pub const FILES: FileKind = FileKind {
    name: "a pickle",
    is_one: is_pickle,
};
/// `tracemalloc`'s number for memory of Python's allocators.
const PYTHON_DOMAIN: u64 = 0;
/// Our number for memory of the C library.
const NATIVE_DOMAIN: u64 = 1;
const MODULE: &str = "tracemalloc";
/// Traces that are put together before they are appended to the list.
const BATCH: u64 = 1000;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Traces: one for each block.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were allocated outside all functions of Python.
    pub without_frames: u64,
}

/// Blocks and their tracebacks, ready to be written.
#[derive(Debug)]
pub struct Snapshot {
    /// Those with one stack, domain and size stand together.
    blocks: Vec<Block>,
    table: FrameTable,
    frames: StackFrames,
    admitted: FxHashSet<StackId>,
    limit: u16,
    /// What the reader should know.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// What `query` chooses of the blocks that are alive at `at` and were allocated from stamp
    /// `from` on. Only frames of Python count; of each stack the `limit` most recent ones are kept.
    /// Without `native`, blocks of the C library are left out unless `query` names domains.
    ///
    /// # Errors
    /// As [`Query::live`].
    pub fn new(
        query: &Query,
        from: u64,
        at: At<'_>,
        native: bool,
        limit: u16,
    ) -> Result<Self, QueryError> {
        let chosen = query.chosen(from, at)?;
        let mut blocks = chosen.blocks;
        if !native && query.blocks.domains.is_empty() {
            blocks.retain(|block| block.domain != DomainId::NATIVE);
        }
        blocks.par_sort_unstable_by_key(|block| (block.stack, block.domain, block.size));
        let stacks: FxHashSet<StackId> = blocks.iter().map(|block| block.stack).collect();
        let mut table = FrameTable::default();
        let frames = StackFrames::resolve(&PythonOnly(at.recording.tape()), &stacks, &mut table);
        let admits = |stack: &StackId| admits(&query.frames, &frames, &table, *stack);
        let admitted = stacks.into_iter().filter(admits).collect();
        Ok(Self {
            blocks,
            table,
            frames,
            admitted,
            limit: limit.max(1),
            notes: chosen.notes,
        })
    }

    /// Writes the snapshot.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write(&self, out: impl Write) -> io::Result<Written> {
        let mut pickle = Pickle::new(out)?;
        pickle.begin_object(MODULE, "Snapshot")?;
        pickle.text("traces")?;
        pickle.begin_object(MODULE, "_Traces")?;
        pickle.text("_traces")?;
        pickle.list()?;
        let written = Writer::new(self, &mut pickle).traces()?;
        pickle.attribute()?;
        pickle.end_object()?;
        pickle.attribute()?;
        pickle.text("traceback_limit")?;
        pickle.number(self.limit.into())?;
        pickle.attribute()?;
        pickle.end_object()?;
        pickle.finish()?;
        Ok(written)
    }
}

/// True when blocks of `stack` pass `filter`. Their place is the most recent frame: `tracemalloc`
/// knows no wrappers.
fn admits(filter: &FrameFilter, frames: &StackFrames, table: &FrameTable, stack: StackId) -> bool {
    let all = frames.get(stack);
    filter.admits(all.clone(), all.clone().next(), table)
}

/// A tape whose stacks have no frames but Python's: nothing else is looked up.
struct PythonOnly<'t>(&'t Tape);

impl StackSource for PythonOnly<'_> {
    fn step(&self, stack: StackId) -> Option<(Frame, StackId)> {
        let mut at = stack;
        loop {
            let (frame, outer) = StackSource::step(self.0, at)?;
            if matches!(frame, Frame::Python { .. }) {
                return Some((frame, outer));
            }
            at = outer;
        }
    }

    fn module(&self, _: u32) -> Option<&Module> {
        None
    }

    fn code(&self, number: u32) -> Option<&CodeObject> {
        StackSource::code(self.0, number)
    }

    fn embedded(&self) -> Vec<Symbol> {
        Vec::new()
    }
}

/// A file and a line, as `tracemalloc` knows frames.
type Place<'s> = (&'s str, u32);

/// Writes traces, each object once.
struct Writer<'s, 'p, W> {
    snapshot: &'s Snapshot,
    pickle: &'p mut Pickle<W>,
    files: FxHashMap<&'s str, Memo>,
    /// Different functions on one line are one place.
    place_ids: FxHashMap<Place<'s>, u32>,
    places: Vec<(Place<'s>, Option<Memo>)>,
    /// Of places.
    tracebacks: Traces,
    traceback_memos: FxHashMap<TraceId, Memo>,
}

impl<'s, 'p, W: Write> Writer<'s, 'p, W> {
    fn new(snapshot: &'s Snapshot, pickle: &'p mut Pickle<W>) -> Self {
        Self {
            snapshot,
            pickle,
            files: FxHashMap::default(),
            place_ids: FxHashMap::default(),
            places: Vec::new(),
            tracebacks: Traces::default(),
            traceback_memos: FxHashMap::default(),
        }
    }

    /// Appends all traces to the list on the stack.
    fn traces(mut self) -> io::Result<Written> {
        let snapshot = self.snapshot;
        let mut written = Written::default();
        let mut in_batch = 0;
        let of_stack = |one: &Block, other: &Block| one.stack == other.stack;
        for blocks in snapshot.blocks.chunk_by(of_stack) {
            let Some(stack) = blocks.first().map(|block| block.stack) else {
                continue;
            };
            if !snapshot.admitted.contains(&stack) {
                continue;
            }
            let (traceback, frames) = self.traceback_of(stack);
            if traceback == TraceId::EMPTY {
                written.without_frames += blocks.len() as u64;
            }
            let alike = |one: &Block, other: &Block| {
                (number_of(one.domain), one.size) == (number_of(other.domain), other.size)
            };
            for same in blocks.chunk_by(alike) {
                let (Some(block), count) = (same.first(), same.len() as u64) else {
                    continue;
                };
                if in_batch == 0 {
                    self.pickle.mark()?;
                }
                self.trace(block, traceback, frames)?;
                self.pickle.repeat(count - 1)?;
                written.blocks += count;
                written.bytes += count * block.size;
                in_batch += count;
                if in_batch >= BATCH {
                    self.pickle.end_items()?;
                    in_batch = 0;
                }
            }
        }
        if in_batch > 0 {
            self.pickle.end_items()?;
        }
        Ok(written)
    }

    /// The traceback of a stack, cut, and how many frames it had.
    fn traceback_of(&mut self, stack: StackId) -> (TraceId, u64) {
        let snapshot = self.snapshot;
        let limit = usize::from(snapshot.limit);
        let all = snapshot.frames.get(stack);
        let kept = all.clone().take(limit);
        let places: Vec<u32> = kept.map(|id| self.place_of(id)).collect();
        let outer_first = places.into_iter().rev();
        let traceback = outer_first.fold(TraceId::EMPTY, |outer, place| {
            self.tracebacks.put(place, outer)
        });
        // What stands for no frame counts as one.
        let frames = all.take(FRAMES_MAX.into()).count().max(1);
        (traceback, frames as u64)
    }

    fn place_of(&mut self, id: FrameId) -> u32 {
        let frame = self.snapshot.table.get(id);
        let place = (frame.file.as_deref().unwrap_or(UNKNOWN), frame.line);
        let places = &mut self.places;
        *self.place_ids.entry(place).or_insert_with(|| {
            places.push((place, None));
            // Fewer than there are frames.
            (places.len() - 1) as u32
        })
    }

    fn trace(&mut self, block: &Block, traceback: TraceId, frames: u64) -> io::Result<()> {
        self.pickle.mark()?;
        self.pickle.number(number_of(block.domain))?;
        self.pickle.number(block.size)?;
        match self.traceback_memos.get(&traceback) {
            Some(&memo) => self.pickle.again(memo)?,
            None => {
                self.traceback(traceback)?;
                let memo = self.pickle.memoize()?;
                self.traceback_memos.insert(traceback, memo);
            }
        }
        self.pickle.number(frames)?;
        self.pickle.end_tuple()
    }

    fn traceback(&mut self, traceback: TraceId) -> io::Result<()> {
        let places: Vec<u32> = self.tracebacks.numbers(traceback).collect();
        if places.len() > 3 {
            self.pickle.mark()?;
        }
        for &place in &places {
            self.frame(place)?;
        }
        match places.len() {
            0 => {
                self.place((UNKNOWN, 0))?;
                self.pickle.tuple1()
            }
            1 => self.pickle.tuple1(),
            2 => self.pickle.tuple2(),
            3 => self.pickle.tuple3(),
            _ => self.pickle.end_tuple(),
        }
    }

    fn frame(&mut self, place: u32) -> io::Result<()> {
        let Some(&(frame, memo)) = self.places.get(place as usize) else {
            return self.place((UNKNOWN, 0));
        };
        if let Some(memo) = memo {
            return self.pickle.again(memo);
        }
        self.place(frame)?;
        let memo = self.pickle.memoize()?;
        if let Some((_, known)) = self.places.get_mut(place as usize) {
            *known = Some(memo);
        }
        Ok(())
    }

    fn place(&mut self, (file, line): Place<'s>) -> io::Result<()> {
        match self.files.get(file) {
            Some(&memo) => self.pickle.again(memo)?,
            None => {
                self.pickle.text(file)?;
                let memo = self.pickle.memoize()?;
                self.files.insert(file, memo);
            }
        }
        self.pickle.number(line.into())?;
        self.pickle.tuple2()
    }
}

/// The number of a domain in a snapshot: that of all of Python's allocators is 0.
fn number_of(domain: DomainId) -> u64 {
    match domain {
        DomainId::RAW | DomainId::MEM | DomainId::OBJ => PYTHON_DOMAIN,
        DomainId::NATIVE => NATIVE_DOMAIN,
        other => other.0.into(),
    }
}
