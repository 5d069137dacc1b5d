//! Death of either side between every two of its steps.

use crate::heap::{Heap, Mortal, assert_prefix, die, dies, model, record, records};
use heaptape_session::layout::phase;
use heaptape_session::ring::{Consumer, Producer};
use heaptape_session::slots::{claim_stream, free_stream, set_stream_phase};
use loom::sync::Arc;
use loom::thread;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64 as Seen, Ordering::SeqCst};

/// A producer of three records (three chunks) that dies after `calls` steps, or while it stores
/// word `calls` of the words of its records when `in_words`; how many records it published.
fn produce_until_death(heap: &Arc<Heap>, calls: u32, in_words: bool) -> u64 {
    let memory = Mortal {
        heap: heap.clone(),
        calls_left: Cell::new(if in_words { u32::MAX } else { calls }),
    };
    let words_left = Cell::new(if in_words { calls } else { u32::MAX });
    let stored = Cell::new(0);
    dies(|| {
        let (slot, generation) = claim_stream(&memory, 5).unwrap();
        set_stream_phase(&memory.heap.streams[slot as usize], phase::RUNNING);
        let mut producer = Producer::new(slot, generation);
        for number in 0..3 {
            let words = record::<3>(3, number).into_iter().inspect(|_| {
                if words_left.get() == 0 {
                    die();
                }
                words_left.set(words_left.get() - 1);
            });
            producer.append_long(&memory, words).unwrap();
            stored.set(number + 1);
        }
    });
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

/// A drainer that appends what it reads to a tape, states after each reading that it is safe, and
/// dies after `calls` steps.
fn drain_until_death(heap: &Arc<Heap>, calls: u32, tape: &mut Vec<u64>) -> bool {
    let memory = Mortal {
        heap: heap.clone(),
        calls_left: Cell::new(calls),
    };
    let mut consumer = Consumer::new(0, 0);
    dies(|| {
        for _ in 0..4 {
            let words = consumer.words(&memory, tape);
            consumer.advance(words);
            let stored = (tape.len() / 3) as u64;
            consumer.commit(&memory, stored, stored as u32 + 1);
        }
    })
}

/// Death of the drainer between every two steps: the next one goes on behind what was committed,
/// so that nothing is lost, and what the first wrote behind its last commit is told apart.
#[test]
fn a_drainer_goes_on_where_a_dead_one_was() {
    static LIVED: Seen = Seen::new(0);
    static RESUMED: Seen = Seen::new(0);
    let mut steps = 0;
    while LIVED.load(SeqCst) == 0 {
        model(move || {
            let heap = Heap::new(3, 1);
            let shared = heap.clone();
            let writer = thread::spawn(move || {
                let mut producer = Producer::new(0, 0);
                (0..4)
                    .take_while(|&n| producer.append(&*shared, &record::<3>(6, n)).is_ok())
                    .count() as u64
            });
            let mut tape = Vec::new();
            if !drain_until_death(&heap, steps, &mut tape) {
                LIVED.fetch_add(1, SeqCst);
            }
            assert_prefix::<3>(&tape, 6);
            let published = writer.join().unwrap();
            let (mut second, done) = Consumer::resume(&*heap, 0, 0);
            let written = tape.len() as u64 / 3;
            assert!(done.events <= written, "committed more than was written");
            assert!(
                written - done.events <= 1,
                "more than the last reading is told twice"
            );
            let expected = if done == <_>::default() {
                0
            } else {
                done.events as u32 + 1
            };
            assert_eq!(done.nodes, expected, "two commits were mixed");
            RESUMED.fetch_add(u64::from(done.events > 0), SeqCst);
            tape.truncate(done.events as usize * 3);
            second.read(&*heap, &mut tape, usize::MAX);
            assert_eq!(tape, records::<3>(6, published));
            free_stream(&*heap, 0);
            heap.assert_all_given_back();
        });
        steps += 1;
        assert!(steps < 200, "the drainer never reaches its end");
    }
    assert!(
        RESUMED.load(SeqCst) > 0,
        "no execution resumed behind a commit"
    );
}
