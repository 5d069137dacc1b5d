//! A folded tape answers for later moments as the whole one does, and for earlier ones not at all.

use crate::harness::{file, live, lives, moments, options, scripts, without_index};
use crate::lineage::family;
use crate::support::generate::{History, play};
use crate::support::life::{Life, LifeEnd};
use crate::support::write::{Layout, tape};
use heaptape::fold::{Folded, fit, fold};
use heaptape::index::{Peak, Summary};
use heaptape::rewrite::{RewriteError, Target};
use heaptape::{Error, Moment, OpenOptions, Recording, Tape};
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo};
use heaptape_format::event::{DomainId, Operation};
use heaptape_format::left::{Left, LeftState, put_left};
use heaptape_format::scan::{Found, Scan};
use heaptape_format::varint::{put_bytes, put_varint};
use heaptape_format::{ChunkKind, TapeHeader};
use proptest::prelude::*;
use std::path::Path;

/// None: there is no moment to fold it at.
fn folded(path: &Path, stamp: u64, name: &str) -> Option<(Folded, std::path::PathBuf)> {
    let other = path.with_file_name(name);
    let done = match fold(path, stamp, Target::New(&other), 3) {
        Err(RewriteError::NothingToFold { .. }) => return None,
        done => done.unwrap(),
    };
    assert!(done.stamp <= stamp);
    assert_eq!(std::fs::metadata(&other).unwrap().len(), done.bytes_after);
    Some((done, other))
}

/// What does not say how many blocks its thread allocated meanwhile: that is gone for those that
/// lived at the fold.
fn without_between(lives: Vec<Life>) -> Vec<Life> {
    let plain = lives.into_iter().map(|life| Life {
        end: life.end.clone().map(|end| LifeEnd {
            between: None,
            ..end
        }),
        ..life
    });
    plain.collect()
}

/// What the whole tape says of the highest moment from `from` on.
fn peak_from(whole: &Recording, history: &History, from: u64) -> Peak {
    let total = |stamp| {
        let blocks = whole.live_heap(stamp).unwrap();
        let heap = blocks
            .iter()
            .filter(|block| heaptape::recording::is_heap_block(block));
        heap.fold((0, 0), |sum, block| (sum.0 + block.size, sum.1 + 1))
    };
    let later = history.stamps().into_iter().filter(|&stamp| stamp > from);
    let mut highest = Peak {
        stamp: from,
        bytes: total(from).0,
        count: total(from).1,
    };
    for stamp in later {
        let (bytes, count) = total(stamp);
        if bytes > highest.bytes {
            highest = Peak {
                stamp,
                bytes,
                count,
            };
        }
    }
    highest
}

/// Where nobody knows what was inherited, frees at one stamp have no order that tells which of them
/// was the first at its address.
fn counted(summary: &Summary) -> Summary {
    match summary.inherited_known {
        true => summary.clone(),
        false => Summary {
            unknown_frees: 0,
            inherited_frees: summary.inherited_frees + summary.unknown_frees,
            ..summary.clone()
        },
    }
}

