//! The timeline of histories that have more events than an index has steps.

use crate::harness::{opened, without_index};
use crate::support::generate::{Step, long_script, play};
use crate::support::model::{Life, Model};
use crate::support::write::Layout;
use heaptape::moment::Moment;
use heaptape::timeline::TimelinePoint;
use heaptape::{OpenOptions, Recording};
use heaptape_format::event::DomainId;
use std::collections::BTreeMap;

/// What happens to the heap at one stamp.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    births: u64,
    deaths: u64,
    bytes: i128,
}

/// The changes of the heap by stamp, from the whole lives of its blocks.
fn changes(lives: &[Life]) -> BTreeMap<u64, Change> {
    let mut changes: BTreeMap<u64, Change> = BTreeMap::new();
    for life in lives.iter().filter(|life| life.is_heap()) {
        let change = changes.entry(life.born).or_default();
        change.births += 1;
        change.bytes += i128::from(life.size);
        if let Some(end) = &life.end {
            let change = changes.entry(end.stamp).or_default();
            change.deaths += 1;
            change.bytes -= i128::from(life.size);
        }
    }
    changes
}

/// The points that a timeline must have.
fn expected(
    recording: &Recording,
    changes: &BTreeMap<u64, Change>,
    count: u64,
) -> Vec<TimelinePoint> {
    let tape = recording.tape();
    let mut rest = changes.iter().peekable();
    let (mut bytes, mut blocks) = (0i128, 0);
    let mut points = Vec::new();
    for place in 1..=count {
        let stamp = tape.start_stamp + tape.duration_stamp * place / count;
        let (mut births, mut deaths, mut high) = (0, 0, bytes);
        while let Some((_, change)) = rest.next_if(|(at, _)| **at <= stamp) {
            births += change.births;
            deaths += change.deaths;
            bytes += change.bytes;
            high = high.max(bytes);
        }
        blocks = blocks + births - deaths;
        points.push(TimelinePoint {
            stamp,
            bytes: u64::try_from(bytes).unwrap(),
            count: blocks,
            resident_bytes: None,
            allocations: births,
            frees: deaths,
            high: u64::try_from(high).unwrap(),
        });
    }
    points
}

/// Compares timelines with the model and with the live heap at their moments.
fn compare(script: &[Step], streams: usize, counts: &[u64]) {
    let history = play(script, streams, false);
    let changes = changes(&Model::new(&history).end().lives());
    let layout = Layout {
        chunk_events: 3000,
        ..Layout::default()
    };
    for (threads, slice_events) in [(1, None), (3, Some(7000))] {
        let options = OpenOptions {
            threads: Some(threads),
            slice_events,
            ..without_index()
        };
        let (_folder, recording) = opened(&history, &layout, &options);
        for &count in counts {
            let points = recording.timeline(count as usize).unwrap();
            let expected = expected(&recording, &changes, count);
            for (point, expected) in points.iter().zip(&expected) {
                assert_eq!(point, expected, "of {count} on {threads} threads");
            }
            assert_eq!(points.len() as u64, count);
        }
        for point in recording.timeline(5).unwrap() {
            let ns = recording.tape().header.stamp_to_ns(point.stamp);
            let at = recording.resolve(&Moment::Ns(ns)).unwrap();
            let mut live = recording.live_heap(at.stamp).unwrap();
            live.retain(|block| block.domain <= DomainId::OBJ);
            let bytes: u64 = live.iter().map(|block| block.size).sum();
            assert_eq!((point.bytes, point.count), (bytes, live.len() as u64));
        }
    }
}

#[test]
fn every_point_of_a_long_history_is_exact() {
    let script = long_script(5, 180_000, 3000);
    compare(&script, 4, &[1, 2, 3, 17, 100, 4099, 100_000]);
}

#[test]
fn a_burst_does_not_hide_what_comes_after_it() {
    let mut script = long_script(6, 150_000, 500);
    // The last steps of the index are as many events as all others, and far longer.
    for (place, step) in (0u32..).zip(script.iter_mut().rev().take(40)) {
        step.advance = 20_000 + (place % 7) as u16;
    }
    compare(&script, 3, &[1, 10, 20, 333]);
}

#[test]
fn a_burst_in_the_middle_is_not_moved() {
    let mut script = long_script(7, 120_000, 9000);
    for step in script.iter_mut().take(30) {
        step.advance = 9000;
    }
    for step in script.iter_mut().rev().take(30) {
        step.advance = 9000;
    }
    compare(&script, 5, &[2, 9, 64, 1000]);
}
