//! Drawing scripts, writing tapes, and comparing all answers of a recording with the model's.

use crate::support::generate::{Act, History, MAP_START, PAGES, Step};
use crate::support::model::{Life, Model};
use crate::support::write::{Layout, tape};
use heaptape::index::Peak;
use heaptape::{OpenOptions, Recording};
use heaptape_format::event::DomainId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tempfile::TempDir;

/// A script with all kinds of steps; `faults` adds lost events and wild frees.
pub fn scripts(length: usize, faults: bool) -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![3 => 0u32..200, 1 => Just(0u32), 1 => Just(u32::MAX)];
    let wild = if faults { 1 } else { 0 };
    let act = prop_oneof![
        30 => (any::<u8>(), size.clone()).prop_map(|(entry, size)| Act::Alloc { entry, size }),
        25 => any::<u32>().prop_map(|pick| Act::Free { pick }),
        12 => (any::<u32>(), size.clone()).prop_map(|(pick, size)| Act::Realloc { pick, size }),
        2 * wild => (0u8..8).prop_map(|slot| Act::WildFree { slot }),
        6 => any::<u32>().prop_map(move |pick| match pick % 7 {
            0 if faults => Act::WildReuse { slot: (pick / 7 % 8) as u8 },
            _ => Act::Reuse { pick },
        }),
        5 => (any::<u8>(), size.clone()).prop_map(|(pool, size)| Act::PoolAlloc { pool, size }),
        4 => any::<(u8, u32)>().prop_map(|(pool, pick)| Act::PoolFree { pool, pick }),
        3 => (any::<u8>(), any::<u32>(), size).prop_map(|(pool, pick, size)| {
            Act::PoolRealloc { pool, pick, size }
        }),
        12 => (0..PAGES, any::<u8>(), any::<bool>()).prop_map(|(page, pages, is_new)| match is_new {
            true => Act::Map { page, pages },
            false => Act::Unmap { page, pages },
        }),
        2 => (0..PAGES, any::<u8>(), 0..PAGES, any::<u8>()).prop_map(
            |(page, pages, to, to_pages)| Act::Remap { page, pages, to, to_pages }
        ),
    ];
    let advance = prop_oneof![5 => Just(0u16), 5 => Just(1u16), 2 => 2u16..5, 1 => 100u16..900];
    let lost = if faults { 10 } else { 0 };
    let step = (any::<u8>(), advance, act, any::<u8>(), 0u8..100).prop_map(
        move |(stream, advance, act, node, luck)| Step {
            stream,
            advance,
            act,
            node,
            is_lost: luck < lost,
        },
    );
    prop::collection::vec(step, 0..length)
}

/// How a tape is laid out, drawn.
pub fn layouts() -> impl Strategy<Value = Layout> {
    (1usize..40, 1usize..9, any::<Option<u64>>(), any::<bool>()).prop_map(
        |(chunk_events, chunk_nodes, shuffle, free_stacks)| {
            let mut layout = Layout {
                chunk_events,
                chunk_nodes,
                shuffle,
                ..Layout::default()
            };
            layout.process.options = u32::from(free_stacks);
            layout
        },
    )
}

/// How a recording is opened, drawn.
pub fn options() -> impl Strategy<Value = OpenOptions> {
    (1usize..5, 1u64..40, prop::option::of(1u64..60)).prop_map(
        |(threads, slice_events, window_events)| OpenOptions {
            threads: Some(threads),
            slice_events: Some(slice_events),
            window_events,
            write_index: false,
            ..OpenOptions::default()
        },
    )
}

/// The model of a history in a layout.
pub fn model(history: &History, layout: &Layout) -> Model {
    let mut model = Model::new(history);
    model.free_stacks = layout.process.options & 1 != 0;
    model
}

/// Writes `bytes` into a new folder.
pub fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tape");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Writes a history as a tape and opens it.
pub fn opened(history: &History, layout: &Layout, options: &OpenOptions) -> (TempDir, Recording) {
    let (folder, path) = file(&tape(history, layout).0);
    let recording = Recording::open(&path, options).unwrap();
    (folder, recording)
}

/// Options that neither read nor write an index.
pub fn without_index() -> OpenOptions {
    OpenOptions {
        use_index: false,
        write_index: false,
        threads: Some(1),
        ..OpenOptions::default()
    }
}

/// The moments at which answers are compared: each stamp, one before, one after.
pub fn moments(history: &History) -> BTreeSet<u64> {
    let stamps = history.stamps();
    let around = stamps
        .iter()
        .flat_map(|&stamp| [stamp.saturating_sub(1), stamp, stamp + 1]);
    around.chain([0, u64::MAX]).collect()
}

