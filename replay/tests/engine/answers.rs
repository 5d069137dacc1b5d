//! Answers about one whole tape.

use crate::harness::{compare, layouts, model, opened, options, scripts, without_index};
use crate::support::generate::{HEAP_START, History, StreamHistory, play};
use crate::support::write::Layout;
use heaptape_format::event::{DomainId, Event, Operation};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_answer_is_the_models(
        script in scripts(90, false), streams in 1usize..5,
        layout in layouts(), options in options(),
    ) {
        let history = play(&script, streams, false);
        let (_folder, recording) = opened(&history, &layout, &options);
        compare(&recording, &model(&history, &layout), &history);
    }

    #[test]
    fn every_answer_is_the_models_when_events_were_lost(
        script in scripts(90, true), streams in 1usize..5,
        layout in layouts(), options in options(),
    ) {
        let history = play(&script, streams, false);
        let (_folder, recording) = opened(&history, &layout, &options);
        compare(&recording, &model(&history, &layout), &history);
    }

    #[test]
    fn a_whole_history_has_no_anomaly_and_the_addresses_that_truly_live(
        script in scripts(120, false), streams in 1usize..5, options in options(),
    ) {
        let history = play(&script, streams, true);
        let (_folder, recording) = opened(&history, &Layout::default(), &options);
        let summary = recording.summary().unwrap();
        prop_assert_eq!((summary.unknown_frees, summary.implied_frees), (0, 0));
        for (&stamp, alive) in &history.truth {
            let blocks = recording.live_heap(stamp).unwrap();
            let found: Vec<(u16, u64)> = blocks
                .iter()
                .filter(|block| block.domain != DomainId::MMAP)
                .map(|block| (if block.domain.0 < 4 { 0 } else { block.domain.0 }, block.address))
                .collect();
            let mut found = found;
            found.sort_unstable();
            prop_assert_eq!(found, alive.iter().copied().collect::<Vec<_>>(), "at {}", stamp);
        }
    }

    #[test]
    fn stacks_add_up_and_differences_are_antisymmetric(
        script in scripts(120, true), streams in 1usize..4, options in options(),
    ) {
        let history = play(&script, streams, false);
        let (_folder, recording) = opened(&history, &Layout::default(), &options);
        let by_stack = |at| {
            let mut sums: BTreeMap<_, (i128, i128)> = BTreeMap::new();
            for block in recording.live_heap(at).unwrap() {
                if block.domain <= DomainId::OBJ {
                    let sum = sums.entry(block.stack).or_default();
                    *sum = (sum.0 + i128::from(block.size), sum.1 + 1);
                }
            }
            sums
        };
        let end = recording.tape().end_stamp;
        let peak = recording.summary().unwrap().peak;
        let sum = by_stack(peak.stamp)
            .values()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        prop_assert_eq!(sum, (i128::from(peak.bytes), i128::from(peak.count)));
        let diff = |a: u64, b: u64| {
            let (from, to) = (by_stack(a), by_stack(b));
            let keys = from.keys().chain(to.keys()).copied();
            keys.map(|key| {
                let of = |sums: &BTreeMap<_, (i128, i128)>| *sums.get(&key).unwrap_or(&(0, 0));
                let (old, new) = (of(&from), of(&to));
                (key, (new.0 - old.0, new.1 - old.1))
            })
            .collect::<BTreeMap<_, _>>()
        };
        let (forth, back) = (diff(peak.stamp, end), diff(end, peak.stamp));
        for (key, (bytes, count)) in forth {
            prop_assert_eq!(back[&key], (-bytes, -count));
        }
    }
}

fn event(operation: Operation, stamp: u64, old: u64, new: u64, size: u64) -> Event {
    let mut event = Event::new(operation, stamp);
    event.old_address = old;
    event.address = new;
    event.size = size;
    event
}

fn history(streams: Vec<Vec<Event>>) -> History {
    let end_stamp = streams.iter().flatten().map(|event| event.end_stamp).max();
    let streams = streams.into_iter().map(|events| StreamHistory {
        events,
        nodes: Vec::new(),
    });
    History {
        streams: streams.collect(),
        end_stamp: end_stamp.unwrap_or(0),
        ..History::default()
    }
}

