//! The ring between a producer and a drainer that both live: order, wrap, reuse, claims.

use crate::heap::{Heap, assert_prefix, model, record, records};
use heaptape_session::layout::{CHUNK_WORDS, phase};
use heaptape_session::ring::{AppendError, Consumer, Memory, Producer, claim_chunk, release_chunk};
use heaptape_session::slots::{claim_stream, free_stream, set_stream_phase, stream_owner};
use heaptape_session::sync::Ordering;
use loom::thread;
use std::sync::atomic::{AtomicU64 as Seen, Ordering::SeqCst};

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
