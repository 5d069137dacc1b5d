//! The model program: what its threads do to its heap, one event after the other.
//!
//! A few threads run at a time. Each does its routine and then frees the young blocks of it, the
//! last ones first or the first ones first. Some blocks become old instead and die at any age, so
//! that about as many are alive as wanted.

use super::heap::{Heap, Slot};
use super::parameters::Parameters;
use super::random::{Random, Share};
use super::routines::{Routine, Routines, Step};
use super::stacks::Stacks;
use super::truth::Truth;
use super::writer::{TICKS_PER_SECOND, Writer};
use heaptape_drain::clock::TSC_SHIFT;
use heaptape_format::event::{Event, Operation};
use std::collections::VecDeque;

/// Threads that run at a time.
const RUNNING_MAX: usize = 4;
/// How often a running thread makes way for another one.
const SWITCHES: Share = Share::one_in(2048);
/// How often a thread pauses, and for how many gaps.
const PAUSES: Share = Share::one_in(8192);
const PAUSE_GAPS: u64 = 200;
/// The run has so many phases: in each later one more routines are known.
const PHASES: u64 = 16;
/// Where unknown frees go: nothing is ever allocated there.
const UNKNOWN_START: u64 = 0x5400_0000_0000;

/// A live block.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Its thread is the one that allocated it.
    slot: Slot,
    size: u32,
    leaf: u32,
}

/// What a thread has, and where it is.
#[derive(Debug, Default)]
struct Thread {
    young: VecDeque<Block>,
    old: Vec<Block>,
    /// What it does, and how often still.
    routine: Option<(Routine, u32)>,
    /// The next step of it; behind the last one young blocks are freed.
    place: u32,
}

/// Parameters as the program needs them.
struct Shares {
    cross: Share,
    unknown: Share,
    half: Share,
}

/// See the module.
pub struct Program<'s> {
    parameters: &'s Parameters,
    shares: Shares,
    stacks: &'s Stacks,
    routines: Routines,
    random: Random,
    ticks: u64,
    heap: Heap,
    threads: Vec<Thread>,
    started: u32,
    running: Vec<u32>,
    emitted: u64,
    old: u64,
    /// Old blocks that there should be, and routines that are known, now.
    old_goal: u64,
    known: u32,
    /// What is true so far.
    pub truth: Truth,
    writer: Writer<'s>,
}

impl std::fmt::Debug for Program<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

impl<'s> Program<'s> {
    /// A program that has done nothing.
    #[must_use]
    pub fn new(
        parameters: &'s Parameters,
        stacks: &'s Stacks,
        mut random: Random,
        writer: Writer<'s>,
    ) -> Self {
        let percent = Share::of_percent;
        let (young, reallocs) = (percent(parameters.lifetimes), percent(parameters.reallocs));
        Self {
            shares: Shares {
                cross: percent(parameters.cross_thread),
                unknown: percent(parameters.unknown_frees),
                half: percent(50.0),
            },
            routines: Routines::new(stacks, young, reallocs, &mut random),
            stacks,
            random,
            ticks: 1 << TSC_SHIFT,
            heap: Heap::new(parameters.threads, percent(parameters.reuse)),
            threads: (0..parameters.threads).map(|_| Thread::default()).collect(),
            started: 1,
            running: vec![0],
            emitted: 0,
            old: 0,
            old_goal: 0,
            known: 1,
            truth: Truth::new(parameters, stacks),
            writer,
            parameters,
        }
    }

    /// Runs to its end; `progress` is told the number of events now and then.
    ///
    /// # Errors
    /// When the tape cannot be written.
    pub fn run(mut self, progress: &mut dyn FnMut(u64)) -> anyhow::Result<(Truth, u64)> {
        let (events, moments) = (self.parameters.events, u64::from(self.parameters.moments));
        let mark_at = |place: u64| events * (place + 1) / (moments + 1);
        let mut marks = 0;
        while self.emitted < events {
            if self.emitted.is_multiple_of(1024) {
                self.follow_plan();
                progress(self.emitted);
            }
            let thread = self.schedule();
            self.step(thread)?;
            self.emitted += 1;
            self.writer.reach(self.stamp(), self.truth.live.bytes);
            while marks < moments && self.emitted >= mark_at(marks) {
                let (name, stamp) = (format!("m{marks}"), self.stamp());
                self.writer.mark(thread, stamp, name.clone());
                self.truth.tell(name, stamp, self.parameters.told_stacks);
                self.next_stamp();
                marks += 1;
            }
        }
        self.truth.finish();
        self.next_stamp();
        let stamp = self.stamp();
        self.writer.finish(stamp)?;
        Ok((self.truth, stamp))
    }

