//! A recorded program's side: process and stream slots, and the words of histories.

use crate::history::{History, Item};
use heaptape_session::layout::{paused, phase};
use heaptape_session::map::SessionMap;
use heaptape_session::record::{cut, event, node, python_node};
use heaptape_session::ring::{AppendError, Memory, Producer};
use heaptape_session::slots::{
    claim_process, claim_stream, process_owner, set_process_phase, set_stream_phase,
};
use heaptape_session::sync::Ordering;
use std::time::{Duration, Instant};

/// A process image in the session.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) index: u32,
}

impl Process {
    /// This very process, as the first image.
    pub(crate) fn begin(session: &SessionMap) -> Self {
        Self::begin_as(session, std::process::id(), 0, 0, 0, None)
    }

    pub(crate) fn begin_as(
        session: &SessionMap,
        pid: u32,
        start_time: u64,
        image: u32,
        origin: u32,
        parent: Option<u32>,
    ) -> Self {
        let (index, _) = claim_process(session, pid).unwrap();
        let slot = session.process(index).unwrap();
        slot.start_time.store(start_time, Ordering::Relaxed);
        slot.image.store(image, Ordering::Relaxed);
        slot.origin.store(origin, Ordering::Relaxed);
        if let Some(parent) = parent {
            let generation = process_owner(session.process(parent).unwrap()).generation;
            slot.parent.store(parent + 1, Ordering::Relaxed);
            slot.parent_generation.store(generation, Ordering::Relaxed);
        }
        set_process_phase(slot, phase::RUNNING);
        Self { pid, index }
    }

    /// An image of process `pid` that has not begun.
    pub(crate) fn claim(session: &SessionMap, pid: u32) -> Self {
        let (index, _) = claim_process(session, pid).unwrap();
        Self { pid, index }
    }

    /// The first image of process `pid`.
    pub(crate) fn begin_paused(session: &SessionMap, pid: u32, is_paused: bool) -> Self {
        let Self { index, .. } = Self::claim(session, pid);
        let slot = session.process(index).unwrap();
        if is_paused {
            slot.paused.store(paused::YES, Ordering::Relaxed);
            slot.began_paused.store(1, Ordering::Relaxed);
        }
        set_process_phase(slot, phase::RUNNING);
        Self { pid, index }
    }
}

/// A thread in the session.
#[derive(Debug)]
pub(crate) struct Thread<'s> {
    session: &'s SessionMap,
    producer: Producer,
}

// SAFETY: a producer points into the session, which is shared memory, and has one owner.
unsafe impl Send for Thread<'_> {}

impl<'s> Thread<'s> {
    pub(crate) fn begin(session: &'s SessionMap, process: &Process, number: u32) -> Self {
        let (index, generation) = claim_stream(session, process.index).unwrap();
        let slot = session.stream(index).unwrap();
        slot.number.store(number, Ordering::Relaxed);
        // The id of a thread that lives: else the drainer finds it dead.
        slot.thread_id.store(std::process::id(), Ordering::Relaxed);
        let mut name = [0; 16];
        let text = format!("worker {number}");
        name[..text.len()].copy_from_slice(text.as_bytes());
        for (word, bytes) in slot.name.iter().zip(name.chunks_exact(8)) {
            let value = u64::from_le_bytes(bytes.try_into().unwrap());
            word.store(value, Ordering::Relaxed);
        }
        set_stream_phase(slot, phase::RUNNING);
        Self {
            session,
            producer: Producer::new(index, generation),
        }
    }

    pub(crate) fn slot(&self) -> u32 {
        self.producer.stream()
    }

    /// Appends a record; waits while the pool is empty.
    pub(crate) fn append(&mut self, words: &[u64]) {
        assert!(self.append_within(words, None));
    }

    /// Appends a record; waits while the pool is empty, at most for `patience`. False: it was not
    /// stored.
    fn append_within(&mut self, words: &[u64], patience: Option<Duration>) -> bool {
        let header = self.session.header();
        let mut waits: Option<Instant> = None;
        let stored = loop {
            match self
                .producer
                .append_long(self.session, words.iter().copied())
            {
                Ok(()) => break true,
                Err(AppendError::TooLong) => panic!("{} words", words.len()),
                Err(AppendError::NoChunk) => {}
            }
            let since = *waits.get_or_insert_with(|| {
                header.waiting.fetch_add(1, Ordering::Relaxed);
                Instant::now()
            });
            if patience.is_some_and(|patience| since.elapsed() > patience) {
                break false;
            }
            std::thread::yield_now();
        };
        if waits.is_some() {
            header.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        stored
    }

    pub(crate) fn publish(&mut self, history: &History) {
        for item in &history.0 {
            assert!(self.publish_item(item, None));
        }
    }

    /// False: the pool was empty for longer than `patience`.
    pub(crate) fn publish_item(&mut self, item: &Item, patience: Option<Duration>) -> bool {
        match item {
            Item::Event(item) => {
                let (words, count) = event(item);
                self.append_within(&words[..count], patience)
            }
            Item::Node(parent, module, offset, exact) => {
                self.append_within(&node(*parent, *module, *offset, *exact), patience)
            }
            Item::Python(parent, code, instruction) => {
                self.append_within(&python_node(*parent, *code, *instruction), patience)
            }
            Item::Cut(parent, reason) => self.append_within(&cut(*parent, *reason), patience),
        }
    }

    /// As a recorder does it: the guard is set, a stamp is taken, the record is published, the
    /// guard is cleared.
    pub(crate) fn publish_by_the_clock(&mut self, history: &History) {
        let slot = self.session.stream(self.slot()).unwrap();
        let header = self.session.header();
        let start = header.start_ticks.load(Ordering::Relaxed);
        let is_counter = header.clock.load(Ordering::Relaxed) == 1;
        let now = || {
            let ticks = if is_counter {
                // SAFETY: the instruction only reads a register.
                unsafe { core::arch::x86_64::_rdtsc() }
            } else {
                heaptape_drain::clock::clock_ns(libc::CLOCK_MONOTONIC)
            };
            ticks - start
        };
        for item in &history.0 {
            let Item::Event(mut item) = *item else {
                self.publish_item(item, None);
                continue;
            };
            slot.guard.store(1, Ordering::SeqCst);
            let length = item.end_ticks - item.ticks;
            item.ticks = now();
            item.end_ticks = item.ticks + length.min(1);
            self.publish_item(&Item::Event(item), None);
            slot.guard.store(0, Ordering::Release);
        }
    }

    pub(crate) fn finish(self) {
        crate::finish_stream(self.session, self.slot());
    }
}
