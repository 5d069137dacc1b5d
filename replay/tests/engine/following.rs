//! A tape that is followed as it grows tells at every step what a fresh reading tells.

use crate::harness::{file, model, scripts, without_index};
use crate::lineage::family_with;
use crate::support::generate::{History, play};
use crate::support::life::Life;
use crate::support::model::Model;
use crate::support::write::{Epochs, Layout, tape};
use heaptape::block::{Block, StackId};
use heaptape::follow::{Advance, Follower, Stage};
use heaptape::{OpenOptions, Recording, Tape};
use heaptape_format::tables::ResidentSample;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn advance(follower: &mut Follower) -> Advance {
    follower.advance(Duration::MAX).unwrap()
}

fn lives(tape: &Tape, blocks: &[Block]) -> Vec<Life> {
    let mut lives: Vec<Life> = blocks
        .iter()
        .map(|block| Life::of_block(tape, block))
        .collect();
    lives.sort();
    lives
}

/// Bytes and blocks by traceback, of blocks or of a profile's sums.
fn by_stack(
    tape: &Tape,
    sums: impl Iterator<Item = (StackId, u64, u64)>,
) -> BTreeMap<Vec<String>, (u64, u64)> {
    let mut all: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
    for (stack, bytes, count) in sums {
        let frames = tape.frames(stack).map(|frame| format!("{frame:?}"));
        let sum = all.entry(frames.collect()).or_default();
        *sum = (sum.0.wrapping_add(bytes), sum.1 + count);
    }
    all
}

/// The follower's state is what a fresh reading of what it has read tells of its moment.
fn compare_with_fresh(follower: &Follower, path: &Path) {
    let mut read = std::fs::read(path).unwrap();
    read.truncate(follower.tape().tape_bytes as usize);
    let copy = path.with_file_name("read.part");
    std::fs::write(&copy, read).unwrap();
    let fresh = Recording::open(&copy, &without_index()).unwrap();
    let at = follower.moment();
    if !follower.has_begun() {
        assert!(follower.live_heap().is_empty());
        return;
    }
    let live = fresh.live_heap(at.stamp).unwrap();
    let found = lives(follower.tape(), &follower.live_heap());
    assert_eq!(found, lives(fresh.tape(), &live), "live at {at:?}");
    let inherited = fresh.inherited_at(at.stamp).unwrap();
    let profile = follower.profile();
    let sums = profile
        .sums()
        .map(|(block, amount)| (block.stack, amount.bytes, amount.count));
    let blocks = live.iter().chain(&inherited);
    let blocks = blocks.map(|block| (block.stack, block.size, 1));
    assert_eq!(
        by_stack(follower.tape(), sums),
        by_stack(fresh.tape(), blocks),
        "tracebacks at {at:?}"
    );
    let heap = live
        .iter()
        .filter(|block| heaptape::recording::is_heap_block(block));
    let total = heap.fold((0u64, 0), |sum, block| {
        (sum.0.wrapping_add(block.size), sum.1 + 1)
    });
    assert_eq!((follower.total().bytes, follower.total().count), total);
}

/// The same of the model, which knows the whole history, and what happened up to there.
fn compare_with_model(follower: &Follower, model: &Model, stamps: &BTreeSet<u64>) {
    if !follower.has_begun() {
        return;
    }
    let at = follower.moment().stamp;
    let state = model.at(at);
    let mut expected = state.live();
    expected.retain(|life| !life.is_inherited());
    assert_eq!(lives(follower.tape(), &follower.live_heap()), expected);
    let flow = follower.flow();
    let total = follower.total();
    assert_eq!(flow.allocations - flow.frees, total.count);
    let totals = stamps
        .range(..=at)
        .map(|&stamp| model.at(stamp).heap_total().0);
    assert_eq!(follower.peak().bytes, totals.max().unwrap_or(0));
    let columns = follower.trace().columns(1);
    assert_eq!(columns, [follower.peak().bytes]);
}