    #[inline]
    fn stamp(&self) -> u64 {
        self.ticks >> TSC_SHIFT
    }

    /// Time goes on to the next stamp.
    fn next_stamp(&mut self) {
        self.ticks = (self.stamp() + 1) << TSC_SHIFT;
    }

    /// What happens on one address at one stamp, one thread does: otherwise nobody could tell whose
    /// block is whose.
    #[inline]
    fn part(&mut self, slot: Slot, thread: u32) {
        if slot.stamp == self.stamp() as u32 && slot.thread != thread {
            self.next_stamp();
        }
    }

    /// How many old blocks and routines there should be, and who has started.
    fn follow_plan(&mut self) {
        let Parameters {
            events,
            live,
            threads,
            ..
        } = *self.parameters;
        let (done, target) = (self.emitted, live.min(events / 8));
        // A tenth of the run to grow, then five slow waves between seven eighths and all.
        let ramp = (events / 10).max(1);
        self.old_goal = match done.checked_sub(ramp) {
            None => (u128::from(target) * u128::from(done) / u128::from(ramp)) as u64,
            Some(since) => {
                let wave = ((events - ramp) / 5).max(2);
                let place = since % wave;
                let height = place.min(wave - place) as u128 * 2;
                let eighth = u128::from(target / 8);
                target - target / 8 + (eighth * height / u128::from(wave)) as u64
            }
        };
        let routines = u64::from(self.routines.count());
        let phase = done * PHASES / events.max(1);
        self.known = (routines * (phase + 4) / (PHASES + 3)).clamp(1, routines) as u32;
        // All threads are there after a twentieth of the run.
        let due = done * 20 * u64::from(threads) / events.max(1) + 1;
        while u64::from(self.started) < due.min(u64::from(threads)) {
            self.writer.begin_thread(self.started, self.stamp());
            if self.running.len() < RUNNING_MAX {
                self.running.push(self.started);
            }
            self.started += 1;
        }
    }

    /// The thread that acts next, after some time.
    #[inline]
    fn schedule(&mut self) -> u32 {
        let place = self.random.below(self.running.len() as u64) as usize;
        if self.started as usize > RUNNING_MAX && self.random.is(SWITCHES) {
            let other = self.random.below(u64::from(self.started)) as u32;
            if !self.running.contains(&other) {
                self.running[place] = other;
            }
        }
        let gap = self.parameters.gap_ns * (TICKS_PER_SECOND / 100_000_000) / 10;
        let gap = gap / self.running.len() as u64;
        // Short gaps are more frequent than long ones.
        let most = self.random.below(4 * gap) + 1;
        self.ticks += 1 + self.random.below(most);
        if self.random.is(PAUSES) {
            self.ticks += gap * PAUSE_GAPS;
        }
        self.running[place]
    }

    /// One event of `thread`.
    fn step(&mut self, thread: u32) -> anyhow::Result<()> {
        if self.random.is(self.shares.unknown) {
            let address = UNKNOWN_START + self.random.below(4096) * 64;
            self.truth.unknown_frees += 1;
            return self.writer.free(thread, self.stamp(), address);
        }
        if self.old > self.old_goal
            && self.random.is(self.shares.half)
            && let Some(block) = self.old_block(thread)
        {
            self.old -= 1;
            return self.free(thread, block);
        }
        let own = &self.threads[thread as usize];
        let routine = match own.routine {
            Some((routine, _)) => routine,
            None => self.next_routine(thread),
        };
        let place = self.threads[thread as usize].place;
        match self.routines.step(routine, place) {
            Some(step) => {
                self.threads[thread as usize].place += 1;
                self.do_step(thread, step)
            }
            None => match self.young_block(thread, routine.frees_first_first) {
                Some(block) => self.free(thread, block),
                None => {
                    self.next_routine(thread);
                    self.step(thread)
                }
            },
        }
    }

    /// Begins the routine of `thread` anew, or another one.
    fn next_routine(&mut self, thread: u32) -> Routine {
        let own = &mut self.threads[thread as usize];
        let again = own.routine.filter(|(_, times)| *times > 1);
        let next = match again {
            Some((routine, times)) => (routine, times - 1),
            None => self.routines.draw(self.known, &mut self.random),
        };
        own.place = 0;
        own.routine = Some(next);
        next.0
    }

