//! Model checks of the ring: loom runs every interleaving (up to a bound of preemptions) of small
//! histories over a heap-backed [`Memory`], with chunks of four words.
//!
//! Only built with `--cfg loom`:
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p heaptape-session --test loom
//! --release`. `LOOM_MAX_PREEMPTIONS` widens the search.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a model fails by panicking")]

use heaptape_session::layout::{CHUNK_WORDS, Chunk, StreamSlot, phase};
use heaptape_session::ring::{AppendError, Consumer, Memory, Producer, claim_chunk, release_chunk};
use heaptape_session::slots::{claim_stream, free_stream, set_stream_phase, stream_owner};
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::{AtomicU64 as Seen, Ordering::SeqCst};

/// Plain memory in place of a mapped session.
struct Heap {
    chunks: Vec<Chunk>,
    owners: Vec<AtomicU64>,
    streams: Vec<StreamSlot>,
    hint: AtomicU32,
    high: AtomicU32,
}

impl Heap {
    fn new(chunks: usize, streams: usize) -> Arc<Self> {
        Arc::new(Self {
            chunks: (0..chunks).map(|_| Chunk::fresh()).collect(),
            owners: (0..chunks).map(|_| AtomicU64::new(0)).collect(),
            streams: (0..streams).map(|_| StreamSlot::fresh()).collect(),
            hint: AtomicU32::new(0),
            high: AtomicU32::new(0),
        })
    }

