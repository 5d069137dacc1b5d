//! Following: a tape that is still being written, read as it grows.
//!
//! | file | in | out |
//! |---|---|---|
//! | `source` | a path | the tape there, and more of it each time it is looked at |
//! | `state` | events up to a stamp | who is alive, totals, the peak, live bytes over time |
//! | [`trace`] | live bytes after each stamp | the same, at a screen's resolution |
//!
//! What comes in: a path. What goes out: at each look the state at one moment of the run, the same
//! that a [`crate::Recording`] of the tape tells of that moment, then and ever after. What was
//! read before is not read again, but for one chunk of each thread: a look costs what is new.
//! Memory: the live blocks, the stack table, and one window of events.
//!
//! While a tape is being recorded its epochs say up to where it tells of all threads (SPEC.md
//! §10.5). Where one was cut inexactly the next one is waited for, or three seconds; and should an
//! event appear that belongs before what was followed, the tape is read anew.

mod source;
mod state;
pub mod trace;

pub use trace::Trace;

use crate::block::{Block, StreamId};
use crate::error::Error;
use crate::history::reuses;
use crate::index::{HeapTotal, Peak};
use crate::moment::ResolvedMoment;
use crate::recording::{OpenOptions, Recording};
use crate::stats::Profile;
use crate::tape::Tape;
use source::{Look, Source};
use state::State;
use std::path::Path;
use std::time::{Duration, Instant};

/// `End::how`: the process became another image.
const ENDED_BY_EXEC: u8 = 3;
/// A recorder writes what there is every second: for so long the tape of a forked process may wait
/// for that of its parent.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a look led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// Nothing new.
    Same,
    /// The state is that of a later moment.
    Later,
    /// The tape was read anew from its beginning: stacks have other numbers.
    Anew,
}

/// Whether a tape grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is being written.
    Recording,
    /// It has its end.
    Ended,
    /// It has no end, and nobody writes to it: it was cut.
    Cut,
}

/// What happened up to the moment that is shown. Of the heap domains (native, raw, mem, obj),
/// without inherited blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Blocks that began to live, by allocations and reallocations.
    pub allocations: u64,
    /// Blocks that died, by frees and reallocations.
    pub frees: u64,
    /// Bytes of those that began to live.
    pub bytes: u64,
}

/// A tape and the state at a moment of it. See the module.
#[derive(Debug)]
pub struct Follower {
    options: OpenOptions,
    source: Source,
    recording: Recording,
    state: State,
    opened: Instant,
}