    fn do_step(&mut self, thread: u32, step: Step) -> anyhow::Result<()> {
        if step.reallocates
            && let Some(block) = self.threads[thread as usize].young.pop_back()
        {
            return self.reallocate(thread, block, step.leaf);
        }
        self.allocate(thread, step)
    }

    /// Another thread that has started, when this free is to be of one of its blocks.
    #[inline]
    fn victim(&mut self, thread: u32) -> u32 {
        if self.started < 2 || !self.random.is(self.shares.cross) {
            return thread;
        }
        let other = self.random.below(u64::from(self.started) - 1) as u32;
        other + u32::from(other >= thread)
    }

    /// An old block that `thread` shall free.
    fn old_block(&mut self, thread: u32) -> Option<Block> {
        let victim = self.victim(thread);
        let old = &mut self.threads[victim as usize].old;
        let place = self.random.below(old.len() as u64) as usize;
        (place < old.len()).then(|| old.swap_remove(place))
    }

    /// A young block that `thread` shall free; None when it has none.
    #[inline]
    fn young_block(&mut self, thread: u32, first: bool) -> Option<Block> {
        let victim = self.victim(thread);
        if victim != thread
            && let Some(block) = self.threads[victim as usize].young.pop_front()
        {
            return Some(block);
        }
        let young = &mut self.threads[thread as usize].young;
        match first {
            true => young.pop_front(),
            false => young.pop_back(),
        }
    }

    fn free(&mut self, thread: u32, block: Block) -> anyhow::Result<()> {
        let Block { slot, size, leaf } = block;
        self.part(slot, thread);
        let stamp = self.stamp();
        self.truth.frees += 1;
        self.truth.died(stamp, slot.thread, leaf, size);
        let freed = Slot {
            stamp: stamp as u32,
            thread,
            ..slot
        };
        self.heap.give_back(thread, freed, size, &mut self.random);
        self.writer.free(thread, stamp, slot.address)
    }

    /// A slot for a new block, at a moment at which nobody else has touched it.
    #[inline]
    fn take(&mut self, thread: u32, size: u32) -> Slot {
        let slot = self.heap.take(thread, size);
        self.part(slot, thread);
        Slot {
            stamp: self.stamp() as u32,
            thread,
            ..slot
        }
    }

    fn allocate(&mut self, thread: u32, step: Step) -> anyhow::Result<()> {
        let leaf = step.leaf;
        let size = self.stacks.leaves[leaf as usize].size(&mut self.random);
        let slot = self.take(thread, size);
        let stamp = self.stamp();
        self.truth.allocs += 1;
        self.truth.born(stamp, thread, leaf, size);
        let block = Block { slot, size, leaf };
        // Too few old ones: every second block becomes one.
        let is_behind = self.old + self.old_goal / 64 < self.old_goal;
        let gets_old = step.gets_old || is_behind && self.random.is(self.shares.half);
        let own = &mut self.threads[thread as usize];
        if gets_old && self.old_goal > 0 {
            self.old += 1;
            own.old.push(block);
        } else {
            own.young.push_back(block);
        }
        self.writer
            .allocation(thread, stamp, slot.address, size, leaf)
    }

    /// The block grows by half, in its place where it can.
    fn reallocate(&mut self, thread: u32, block: Block, leaf: u32) -> anyhow::Result<()> {
        self.part(block.slot, thread);
        let stamp = self.stamp();
        let size = (block.size + block.size / 2 + 1).min(1 << 18);
        self.ticks += self.random.below(300);
        let stays = Heap::is_same_class(block.size, size);
        let slot = match stays {
            true => block.slot,
            false => self.take(thread, size),
        };
        let end_stamp = self.stamp();
        let now = Slot {
            stamp: end_stamp as u32,
            thread,
            ..slot
        };
        if !stays {
            let freed = Slot {
                address: block.slot.address,
                ..now
            };
            self.heap
                .give_back(thread, freed, block.size, &mut self.random);
        }
        self.truth.reallocs += 1;
        self.truth
            .died(stamp, block.slot.thread, block.leaf, block.size);
        self.truth.born(end_stamp, thread, leaf, size);
        self.threads[thread as usize].young.push_back(Block {
            slot: now,
            size,
            leaf,
        });
        let mut event = Event::new(Operation::REALLOC, stamp);
        event.end_stamp = end_stamp;
        event.old_address = block.slot.address;
        (event.address, event.size) = (slot.address, u64::from(size));
        self.writer.reallocation(thread, event, leaf)
    }
}