/// Follows the tape as its file grows by `pieces`, again and again. How often it was read anew.
fn follow(
    history: &History,
    layout: &Layout,
    pieces: &[usize],
    options: &OpenOptions,
    check: impl Fn(&Follower, &Path),
) -> usize {
    let (bytes, written) = tape(history, layout);
    let (mut anew, mut at) = (0, written[0].offset as usize);
    let (_folder, path) = file(&bytes[..at]);
    let mut follower = Follower::open(&path, options).unwrap();
    let mut reached = 0;
    for piece in pieces.iter().cycle() {
        match advance(&mut follower) {
            Advance::Anew => anew += 1,
            Advance::Same | Advance::Later => {
                let now = follower.moment().stamp;
                let lies = layout.epochs == Epochs::Wrong { is_told: false };
                assert!(lies || now >= reached, "{now} after {reached}");
            }
        }
        reached = follower.moment().stamp;
        assert!(follower.has_caught_up());
        assert_eq!(follower.damaged(), 0);
        check(&follower, &path);
        if at == bytes.len() {
            break;
        }
        // Behind the end's last byte there may be padding.
        let padding = heaptape_format::CHUNK_ALIGNMENT as usize;
        assert!(follower.stage() == Stage::Recording || bytes.len() - at < padding);
        let end = (at + piece).min(bytes.len());
        append(&path, &bytes[at..end]);
        at = end;
    }
    assert_eq!(follower.stage(), Stage::Ended);
    assert_eq!(follower.moment().stamp, follower.tape().end_stamp);
    assert_eq!(advance(&mut follower), Advance::Same);
    anew
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let piece = prop_oneof![1usize..100, 100usize..2000, 2000usize..20_000];
    prop::collection::vec(piece, 1..20)
}

