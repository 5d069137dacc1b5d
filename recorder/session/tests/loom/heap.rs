//! What all models stand on: plain memory in place of a mapped session, records that tell where
//! they belong, and a memory whose user dies.

use heaptape_session::layout::{Chunk, StreamSlot, phase};
use heaptape_session::ring::Memory;
use heaptape_session::slots::stream_owner;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use loom::sync::Arc;
use std::cell::Cell;

/// Plain memory in place of a mapped session.
pub(crate) struct Heap {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) owners: Vec<AtomicU64>,
    pub(crate) streams: Vec<StreamSlot>,
    hint: AtomicU32,
    pub(crate) high: AtomicU32,
}

impl Heap {
    pub(crate) fn new(chunks: usize, streams: usize) -> Arc<Self> {
        Arc::new(Self {
            chunks: (0..chunks).map(|_| Chunk::fresh()).collect(),
            owners: (0..chunks).map(|_| AtomicU64::new(0)).collect(),
            streams: (0..streams).map(|_| StreamSlot::fresh()).collect(),
            hint: AtomicU32::new(0),
            high: AtomicU32::new(0),
        })
    }

    /// Fails when a chunk has an owner or a stream slot is not as fresh ones are.
    pub(crate) fn assert_all_given_back(&self) {
        for owner in &self.owners {
            assert_eq!(
                owner.load(Ordering::Relaxed),
                0,
                "a chunk was not given back"
            );
        }
        for slot in &self.streams {
            assert_eq!(stream_owner(slot).phase, phase::FREE);
            assert_eq!(slot.first_chunk.load(Ordering::Relaxed), 0);
        }
    }
}

impl Memory for Heap {
    fn chunk(&self, index: u32) -> Option<&Chunk> {
        self.chunks.get(index as usize)
    }
    fn owner(&self, index: u32) -> Option<&AtomicU64> {
        self.owners.get(index as usize)
    }
    fn stream(&self, index: u32) -> Option<&StreamSlot> {
        self.streams.get(index as usize)
    }
    fn chunks_ready(&self) -> u32 {
        self.chunks.len() as u32
    }
    fn chunk_hint(&self) -> &AtomicU32 {
        &self.hint
    }
    fn stream_high(&self) -> &AtomicU32 {
        &self.high
    }
    fn streams(&self) -> u32 {
        self.streams.len() as u32
    }
}

/// Runs a model; three preemptions find what such small histories can show.
pub(crate) fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(body);
}

/// Record `number` of a stream: `N` words that no other record has.
pub(crate) fn record<const N: usize>(stream: u64, number: u64) -> [u64; N] {
    core::array::from_fn(|word| stream << 32 | number << 8 | word as u64)
}

/// What a stream's consumer must have seen after `count` records of `N` words.
pub(crate) fn records<const N: usize>(stream: u64, count: u64) -> Vec<u64> {
    (0..count)
        .flat_map(|number| record::<N>(stream, number))
        .collect()
}

/// Fails unless `words` is a whole number of records, the first ones, untorn.
pub(crate) fn assert_prefix<const N: usize>(words: &[u64], stream: u64) {
    assert_eq!(words.len() % N, 0, "a record was torn");
    assert_eq!(words, records::<N>(stream, (words.len() / N) as u64));
}

/// A memory that lets its user make so many calls and then dies: the calls lie between every two
/// steps of claiming and linking a chunk.
pub(crate) struct Mortal {
    pub(crate) heap: Arc<Heap>,
    pub(crate) calls_left: Cell<u32>,
}

impl Mortal {
    fn step(&self) -> &Heap {
        let left = self.calls_left.get();
        if left == 0 {
            die();
        }
        self.calls_left.set(left - 1);
        &self.heap
    }
}

impl Memory for Mortal {
    fn chunk(&self, index: u32) -> Option<&Chunk> {
        self.step().chunk(index)
    }
    fn owner(&self, index: u32) -> Option<&AtomicU64> {
        self.step().owner(index)
    }
    fn stream(&self, index: u32) -> Option<&StreamSlot> {
        self.step().stream(index)
    }
    fn chunks_ready(&self) -> u32 {
        self.step().chunks_ready()
    }
    fn chunk_hint(&self) -> &AtomicU32 {
        self.step().chunk_hint()
    }
    fn stream_high(&self) -> &AtomicU32 {
        self.step().stream_high()
    }
    fn streams(&self) -> u32 {
        self.step().streams()
    }
}

/// Runs `life` to its end or to the death that [`Mortal`] (or it itself) brings; true: it died.
pub(crate) fn dies(life: impl FnOnce()) -> bool {
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life));
    if let Err(cause) = &end {
        // A failed assertion is not the death that was asked for.
        assert_eq!(cause.downcast_ref::<&str>(), Some(&DEATH));
    }
    end.is_err()
}

/// Ends the caller's life; unlike a panic it says nothing.
pub(crate) fn die() -> ! {
    std::panic::resume_unwind(Box::new(DEATH))
}

const DEATH: &str = "death";