/// The live blocks of a recording at a moment, as the model has them, sorted.
pub fn live(recording: &Recording, at: u64) -> Vec<Life> {
    let blocks = recording.live_heap(at).unwrap();
    lives_of(recording, &blocks)
}

fn lives_of(recording: &Recording, blocks: &[heaptape::block::Block]) -> Vec<Life> {
    let mut lives: Vec<Life> = blocks
        .iter()
        .map(|block| Life::of_block(recording.tape(), block))
        .collect();
    lives.sort();
    lives
}

/// The lifetimes of a recording, as the model has them, sorted.
pub fn lives(recording: &Recording, from: u64, to: u64) -> Vec<Life> {
    let lifetimes = recording.lifetimes(from, to).unwrap();
    let mut lives: Vec<Life> = lifetimes
        .iter()
        .map(|lifetime| Life::of_lifetime(recording.tape(), lifetime))
        .collect();
    lives.sort();
    lives
}

/// Shows what differs, and nothing else.
fn same(found: &[Life], expected: &[Life], what: &str) {
    if found != expected {
        let only = |these: &[Life], those: &[Life]| -> Vec<Life> {
            these
                .iter()
                .filter(|life| !those.contains(life))
                .cloned()
                .collect()
        };
        let (more, missing) = (only(found, expected), only(expected, found));
        panic!("{what}: found {more:#?} in place of {missing:#?}");
    }
}

/// Compares every snapshot with the model.
pub fn compare_snapshots(recording: &Recording, model: &Model, moments: &BTreeSet<u64>) {
    for &at in moments {
        let expected = model.at(at).live();
        let (inherited, own): (Vec<Life>, Vec<Life>) =
            expected.into_iter().partition(Life::is_inherited);
        same(&live(recording, at), &own, &format!("live at {at}"));
        let found = lives_of(recording, &recording.inherited_at(at).unwrap());
        same(&found, &inherited, &format!("inherited at {at}"));
        let order = recording.live_heap(at).unwrap();
        assert!(order.is_sorted_by_key(|block| (block.domain, block.address)));
    }
}

/// Compares lifetimes in windows and owners with the model.
pub fn compare_lives(recording: &Recording, model: &Model, moments: &BTreeSet<u64>) {
    let all = model.end().lives();
    let picked: Vec<u64> = moments.iter().copied().collect();
    let windows = picked.iter().step_by(7).flat_map(|&from| {
        let later = picked.iter().filter(move |&&to| to >= from).step_by(11);
        later.map(move |&to| (from, to))
    });
    for (from, to) in windows.chain([(0, u64::MAX), (5, 4)]) {
        let expected: Vec<&Life> = all
            .iter()
            .filter(|life| from <= life.born && life.born <= to && !life.is_inherited())
            .collect();
        let expected: Vec<Life> = expected.into_iter().cloned().collect();
        same(
            &lives(recording, from, to),
            &expected,
            &format!("born in {from}..={to}"),
        );
    }
    let mapped = recording.lifetimes(0, u64::MAX).unwrap();
    let mut found: Vec<(Life, Option<u64>)> = mapped
        .iter()
        .filter(|lifetime| lifetime.block.domain == DomainId::MMAP && !lifetime.block.is_remainder)
        .map(|lifetime| {
            let life = Life::of_block(recording.tape(), &lifetime.block);
            (life, recording.last_end(lifetime).unwrap())
        })
        .collect();
    found.sort();
    let mut expected = model.end().mapped;
    expected.sort();
    assert_eq!(found, expected, "the last ends of mappings");
    let turns = model.end().turns();
    let starts = all
        .iter()
        .flat_map(|life| [life.address, life.address + life.size / 2]);
    let addresses: BTreeSet<u64> = starts.chain([0, MAP_START + 5000, u64::MAX]).collect();
    for address in addresses {
        let owners = recording.owners(address).unwrap();
        assert!(owners.is_sorted_by_key(|lifetime| lifetime.block.born));
        let mut found: Vec<Life> = owners
            .iter()
            .map(|lifetime| Life::of_lifetime(recording.tape(), lifetime))
            .collect();
        found.sort();
        let expected: Vec<Life> = turns
            .iter()
            .filter(|life| life.contains(address))
            .cloned()
            .collect();
        same(&found, &expected, &format!("owners of {address:#x}"));
    }
}