fn options() -> impl Strategy<Value = OpenOptions> {
    (1usize..4).prop_map(|threads| OpenOptions {
        threads: Some(threads),
        ..without_index()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_tells_what_a_fresh_reading_tells(
        script in scripts(150, true), streams in 1usize..5, pieces in pieces(),
        chunk_events in 1usize..40, chunk_nodes in 1usize..9, stamp_shift in 0u8..3,
        free_stacks: bool, options in options(),
    ) {
        let history = play(&script, streams, false);
        let mut layout = Layout {
            chunk_events, chunk_nodes, stamp_shift, epochs: Epochs::Exact, ..Layout::default()
        };
        layout.process.options = u32::from(free_stacks);
        let (model, stamps) = (model(&history, &layout), history.stamps());
        let anew = follow(&history, &layout, &pieces, &options, |follower, path| {
            compare_with_fresh(follower, path);
            compare_with_model(follower, &model, &stamps);
        });
        prop_assert_eq!(anew, 0);
    }

    #[test]
    fn inexact_epochs_are_waited_for(
        script in scripts(150, true), streams in 2usize..5, pieces in pieces(),
        chunk_events in 1usize..40,
    ) {
        let history = play(&script, streams, false);
        let epochs = Epochs::Wrong { is_told: true };
        let layout = Layout { chunk_events, epochs, ..Layout::default() };
        let model = model(&history, &layout);
        let stamps = history.stamps();
        let anew = follow(&history, &layout, &pieces, &without_index(), |follower, path| {
            compare_with_fresh(follower, path);
            compare_with_model(follower, &model, &stamps);
        });
        prop_assert_eq!(anew, 0);
    }

    #[test]
    fn what_comes_too_late_makes_it_begin_anew(
        script in scripts(150, true), streams in 2usize..5, pieces in pieces(),
        chunk_events in 1usize..40,
    ) {
        let history = play(&script, streams, false);
        let epochs = Epochs::Wrong { is_told: false };
        let layout = Layout { chunk_events, epochs, ..Layout::default() };
        let _anew = follow(&history, &layout, &pieces, &without_index(), compare_with_fresh);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_forked_child_is_followed_with_what_it_inherited(
        before in prop::collection::vec(scripts(50, false), 2),
        after in prop::collection::vec(scripts(50, false), 2),
        pieces in pieces(),
    ) {
        let family = family_with(&before, &after, Epochs::Exact);
        let path = family.folder.path().join("p1.tape");
        let bytes = std::fs::read(&path).unwrap();
        let start = bytes.len() / 3;
        std::fs::write(&path, &bytes[..start]).unwrap();
        let mut follower = Follower::open(&path, &without_index()).unwrap();
        let mut at = start;
        for piece in pieces.iter().cycle() {
            advance(&mut follower);
            compare_with_fresh(&follower, &path);
            if at == bytes.len() {
                break;
            }
            let end = (at + piece).min(bytes.len());
            append(&path, &bytes[at..end]);
            at = end;
        }
        prop_assert_eq!(follower.stage(), Stage::Ended);
    }
}

/// A long tape is followed in parts.
#[test]
fn a_budget_ends_a_step_and_no_event_is_left_out() {
    let script: Vec<_> = (0..300).map(large_step).collect();
    let history = play(&script, 3, false);
    let (_folder, path) = file(&tape(&history, &Layout::default()).0);
    let mut follower = Follower::open(&path, &without_index()).unwrap();
    assert_eq!(follower.moment().stamp, 0);
    assert!(!follower.has_caught_up());
    while follower.advance(Duration::ZERO).unwrap() != Advance::Same {
        compare_with_fresh(&follower, &path);
    }
    assert!(follower.has_caught_up());
    assert_eq!(follower.progress(), 1.0);
    assert_eq!(follower.stage(), Stage::Ended);
}

fn large_step(place: u32) -> crate::support::generate::Step {
    use crate::support::generate::{Act, Step};
    let act = match place % 3 {
        2 => Act::Free { pick: place },
        _ => Act::Alloc {
            entry: place as u8,
            size: place,
        },
    };
    Step {
        stream: place as u8,
        advance: 1,
        act,
        node: place as u8,
        is_lost: false,
    }
}

/// Another recording in its place, a folded one, or one that is not whole any more.
#[test]
fn another_tape_under_its_name_is_followed_from_its_beginning() {
    let script: Vec<_> = (0..90).map(large_step).collect();
    let history = play(&script, 2, false);
    let layout = Layout {
        chunk_events: 7,
        epochs: Epochs::Exact,
        ..Layout::default()
    };
    let (bytes, written) = tape(&history, &layout);
    let (folder, path) = file(&bytes);
    let mut follower = Follower::open(&path, &without_index()).unwrap();
    assert_eq!(advance(&mut follower), Advance::Later);
    let whole = follower.moment().stamp;
    // Put in its place by renaming, as folding and repacking do.
    let shorter = play(&script[..40], 2, false);
    let other = folder.path().join("other.tape");
    std::fs::write(&other, tape(&shorter, &layout).0).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(advance(&mut follower), Advance::Anew);
    assert!(follower.moment().stamp < whole);
    compare_with_fresh(&follower, &path);
    // Folded in place.
    let half = follower.moment().stamp / 2;
    heaptape::fold::fold(&path, half, heaptape::rewrite::Target::InPlace, 3).unwrap();
    assert_eq!(advance(&mut follower), Advance::Anew);
    compare_with_fresh(&follower, &path);
    // Moved away: what was read stays.
    std::fs::rename(&path, &other).unwrap();
    assert_eq!(advance(&mut follower), Advance::Same);
    // Cut off under the same name.
    std::fs::rename(&other, &path).unwrap();
    let cut = written[written.len() / 2].offset;
    std::fs::write(&path, &bytes[..cut as usize]).unwrap();
    assert_eq!(advance(&mut follower), Advance::Anew);
    compare_with_fresh(&follower, &path);
}

/// Without epochs what was written seconds later says that all is there.
#[test]
fn later_records_stand_in_for_epochs() {
    let script: Vec<_> = (0..90).map(large_step).collect();
    let history = play(&script, 2, false);
    let sample = |stamp| ResidentSample {
        stamp,
        ..ResidentSample::default()
    };
    for (last, has_begun) in [(2_000_000_000, false), (3_000_000_030, true)] {
        let layout = Layout {
            resident: vec![sample(last)],
            has_end: false,
            ..Layout::default()
        };
        let (_folder, path) = file(&tape(&history, &layout).0);
        let mut follower = Follower::open(&path, &without_index()).unwrap();
        advance(&mut follower);
        assert_eq!(follower.has_begun(), has_begun, "{last}");
        if has_begun {
            assert_eq!(follower.moment().stamp, 30);
            assert!(follower.total().count > 0);
        }
        compare_with_model(&follower, &model(&history, &layout), &history.stamps());
    }
}

/// What is damaged is left out, as anywhere.
#[test]
fn damage_is_counted_and_the_rest_is_followed() {
    let script: Vec<_> = (0..90).map(large_step).collect();
    let history = play(&script, 2, false);
    let layout = Layout {
        chunk_events: 7,
        epochs: Epochs::Exact,
        ..Layout::default()
    };
    let (mut bytes, written) = tape(&history, &layout);
    let events =
        |chunk: &&crate::support::write::Written| chunk.kind == heaptape_format::ChunkKind::EVENTS;
    let broken = written.iter().filter(events).nth(2).unwrap();
    bytes[(broken.offset + broken.bytes - 1) as usize] ^= 0x55;
    let (_folder, path) = file(&bytes[..written[3].offset as usize]);
    let mut follower = Follower::open(&path, &without_index()).unwrap();
    advance(&mut follower);
    append(&path, &bytes[written[3].offset as usize..]);
    advance(&mut follower);
    assert_eq!(follower.damaged(), 1);
    compare_with_fresh(&follower, &path);
}
