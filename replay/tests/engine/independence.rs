//! Answers do not depend on how a tape is cut into chunks, on threads, or on the index.

use crate::harness::{file, live, lives, moments, scripts};
use crate::support::generate::{History, play};
use crate::support::write::{Layout, tape};
use heaptape::block::{Block, Lifetime};
use heaptape::index::{Peak, Summary};
use heaptape::repack::repack;
use heaptape::rewrite::Target;
use heaptape::timeline::TimelinePoint;
use heaptape::{OpenOptions, Recording};
use proptest::prelude::*;
use std::path::Path;

/// Everything that a recording says.
#[derive(Debug, PartialEq)]
struct Answers {
    summary: Summary,
    peaks: Vec<Peak>,
    timeline: Vec<TimelinePoint>,
    live: Vec<Vec<Block>>,
    lifetimes: Vec<Lifetime>,
    owners: Vec<Lifetime>,
}

fn answers(path: &Path, options: &OpenOptions, history: &History) -> Answers {
    let recording = Recording::open(path, options).unwrap();
    let at = moments(history);
    let live = at
        .iter()
        .step_by(3)
        .map(|&at| recording.live_heap(at).unwrap());
    let owned = crate::support::generate::HEAP_START + 70;
    Answers {
        live: live.collect(),
        summary: recording.summary().unwrap().clone(),
        peaks: recording.peaks(100).unwrap(),
        timeline: recording.timeline(50).unwrap(),
        lifetimes: recording.lifetimes(0, u64::MAX).unwrap(),
        owners: recording.owners(owned).unwrap(),
    }
}

impl Answers {
    /// Names the first answer that differs.
    fn check(&self, expected: &Self) {
        assert_eq!(self.summary, expected.summary);
        assert_eq!(self.peaks, expected.peaks);
        assert!(self.timeline == expected.timeline, "timelines differ");
        assert!(self.live == expected.live, "live heaps differ");
        let differ = self
            .lifetimes
            .iter()
            .zip(&expected.lifetimes)
            .find(|(a, b)| a != b);
        assert_eq!(differ, None, "lifetimes differ");
        assert_eq!(self.lifetimes.len(), expected.lifetimes.len());
        assert!(self.owners == expected.owners, "owners differ");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_and_their_order_do_not_matter(
        script in scripts(120, true), streams in 1usize..5,
        sizes in prop::collection::vec((1usize..50, 1usize..9, any::<Option<u64>>()), 3),
    ) {
        let history = play(&script, streams, false);
        let whole = Layout { chunk_events: 1000, chunk_nodes: 100, ..Layout::default() };
        let (_folder, path) = file(&tape(&history, &whole).0);
        let options = OpenOptions { write_index: false, ..OpenOptions::default() };
        let expected = answers(&path, &options, &history);
        for (chunk_events, chunk_nodes, shuffle) in sizes {
            let layout = Layout { chunk_events, chunk_nodes, shuffle, ..Layout::default() };
            let (_folder, path) = file(&tape(&history, &layout).0);
            answers(&path, &options, &history).check(&expected);
        }
    }

    #[test]
    fn threads_slices_windows_and_the_index_do_not_matter(
        script in scripts(120, true), streams in 1usize..5,
        slice_events in 1u64..50, window_events in 1u64..50,
        garbage in prop::collection::vec(any::<u8>(), 0..300), flip in any::<u32>(),
    ) {
        let history = play(&script, streams, false);
        let (_folder, path) = file(&tape(&history, &Layout::default()).0);
        let index = path.with_file_name("x.tape.idx");
        let plain = OpenOptions {
            use_index: false,
            write_index: false,
            threads: Some(1),
            ..OpenOptions::default()
        };
        let expected = answers(&path, &plain, &history);
        prop_assert!(!index.exists());
        for threads in 1..=4 {
            let other = OpenOptions {
                threads: Some(threads),
                slice_events: Some(slice_events),
                window_events: Some(window_events),
                ..OpenOptions::default()
            };
            // The first writes the index, the second reads it.
            answers(&path, &other, &history).check(&expected);
            prop_assert!(index.exists());
            answers(&path, &OpenOptions::default(), &history).check(&expected);
            std::fs::remove_file(&index).unwrap();
        }
        // Garbage in its place, and a good one with a bit flipped, are built again.
        std::fs::write(&index, &garbage).unwrap();
        answers(&path, &OpenOptions::default(), &history).check(&expected);
        let good = std::fs::read(&index).unwrap();
        let mut flipped = good.clone();
        let bit = flip as usize % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&index, &flipped).unwrap();
        answers(&path, &OpenOptions::default(), &history).check(&expected);
        std::fs::write(&index, &good[..good.len() / 2]).unwrap();
        answers(&path, &OpenOptions::default(), &history).check(&expected);
        prop_assert_eq!(std::fs::read(&index).unwrap(), good);
    }

    #[test]
    fn repacking_does_not_matter(
        script in scripts(200, true), streams in 1usize..4, level in 1i32..=19,
        chunk_events in 1usize..90,
    ) {
        let history = play(&script, streams, false);
        let layout = Layout { chunk_events, ..Layout::default() };
        let (_folder, path) = file(&tape(&history, &layout).0);
        let expected = answers(&path, &OpenOptions::default(), &history);
        let whole = std::fs::read(&path).unwrap();
        let other = path.with_extension("small.tape");
        let done = repack(&path, Target::New(&other), level).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
        prop_assert_eq!(std::fs::metadata(&other).unwrap().len(), done.bytes_after);
        prop_assert!(done.bytes_after <= done.bytes_before);
        answers(&other, &OpenOptions::default(), &history).check(&expected);
        // In its own place, where an index of the old tape lies.
        prop_assert_eq!(repack(&path, Target::InPlace, level).unwrap(), done);
        prop_assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
        answers(&path, &OpenOptions::default(), &history).check(&expected);
    }
}

#[test]
fn a_tape_that_grew_is_indexed_again() {
    let script = crate::support::generate::long_script(5, 400, 30);
    let short = play(&script[..200], 2, false);
    let long = play(&script, 2, false);
    let (_folder, path) = file(&tape(&short, &Layout::default()).0);
    let first = Recording::open(&path, &OpenOptions::default()).unwrap();
    let before = first.summary().unwrap().clone();
    std::fs::write(&path, tape(&long, &Layout::default()).0).unwrap();
    let second = Recording::open(&path, &OpenOptions::default()).unwrap();
    let after = second.summary().unwrap();
    assert!(after.allocs > before.allocs);
    assert_eq!(
        after.allocs + after.reallocs + after.frees,
        after.readable_events
    );
    assert_eq!(
        live(&second, u64::MAX).len() as u64,
        after.allocs - after.frees
    );
    assert_eq!(
        lives(&second, 0, u64::MAX).len() as u64,
        after.allocs + after.reallocs
    );
}