impl Follower {
    /// Opens the tape at `path`. Nothing of it is followed before the first
    /// [`Follower::advance`].
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let options = OpenOptions {
            write_index: false,
            ..options.clone()
        };
        let (source, recording) = Source::open(path, &options)?;
        let state = recording.install(|| State::begin(&recording));
        Ok(Self {
            options,
            source,
            recording,
            state,
            opened: Instant::now(),
        })
    }

    /// True while the tape of the parent process may not tell yet of all that this one inherited.
    fn waits_for_parent(&self) -> bool {
        let tape = self.tape();
        let knows_fork = |parent: &Tape| {
            let last = parent.epochs.last().map_or(0, |epoch| epoch.watermark);
            parent.end.is_some() || last > tape.fork_cuts.last()
        };
        self.stage() == Stage::Recording
            && tape.is_forked()
            && !tape.process.parent_tape.is_empty()
            && self.opened.elapsed() < PATIENCE
            && !self
                .recording
                .parent()
                .is_some_and(|parent| knows_fork(parent.tape()))
    }

    /// Looks for what is new and follows it, for about `budget`: of a long tape a part, and more of
    /// it with each call.
    ///
    /// # Errors
    /// When the file cannot be read any more; the state stays as it was.
    pub fn advance(&mut self, budget: Duration) -> Result<Advance, Error> {
        let begun = Instant::now();
        let before = self.state.followed_to();
        let waited = self.waits_for_parent();
        let is_anew = match self.source.look(&mut self.recording)? {
            Look::Same => false,
            Look::Grown { first } => first
                .zip(before)
                .is_some_and(|(first, before)| first <= before),
            Look::Anew => true,
        };
        if is_anew || waited {
            let opened = if is_anew { begun } else { self.opened };
            *self = Self {
                opened,
                ..Self::open(&self.source.path, &self.options)?
            };
        }
        if self.waits_for_parent() {
            return Ok(Advance::Same);
        }
        let (recording, state) = (&self.recording, &mut self.state);
        let bound = self.source.bound(recording.tape());
        let tape = recording.tape();
        recording.install(
            || {
                while state.step(tape, bound) && begun.elapsed() < budget {}
            },
        );
        Ok(match state.followed_to() != before {
            _ if is_anew => Advance::Anew,
            true => Advance::Later,
            false => Advance::Same,
        })
    }

    /// The tape, as far as it was read.
    #[must_use]
    pub fn tape(&self) -> &Tape {
        self.recording.tape()
    }

    /// The moment of the state: it includes every event up to it.
    #[must_use]
    pub fn moment(&self) -> ResolvedMoment {
        let tape = self.tape();
        match self.state.followed_to() {
            None => tape.moment_of_stamp(tape.told_from()),
            Some(u64::MAX) => tape.moment_of_stamp(tape.end_stamp),
            Some(stamp) => tape.moment_of_stamp(stamp),
        }
    }

    /// True when the state is that at [`Follower::moment`]: not as long as the tape tells of no
    /// moment yet.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.followed_to().is_some()
    }

    /// How much of what is there was followed, from 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        let tape = self.tape();
        let all = tape.end_stamp.saturating_sub(tape.told_from());
        let done = self.moment().stamp.saturating_sub(tape.told_from());
        if self.has_caught_up() || all == 0 {
            return 1.0;
        }
        (done as f64 / all as f64).min(1.0)
    }

    /// True when all that is there, and may be told already, was followed.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        !self
            .state
            .is_before(self.source.bound(self.recording.tape()))
    }

    /// Whether the tape grows.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (&self.tape().end, self.source.is_cut) {
            (Some(_), _) => Stage::Ended,
            (None, true) => Stage::Cut,
            (None, false) => Stage::Recording,
        }
    }

    /// True when nothing is to come: the tape has its end, and was followed to it. Where that is
    /// the start of another image, whose tape takes over the name, it is waited for for a moment.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let end = self.tape().end.as_ref();
        let is_replaced = end.is_some_and(|end| end.how == ENDED_BY_EXEC);
        self.stage() != Stage::Recording
            && self.has_caught_up()
            && (!is_replaced || self.source.is_old())
    }

    /// Live bytes and blocks of the heap domains, without inherited blocks.
    #[must_use]
    pub fn total(&self) -> HeapTotal {
        self.state.now.total
    }

    /// The highest moment so far.
    #[must_use]
    pub fn peak(&self) -> Peak {
        self.state.peak
    }

    /// What happened so far.
    #[must_use]
    pub fn flow(&self) -> Flow {
        Flow {
            allocations: self.state.now.births,
            frees: self.state.now.deaths,
            bytes: self.state.allocated_bytes,
        }
    }

    /// Live bytes over time, up to the moment.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.state.trace
    }

    /// True when all blocks are known that the process inherited.
    #[must_use]
    pub fn knows_inherited(&self) -> bool {
        self.state.knows_inherited && self.state.heap.counts().inherited_unknown == 0
    }

    /// Chunks and stretches that could not be read so far.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        (self.tape().damage.len() + self.state.damaged.len()) as u64
    }

    /// Every live block, all domains, without inherited blocks, by domain and address: what
    /// [`Recording::live_heap`] says of the moment.
    #[must_use]
    pub fn live_heap(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.state.heap.live().collect();
        reuses::put_on(&mut blocks);
        blocks.retain(|block| block.stream != StreamId::INHERITED);
        blocks.sort_unstable_by_key(|block| (block.domain, block.address, block.born));
        blocks
    }

    /// What lives, inherited blocks included.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let mut profile = Profile::default();
        let live = || self.state.heap.live();
        if live().any(|block| reuses::is_reuse(block.operation)) {
            let mut blocks: Vec<Block> = live().collect();
            reuses::put_on(&mut blocks);
            blocks.iter().for_each(|block| profile.add(block));
        } else {
            live().for_each(|block| profile.add(&block));
        }
        profile
    }
}