    /// Fails when a chunk has an owner or a stream slot is not as fresh ones are.
    fn assert_all_given_back(&self) {
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
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(body);
}

/// Record `number` of a stream: `N` words that no other record has.
fn record<const N: usize>(stream: u64, number: u64) -> [u64; N] {
    core::array::from_fn(|word| stream << 32 | number << 8 | word as u64)
}

/// What a stream's consumer must have seen after `count` records of `N` words.
fn records<const N: usize>(stream: u64, count: u64) -> Vec<u64> {
    (0..count)
        .flat_map(|number| record::<N>(stream, number))
        .collect()
}

/// Fails unless `words` is a whole number of records, the first ones, untorn.
fn assert_prefix<const N: usize>(words: &[u64], stream: u64) {
    assert_eq!(words.len() % N, 0, "a record was torn");
    assert_eq!(words, records::<N>(stream, (words.len() / N) as u64));
}

#[test]
fn records_are_seen_whole_and_in_order() {
    model(|| {
        let heap = Heap::new(1, 1);
        let shared = heap.clone();
        let writer = thread::spawn(move || {
            let mut producer = Producer::new(0, 0);
            for number in 0..2 {
                producer.append(&*shared, &record::<2>(7, number)).unwrap();
            }
        });
        let mut consumer = Consumer::new(0, 0);
        let mut seen = Vec::new();
        for _ in 0..2 {
            consumer.read(&*heap, &mut seen, usize::MAX);
            assert_prefix::<2>(&seen, 7);
        }
        writer.join().unwrap();
        consumer.read(&*heap, &mut seen, usize::MAX);
        assert_eq!(seen, records::<2>(7, 2));
    });
}

/// Two chunks, one record in each: the third and fourth record need chunks that were given back.
#[test]
fn the_ring_wraps_into_chunks_that_were_given_back() {
    static MOST: Seen = Seen::new(0);
    const { assert!(CHUNK_WORDS == 4) };
    model(|| {
        let heap = Heap::new(2, 1);
        let shared = heap.clone();
        let writer = thread::spawn(move || {
            let mut producer = Producer::new(0, 0);
            let mut stored = 0;
            for _ in 0..4 {
                match producer.append(&*shared, &record::<3>(1, stored)) {
                    Ok(()) => stored += 1,
                    Err(AppendError::NoChunk) => thread::yield_now(),
                    Err(AppendError::TooLong) => unreachable!(),
                }
            }
            stored
        });
        let mut consumer = Consumer::new(0, 0);
        let mut seen = Vec::new();
        for _ in 0..3 {
            consumer.read(&*heap, &mut seen, usize::MAX);
            assert_prefix::<3>(&seen, 1);
            thread::yield_now();
        }
        let stored = writer.join().unwrap();
        consumer.read(&*heap, &mut seen, usize::MAX);
        assert_eq!(seen, records::<3>(1, stored));
        MOST.fetch_max(stored, SeqCst);
        free_stream(&*heap, 0);
        heap.assert_all_given_back();
    });
    assert_eq!(MOST.load(SeqCst), 4, "no execution reused a chunk");
}

/// A limit stops between chunks, and the next read goes on where it stopped.
#[test]
fn a_limited_read_loses_nothing() {
    model(|| {
        let heap = Heap::new(3, 1);
        let shared = heap.clone();
        let writer = thread::spawn(move || {
            let mut producer = Producer::new(0, 0);
            for number in 0..3 {
                producer.append(&*shared, &record::<3>(2, number)).unwrap();
            }
        });
        let mut consumer = Consumer::new(0, 0);
        let mut seen = Vec::new();
        consumer.read(&*heap, &mut seen, 1);
        assert_prefix::<3>(&seen, 2);
        writer.join().unwrap();
        for _ in 0..3 {
            consumer.read(&*heap, &mut seen, 1);
        }
        assert_eq!(seen, records::<3>(2, 3));
    });
}

/// Two streams share two chunks: what one gives back the other may take, and neither reader ever
/// meets a word of the other.
#[test]
fn two_streams_reuse_each_others_chunks() {
    static BOTH: Seen = Seen::new(0);
    model(|| {
        let heap = Heap::new(3, 2);
        let writers: Vec<_> = (0..2u32)
            .map(|stream| {
                let shared = heap.clone();
                thread::spawn(move || {
                    let mut producer = Producer::new(stream, 0);
                    let mut stored = 0;
                    for _ in 0..2 {
                        let words = record::<3>(u64::from(stream), stored);
                        stored += u64::from(producer.append(&*shared, &words).is_ok());
                    }
                    stored
                })
            })
            .collect();
        let mut consumers = [Consumer::new(0, 0), Consumer::new(1, 0)];
        let mut seen = [Vec::new(), Vec::new()];
        let mut look = |seen: &mut [Vec<u64>; 2]| {
            for (stream, consumer) in consumers.iter_mut().enumerate() {
                consumer.read(&*heap, &mut seen[stream], usize::MAX);
                assert_prefix::<3>(&seen[stream], stream as u64);
            }
        };
        look(&mut seen);
        let stored: Vec<u64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        look(&mut seen);
        for stream in 0..2 {
            assert_eq!(seen[stream], records::<3>(stream as u64, stored[stream]));
            free_stream(&*heap, stream as u32);
        }
        if stored == [2, 2] {
            BOTH.fetch_add(1, SeqCst);
        }
        heap.assert_all_given_back();
    });
    assert!(
        BOTH.load(SeqCst) > 0,
        "no execution handed a chunk from one stream to the other"
    );
}

#[test]
fn a_slot_and_a_chunk_have_one_winner() {
    model(|| {
        let heap = Heap::new(1, 1);
        let shared = heap.clone();
        let other = thread::spawn(move || (claim_stream(&*shared, 1), claim_chunk(&*shared, 11)));
        let ours = (claim_stream(&*heap, 2), claim_chunk(&*heap, 22));
        let theirs = other.join().unwrap();
        assert!(
            ours.0.is_some() != theirs.0.is_some(),
            "one slot, one owner"
        );
        assert!(
            ours.1.is_some() != theirs.1.is_some(),
            "one chunk, one owner"
        );
        let winner = if ours.0.is_some() { 2 } else { 1 };
        assert_eq!(stream_owner(&heap.streams[0]).process, winner);
        let winner = if ours.1.is_some() { 22 } else { 11 };
        assert_eq!(heap.owners[0].load(Ordering::Relaxed), winner);
        release_chunk(&*heap, 0);
        free_stream(&*heap, 0);
        heap.assert_all_given_back();
    });
}

#[test]
fn two_claims_get_two_slots_and_two_chunks() {
    model(|| {
        let heap = Heap::new(2, 2);
        let shared = heap.clone();
        let other = thread::spawn(move || (claim_stream(&*shared, 1), claim_chunk(&*shared, 11)));
        let ours = (claim_stream(&*heap, 2), claim_chunk(&*heap, 22));
        let theirs = other.join().unwrap();
        let slots = [ours.0.unwrap().0, theirs.0.unwrap().0];
        let chunks = [ours.1.unwrap(), theirs.1.unwrap()];
        assert_ne!(slots[0], slots[1]);
        assert_ne!(chunks[0], chunks[1]);
        assert_eq!(
            heap.high.load(Ordering::Relaxed),
            2,
            "the drainer would miss a slot"
        );
    });
}

/// The whole life of a slot, twice, with a reader that kept its old place: the second owner finds
/// the slot clean, and the old reader never sees what the second owner writes.
#[test]
fn a_reused_slot_is_clean_and_hidden_from_its_old_reader() {
    static REUSED: Seen = Seen::new(0);
    model(|| {
        let heap = Heap::new(1, 1);
        let (_, generation) = claim_stream(&*heap, 0).unwrap();
        let mut producer = Producer::new(0, generation);
        producer.append(&*heap, &record::<2>(1, 0)).unwrap();
        set_stream_phase(&heap.streams[0], phase::FINISHED);

        let shared = heap.clone();
        let second = thread::spawn(move || {
            let (slot, generation) = claim_stream(&*shared, 9)?;
            let slot_ref = shared.stream(slot).unwrap();
            assert_eq!(slot_ref.first_chunk.load(Ordering::Relaxed), 0, "not clean");
            set_stream_phase(slot_ref, phase::RUNNING);
            let mut producer = Producer::new(slot, generation);
            producer.append(&*shared, &record::<2>(2, 0)).unwrap();
            Some(generation)
        });

        let fresh = Consumer::new(0, generation);
        let mut reader = fresh.clone();
        let mut seen = Vec::new();
        reader.read(&*heap, &mut seen, usize::MAX);
        assert_eq!(seen, records::<2>(1, 1));
        free_stream(&*heap, 0);
        let look_back = || {
            for mut stale in [fresh.clone(), reader.clone()] {
                let mut nothing = Vec::new();
                stale.read(&*heap, &mut nothing, usize::MAX);
                assert_eq!(nothing, [], "an old reader saw the new owner's words");
            }
        };
        look_back();
        let reused = second.join().unwrap();
        look_back();
        if let Some(next) = reused {
            assert_eq!(next, generation + 1);
            let mut seen = Vec::new();
            Consumer::new(0, next).read(&*heap, &mut seen, usize::MAX);
            assert_eq!(seen, records::<2>(2, 1));
            free_stream(&*heap, 0);
            REUSED.fetch_add(1, SeqCst);
        }
        heap.assert_all_given_back();
    });
    assert!(REUSED.load(SeqCst) > 0, "no execution reused the slot");
}

/// A memory that lets its user make so many calls and then dies: the calls lie between every two
/// steps of claiming and linking a chunk.
struct Mortal {
    heap: Arc<Heap>,
    calls_left: core::cell::Cell<u32>,
}

impl Mortal {
    fn step(&self) -> &Heap {
        let left = self.calls_left.get();
        if left == 0 {
            std::panic::resume_unwind(Box::new("death"));
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

/// A producer of three records (three chunks) that dies after `calls` steps, or while it stores
/// word `calls` of the words of its records when `in_words`; how many records it published.
fn produce_until_death(heap: &Arc<Heap>, calls: u32, in_words: bool) -> u64 {
    let memory = Mortal {
        heap: heap.clone(),
        calls_left: core::cell::Cell::new(if in_words { u32::MAX } else { calls }),
    };
    let words_left = core::cell::Cell::new(if in_words { calls } else { u32::MAX });
    let stored = core::cell::Cell::new(0);
    let life = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (slot, generation) = claim_stream(&memory, 5).unwrap();
        set_stream_phase(&memory.heap.streams[slot as usize], phase::RUNNING);
        let mut producer = Producer::new(slot, generation);
        for number in 0..3 {
            let words = record::<3>(3, number).into_iter().inspect(|_| {
                if words_left.get() == 0 {
                    std::panic::resume_unwind(Box::new("death"));
                }
                words_left.set(words_left.get() - 1);
            });
            producer.append_long(&memory, words).unwrap();
            stored.set(number + 1);
        }
    }));
    if let Err(cause) = life {
        // A failed assertion is not the death that was asked for.
        assert_eq!(cause.downcast_ref::<&str>(), Some(&"death"));
    }
    stored.get()
}

/// Death between every two steps: what was published is read, nothing else, and everything that
/// the dead one held comes back.
fn death_at_every_step(in_words: bool, at_least: u64) {
    static COUNTS: [Seen; 2] = [Seen::new(0), Seen::new(0)];
    let survived = &COUNTS[usize::from(in_words)];
    let mut steps = 0;
    while survived.load(SeqCst) == 0 {
        model(move || {
            let heap = Heap::new(3, 1);
            let shared = heap.clone();
            let writer = thread::spawn(move || produce_until_death(&shared, steps, in_words));
            let mut consumer = Consumer::new(0, 0);
            let mut seen = Vec::new();
            for _ in 0..2 {
                consumer.read(&*heap, &mut seen, usize::MAX);
                assert_prefix::<3>(&seen, 3);
            }
            let published = writer.join().unwrap();
            consumer.read(&*heap, &mut seen, usize::MAX);
            assert_eq!(seen, records::<3>(3, published));
            free_stream(&*heap, 0);
            heap.assert_all_given_back();
            if published == 3 {
                COUNTS[usize::from(in_words)].fetch_add(1, SeqCst);
            }
        });
        steps += 1;
        assert!(steps < 200, "the producer never reaches its end");
    }
    assert!(u64::from(steps) >= at_least, "too few steps: {steps}");
}

#[test]
fn death_between_two_steps_of_claim_and_link_leaks_nothing() {
    // Claiming a slot has 3 steps, each of the three chunks at least 4.
    death_at_every_step(false, 15);
}

#[test]
fn death_between_two_words_of_a_record_publishes_nothing_of_it() {
    death_at_every_step(true, 9);
}

#[test]
fn an_empty_pool_refuses_and_damages_nothing() {
    model(|| {
        let heap = Heap::new(1, 2);
        let shared = heap.clone();
        let writer = thread::spawn(move || {
            let mut producer = Producer::new(0, 0);
            producer.append(&*shared, &record::<3>(4, 0)).unwrap();
            let refused = producer.append(&*shared, &record::<3>(4, 1));
            assert_eq!(refused, Err(AppendError::NoChunk));
            let too_long = producer.append(&*shared, &[0; CHUNK_WORDS + 1]);
            assert_eq!(too_long, Err(AppendError::TooLong));
            // What still fits goes in behind what is there.
            producer.append(&*shared, &[99]).unwrap();
        });
        let mut consumer = Consumer::new(0, 0);
        let mut seen = Vec::new();
        consumer.read(&*heap, &mut seen, usize::MAX);
        writer.join().unwrap();
        assert_eq!(
            Producer::new(1, 0).append(&*heap, &[1]),
            Err(AppendError::NoChunk),
            "another stream took a chunk that is not free"
        );
        consumer.read(&*heap, &mut seen, usize::MAX);
        assert_eq!(seen, [records::<3>(4, 1), vec![99]].concat());
        free_stream(&*heap, 0);
        Producer::new(1, 0).append(&*heap, &[1]).unwrap();
        free_stream(&*heap, 1);
        heap.assert_all_given_back();
    });
}