pub(crate) fn compare(whole: &Recording, part: &Recording, history: &History, done: &Folded) {
    let from = done.stamp;
    assert_eq!(part.tape().told_from(), from.max(part.tape().start_stamp));
    assert!(part.damage().unwrap().is_empty());
    assert_eq!(part.tape().verify().unreadable_events, 0);
    let (expected, found) = (whole.summary().unwrap(), part.summary().unwrap());
    let expected = Summary {
        peak: peak_from(whole, history, from),
        readable_events: expected.readable_events - done.events,
        // Those that only blocks had which are gone are not counted.
        stacks: found.stacks,
        ..expected.clone()
    };
    assert_eq!(counted(found), counted(&expected));
    for at in moments(history).into_iter().filter(|&at| at >= from) {
        assert_eq!(live(part, at), live(whole, at), "live at {at}");
        assert_eq!(
            part.inherited_at(at).unwrap().len(),
            whole.inherited_at(at).unwrap().len(),
            "inherited at {at}"
        );
    }
    let later = from.saturating_add(1);
    assert_eq!(lives(part, later, u64::MAX), lives(whole, later, u64::MAX));
    let mut survivors = lives(whole, 0, from);
    survivors.retain(|life| life.end.as_ref().is_none_or(|end| end.stamp > from));
    assert_eq!(
        without_between(lives(part, 0, from)),
        without_between(survivors)
    );
    for address in [70, 4096, 8192].map(|offset| crate::support::generate::HEAP_START + offset) {
        let owners = |recording: &Recording| {
            let mut owners = recording.owners(address).unwrap();
            owners.retain(|owner| owner.death.is_none_or(|death| death.stamp > from));
            let lives = owners.iter();
            // Numbers of stacks are each tape's own.
            without_between(
                lives
                    .map(|owner| Life::of_lifetime(recording.tape(), owner))
                    .collect(),
            )
        };
        assert_eq!(owners(part), owners(whole), "owners of {address:#x}");
    }
    if let Some(before) = from
        .checked_sub(1)
        .filter(|_| from > part.tape().start_stamp)
    {
        let ns = part.tape().header.stamp_to_ns(before);
        if ns < part.tape().header.stamp_to_ns(from) {
            let refused = part.resolve(&Moment::Ns(ns));
            assert!(matches!(refused, Err(Error::Folded { .. })), "{refused:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_left_is_as_it_was(
        script in scripts(150, true), streams in 1usize..5, options in options(),
        chunk_events in 1usize..60, at in 0.0f64..1.1, again in 0.0f64..1.0,
    ) {
        let history = play(&script, streams, false);
        let layout = Layout { chunk_events, ..Layout::default() };
        let (_folder, path) = file(&tape(&history, &layout).0);
        let whole = Recording::open(&path, &without_index()).unwrap();
        let end = whole.tape().end_stamp as f64;
        let Some((done, once)) = folded(&path, (end * at) as u64, "once.tape") else {
            return Ok(());
        };
        let part = Recording::open(&once, &options).unwrap();
        compare(&whole, &part, &history, &done);
        // A folded tape is folded as any other.
        let later = done.stamp + ((end - done.stamp as f64).max(0.0) * again) as u64;
        let Some((second, twice)) = folded(&once, later, "twice.tape") else {
            return Ok(());
        };
        prop_assert!(second.stamp >= done.stamp);
        let part = Recording::open(&twice, &options).unwrap();
        compare(&whole, &part, &history, &second);
        let (direct, direct_path) = folded(&path, later, "direct.tape").unwrap();
        let same = Recording::open(&direct_path, &OpenOptions::default()).unwrap();
        prop_assert_eq!(direct.stamp, second.stamp);
        let what = |tape: &Recording| tape.tape().folded.clone().unwrap();
        prop_assert_eq!(
            heaptape_format::tables::Folded { sequence: 0, ..what(&same) },
            heaptape_format::tables::Folded { sequence: 0, ..what(&part) }
        );
        prop_assert_eq!(same.summary().unwrap(), part.summary().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn as_much_of_the_end_as_fits_is_kept(script in scripts(150, true), part in 0.1f64..1.2) {
        let history = play(&script, 3, false);
        let layout = Layout { chunk_events: 20, ..Layout::default() };
        let (_folder, path) = file(&tape(&history, &layout).0);
        let other = path.with_file_name("short.tape");
        std::fs::copy(&path, &other).unwrap();
        let bytes = (std::fs::metadata(&path).unwrap().len() as f64 * part) as u64;
        let fits = fit(&other, bytes).unwrap();
        prop_assert_eq!(fits, std::fs::metadata(&other).unwrap().len() <= bytes);
        prop_assert!(fits || part < 1.0);
        let short = Recording::open(&other, &without_index()).unwrap();
        let whole = Recording::open(&path, &without_index()).unwrap();
        prop_assert!(part < 1.0 || short.tape().folded.is_none());
        let end = whole.tape().end_stamp;
        prop_assert_eq!(live(&short, end), live(&whole, end));
    }
}

/// The tape with another record of what is gone and other things that are left, all of them with
/// good checksums: what a hostile writer could make.
fn with_other_facts(tape: &[u8], gone: &[u64], left: &[Left]) -> Vec<u8> {
    let (_, header_bytes) = TapeHeader::decode(tape).unwrap();
    let mut other = tape[..header_bytes].to_vec();
    let mut encoder = ChunkEncoder::new(1);
    for found in Scan::new(tape, header_bytes) {
        let Found::Chunk(chunk) = found else {
            continue;
        };
        let (mut payload, mut count) = (Vec::new(), chunk.header.count);
        chunk.payload(tape, &mut payload).unwrap();
        match chunk.header.kind {
            ChunkKind::FOLDED => {
                let mut record = Vec::new();
                gone.iter()
                    .for_each(|&number| put_varint(&mut record, number));
                payload.clear();
                put_bytes(&mut payload, &record);
            }
            ChunkKind::LEFT => {
                payload.clear();
                put_left(left, &mut payload);
                count = left.len() as u32;
            }
            _ => {}
        }
        let info = ChunkInfo {
            kind: chunk.header.kind,
            stream: chunk.header.stream,
            count,
            stamp_first: chunk.header.stamp_first,
            stamp_last: chunk.header.stamp_last,
            sequence: chunk.header.sequence,
            first: chunk.header.first,
        };
        encoder.encode(&info, &payload, &mut other).unwrap();
    }
    other
}

fn any_left() -> impl Strategy<Value = Left> {
    let near = crate::support::generate::HEAP_START;
    let state = prop_oneof![
        Just(LeftState::Alive),
        Just(LeftState::Remainder),
        Just(LeftState::Inherited)
    ];
    let number = || prop_oneof![0..2000u64, any::<u64>()];
    let place = (near..near + 4096, number(), number(), number());
    let rest = (0..6u32, 0..30u32, 0..224u8, 0..=63u8, 0..20u16);
    (state, place, rest).prop_map(
        |(state, (address, size, stamp, before), (stream, stack, code, log2, domain))| Left {
            state,
            address,
            size,
            stamp,
            allocated: stamp.saturating_sub(before),
            stream,
            stack,
            operation: Operation(code),
            alignment_log2: log2,
            domain: DomainId(domain),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn facts_of_no_sense_are_answered_somehow(
        script in scripts(80, true), at in 0.0f64..1.0,
        gone in prop::collection::vec(prop_oneof![0..3000u64, any::<u64>()], 14),
        left in prop::collection::vec(any_left(), 0..30),
        options in options(),
    ) {
        let history = play(&script, 3, false);
        let (_folder, path) = file(&tape(&history, &Layout::default()).0);
        let end = Tape::open(&path).unwrap().end_stamp as f64;
        let Some((_, once)) = folded(&path, (end * at) as u64, "once.tape") else {
            return Ok(());
        };
        let whole = std::fs::read(&once).unwrap();
        std::fs::write(&once, with_other_facts(&whole, &gone, &left)).unwrap();
        let recording = Recording::open(&once, &options).unwrap();
        let _counts = recording.tape().verify();
        recording.summary().unwrap();
        recording.peaks(10).unwrap();
        recording.timeline(20).unwrap();
        for moment in moments(&history).into_iter().step_by(5) {
            recording.live_heap(moment).unwrap();
        }
        recording.lifetimes(0, u64::MAX).unwrap();
        recording.owners(crate::support::generate::HEAP_START + 70).unwrap();
        let _either = fold(&once, u64::MAX, Target::InPlace, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_child_keeps_what_is_left_of_what_it_inherited(
        before in prop::collection::vec(scripts(60, false), 2),
        after in prop::collection::vec(scripts(60, false), 2),
        at in 0.0f64..1.0, again in 0.0f64..1.0, has_parent: bool,
    ) {
        let family = family(&before, &after);
        let path = family.folder.path().join("p1.tape");
        if !has_parent {
            std::fs::remove_file(family.folder.path().join("p0.tape")).unwrap();
        }
        let whole = Recording::open(&path, &without_index()).unwrap();
        let (start, end) = (whole.tape().start_stamp, whole.tape().end_stamp);
        let within = |part: f64| start + ((end - start) as f64 * part) as u64;
        let Some((done, once)) = folded(&path, within(at), "once.tape") else {
            return Ok(());
        };
        let history = &family.histories[1];
        let part = Recording::open(&once, &without_index()).unwrap();
        compare(&whole, &part, history, &done);
        let later = within(again).max(done.stamp);
        let (done, twice) = folded(&once, later, "twice.tape").unwrap();
        let part = Recording::open(&twice, &without_index()).unwrap();
        compare(&whole, &part, history, &done);
    }

    #[test]
    fn of_a_parent_that_forgot_the_fork_nothing_is_known(
        before in prop::collection::vec(scripts(40, false), 2),
        after in prop::collection::vec(scripts(40, false), 2),
    ) {
        let family = family(&before, &after);
        let parent = family.folder.path().join("p0.tape");
        let done = match fold(&parent, u64::MAX, Target::InPlace, 3) {
            Err(RewriteError::NothingToFold { .. }) => return Ok(()),
            done => done.unwrap(),
        };
        let path = family.folder.path().join("p1.tape");
        let child = Recording::open(&path, &without_index()).unwrap();
        let is_known = child.summary().unwrap().inherited_known;
        prop_assert_eq!(is_known, done.stamp <= family.cuts[1]);
    }
}