/// Compares totals, peaks and the timeline with the model.
pub fn compare_totals(recording: &Recording, model: &Model, history: &History) {
    let end = model.end();
    let summary = recording.summary().unwrap();
    let counts = crate::support::model::Counts {
        allocs: summary.allocs,
        frees: summary.frees,
        reallocs: summary.reallocs,
        maps: summary.maps,
        unknown_frees: summary.unknown_frees,
        implied_frees: summary.implied_frees,
        inherited_frees: summary.inherited_frees,
        inherited_pool_frees: summary.inherited_pool_frees,
        bytes_allocated: summary.bytes_allocated,
        reuses: summary.reuses,
    };
    assert_eq!(counts, end.counts);
    assert_eq!((summary.end.bytes, summary.end.count), end.heap_total());
    let events: usize = history
        .streams
        .iter()
        .map(|stream| stream.events.len())
        .sum();
    assert_eq!(summary.readable_events, events as u64);
    let totals: BTreeMap<u64, (u64, u64)> = history
        .stamps()
        .into_iter()
        .map(|stamp| (stamp, model.at(stamp).heap_total()))
        .collect();
    compare_peaks(recording, &totals);
    compare_timeline(recording, &totals);
    let stacks: BTreeSet<Vec<_>> = end
        .lives()
        .into_iter()
        .filter(|life| life.domain.0 != 4 && !life.is_inherited() && !life.frames.is_empty())
        .map(|life| life.frames)
        .chain(model.frames_of_reuses())
        .collect();
    assert_eq!(summary.stacks, stacks.len() as u64);
}

/// Peaks by their definition: again and again the highest moment that a valley separates from all
/// peaks so far.
fn compare_peaks(recording: &Recording, totals: &BTreeMap<u64, (u64, u64)>) {
    let mut expected: Vec<Peak> = Vec::new();
    loop {
        let is_separate = |stamp: u64, bytes: u64| {
            expected.iter().all(|peak| {
                let (from, to) = (stamp.min(peak.stamp), stamp.max(peak.stamp));
                let mut between = totals.range(from..=to);
                between.any(|(_, &(valley, _))| valley as u128 * 10 <= bytes as u128 * 9)
            })
        };
        let highest = totals
            .iter()
            .filter(|&(&stamp, &(bytes, _))| bytes > 0 && is_separate(stamp, bytes))
            .max_by_key(|&(&stamp, &(bytes, _))| (bytes, std::cmp::Reverse(stamp)));
        let Some((&stamp, &(bytes, count))) = highest else {
            break;
        };
        expected.push(Peak {
            stamp,
            bytes,
            count,
        });
    }
    assert_eq!(recording.peaks(usize::MAX).unwrap(), expected);
    let start = recording.tape().start_stamp;
    let at_start = totals
        .range(..=start)
        .next_back()
        .map_or((0, 0), |(_, &total)| total);
    let first = expected.first().copied().unwrap_or(Peak {
        stamp: start,
        bytes: at_start.0,
        count: at_start.1,
    });
    assert_eq!(recording.summary().unwrap().peak, first);
}

fn compare_timeline(recording: &Recording, totals: &BTreeMap<u64, (u64, u64)>) {
    let state = |at: u64| {
        totals
            .range(..=at)
            .next_back()
            .map_or((0, 0), |(_, &total)| total)
    };
    for count in [1, 2, 7, 100] {
        let points = recording.timeline(count).unwrap();
        assert_eq!(points.len(), count);
        let mut last = None;
        let mut blocks = 0;
        for point in &points {
            assert_eq!((point.bytes, point.count), state(point.stamp), "{point:?}");
            let from = last.map_or(0, |last| last + 1);
            let within = totals.range(from..=point.stamp.max(from));
            let within = within.filter(|&(&stamp, _)| stamp <= point.stamp);
            let within = within.map(|(_, total)| total.0);
            let before = last.map_or(0, |last| state(last).0);
            let high = within.fold(before, u64::max);
            assert_eq!(point.high, high, "{point:?}");
            blocks = blocks + point.allocations - point.frees;
            assert_eq!(blocks, point.count, "{point:?}");
            last = Some(point.stamp);
        }
        let tape = recording.tape();
        assert_eq!(points.last().map(|point| point.stamp), Some(tape.end_stamp));
    }
}

/// Compares everything.
pub fn compare(recording: &Recording, model: &Model, history: &History) {
    let moments = moments(history);
    compare_totals(recording, model, history);
    compare_snapshots(recording, model, &moments);
    compare_lives(recording, model, &moments);
}