#[test]
fn a_realloc_is_dead_between_its_two_stamps() {
    let mut grow = event(Operation::REALLOC, 20, HEAP_START, HEAP_START + 64, 500);
    grow.end_stamp = 30;
    let history = history(vec![vec![
        event(Operation::MALLOC, 10, 0, HEAP_START, 100),
        grow,
    ]]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let sizes = |at| -> Vec<u64> {
        recording
            .live_heap(at)
            .unwrap()
            .iter()
            .map(|block| block.size)
            .collect()
    };
    assert!(sizes(9).is_empty());
    assert_eq!(sizes(10), [100]);
    assert_eq!(sizes(19), [100]);
    assert!(sizes(20).is_empty());
    assert!(sizes(29).is_empty());
    assert_eq!(sizes(30), [500]);
    let summary = recording.summary().unwrap();
    assert_eq!(
        (summary.allocs, summary.reallocs, summary.bytes_allocated),
        (1, 1, 600)
    );
    let lifetimes = recording.lifetimes(0, 100).unwrap();
    let death = lifetimes[0].death.unwrap();
    assert_eq!(
        (death.operation, death.allocations_between),
        (Operation::REALLOC, Some(0))
    );
}

#[test]
fn a_block_that_goes_from_thread_to_thread_within_one_stamp_is_followed() {
    // Thread 1 allocates, thread 0 frees and allocates the same address, thread 1 frees that: all
    // within one tick of the clock, and the lower stream's free stands first.
    let at = HEAP_START;
    let history = history(vec![
        vec![
            event(Operation::FREE, 7, at, 0, 0),
            event(Operation::MALLOC, 7, 0, at, 20),
        ],
        vec![
            event(Operation::MALLOC, 7, 0, at, 10),
            event(Operation::FREE, 7, at, 0, 0),
            event(Operation::MALLOC, 9, 0, at, 30),
        ],
    ]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let summary = recording.summary().unwrap();
    assert_eq!(
        (summary.unknown_frees, summary.implied_frees, summary.frees),
        (0, 0, 2)
    );
    let owners = recording.owners(at + 5).unwrap();
    let sizes: Vec<u64> = owners.iter().map(|owner| owner.block.size).collect();
    assert_eq!(sizes, [10, 20, 30]);
    assert!(
        owners
            .iter()
            .take(2)
            .all(|owner| owner.death.unwrap().allocations_between.is_none())
    );
    // What is born and dead at one stamp is alive at none, so it makes no peak.
    assert_eq!((summary.peak.stamp, summary.peak.bytes), (9, 30));
}

#[test]
fn a_lost_free_is_implied_by_the_next_allocation() {
    let history = history(vec![vec![
        event(Operation::MALLOC, 1, 0, HEAP_START, 10),
        event(Operation::CALLOC, 5, 0, HEAP_START, 4),
        event(Operation::FREE, 6, HEAP_START, 0, 0),
        event(Operation::FREE, 7, HEAP_START, 0, 0),
        event(Operation::REALLOC, 8, HEAP_START, HEAP_START, 9),
    ]]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let summary = recording.summary().unwrap();
    assert_eq!(summary.implied_frees, 1);
    // The second free and the realloc's old block are not known; the realloc is an allocation.
    assert_eq!(
        (summary.unknown_frees, summary.allocs, summary.reallocs),
        (2, 3, 0)
    );
    assert_eq!(
        (summary.frees, summary.end.bytes, summary.end.count),
        (1, 9, 1)
    );
    let first = recording.lifetimes(0, 1).unwrap()[0].death.unwrap();
    assert_eq!((first.stamp, first.operation), (5, Operation::CALLOC));
}

#[test]
fn temporary_blocks_are_told_by_the_allocations_in_between() {
    let at = |slot: u64| HEAP_START + 64 * slot;
    let history = history(vec![
        vec![
            event(Operation::MALLOC, 1, 0, at(0), 1),
            event(Operation::FREE, 2, at(0), 0, 0),
            event(Operation::MALLOC, 3, 0, at(0), 2),
            event(Operation::MALLOC, 4, 0, at(1), 3),
            event(Operation::REALLOC, 5, at(1), at(2), 4),
            event(Operation::FREE, 6, at(0), 0, 0),
        ],
        vec![event(Operation::FREE, 7, at(2), 0, 0)],
    ]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let lifetimes = recording.lifetimes(0, 10).unwrap();
    let between: Vec<(u64, Option<u64>)> = lifetimes
        .iter()
        .map(|lifetime| {
            (
                lifetime.block.size,
                lifetime.death.unwrap().allocations_between,
            )
        })
        .collect();
    assert_eq!(
        between,
        [(1, Some(0)), (2, Some(2)), (3, Some(0)), (4, None)]
    );
}

#[test]
fn mappings_are_split_and_never_counted_as_heap() {
    let page = 4096;
    let start = 0x7f00_0000_0000;
    let mut unmap = Event::new(Operation::MUNMAP, 20);
    unmap.old_address = start + page;
    unmap.old_size = page;
    let history = history(vec![vec![
        event(Operation::MMAP, 10, 0, start, 4 * page - 100),
        unmap,
    ]]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let parts = |at| -> Vec<(u64, u64, u64)> {
        let blocks = recording.live_heap(at).unwrap();
        assert!(blocks.iter().all(|block| block.domain == DomainId::MMAP));
        blocks
            .iter()
            .map(|block| (block.address - start, block.size, block.born))
            .collect()
    };
    assert_eq!(parts(19), [(0, 4 * page - 100, 10)]);
    assert_eq!(parts(20), [(0, page, 20), (2 * page, 2 * page - 100, 20)]);
    let summary = recording.summary().unwrap();
    assert_eq!(
        (summary.maps, summary.peak.bytes, summary.end.bytes),
        (2, 0, 0)
    );
    assert_eq!((summary.allocs, summary.unknown_frees), (0, 0));
}

#[test]
fn a_pool_and_the_heap_do_not_disturb_each_other() {
    let mut pool = event(Operation::CUSTOM_ALLOC, 2, 0, HEAP_START, 8);
    pool.domain = DomainId(16);
    let mut pool_free = event(Operation::CUSTOM_FREE, 5, HEAP_START, 0, 0);
    pool_free.domain = DomainId(16);
    let history = history(vec![vec![
        event(Operation::MALLOC, 1, 0, HEAP_START, 1000),
        pool,
        event(Operation::FREE, 3, HEAP_START, 0, 0),
        pool_free,
    ]]);
    let (_folder, recording) = opened(&history, &Layout::default(), &without_index());
    let summary = recording.summary().unwrap();
    assert_eq!(
        (summary.allocs, summary.frees, summary.unknown_frees),
        (2, 2, 0)
    );
    assert_eq!((summary.peak.bytes, summary.peak.count), (1000, 1));
    let at_4 = recording.live_heap(4).unwrap();
    assert_eq!(
        at_4.iter().map(|block| block.domain.0).collect::<Vec<_>>(),
        [16]
    );
    assert_eq!(recording.tape().domain_name(DomainId(16)), "pool16");
}
