//! The first part of a tape is folded while the rest is written: together they answer as a tape
//! that was folded when it was done.

use crate::folding::compare;
use crate::harness::{file, options, scripts, without_index};
use crate::lineage::family;
use crate::support::generate::{Step, play};
use crate::support::write::{Layout, tape};
use heaptape::fold::{Folded, Part};
use heaptape::rewrite::RewriteError;
use heaptape::{OpenOptions, Recording};
use heaptape_format::header::FOLDED;
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::{ChunkKind, TapeHeader};
use proptest::prelude::*;
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};

fn chunks(tape: &[u8]) -> Vec<FoundChunk> {
    let (_, header_bytes) = TapeHeader::decode(tape).unwrap();
    let found = Scan::new(tape, header_bytes).map(|found| match found {
        Found::Chunk(chunk) => chunk,
        Found::Damage(damage) => panic!("{damage:?}"),
    });
    found.collect()
}

/// What a drainer's fold came to.
struct Joined {
    done: Folded,
    path: PathBuf,
    /// So many first chunks are what was made of the part.
    made: usize,
}

/// Folds the first part of the tape at `path` as a drainer has it done, `cut` and `at` say how much
/// and up to when, and puts the rest behind it. The first `made` chunks are in the part in any
/// case: what they say of stacks belongs together. None: nothing can be folded there.
fn with_folded_part(path: &Path, cut: f64, at: f64, made: usize) -> Option<Joined> {
    let whole = std::fs::read(path).unwrap();
    let chunks = chunks(&whole);
    let cut = (chunks.len() as f64 * cut) as usize;
    let (before, behind) = chunks.split_at(cut.max(made));
    let last = before.last()?;
    let bytes = last.offset + last.header.total_bytes();
    let events = |chunk: &&FoundChunk| chunk.header.kind == ChunkKind::EVENTS;
    let first_behind = behind
        .iter()
        .filter(events)
        .map(|chunk| chunk.header.stamp_first)
        .min();
    let last_before = before
        .iter()
        .filter(events)
        .map(|chunk| chunk.header.stamp_last)
        .max()?;
    let complete = match first_behind {
        Some(first) => first.checked_sub(1)?,
        None => last_before,
    };
    let live: FxHashSet<u32> = behind.iter().map(|chunk| chunk.header.stream).collect();
    let target = path.with_file_name("part");
    let _ = std::fs::remove_file(&target);
    let part = Part {
        tape: path,
        bytes,
        stamp: (complete as f64 * at) as u64,
        live: &live,
        target: &target,
    };
    match part.fold(1) {
        Err(RewriteError::NothingToFold { .. }) => return None,
        done => done.unwrap(),
    }
    let mut joined = std::fs::read(&target).unwrap();
    let (mut header, header_bytes) = TapeHeader::decode(&whole).unwrap();
    assert!(joined[..header_bytes].iter().all(|&byte| byte == 0));
    header.must_understand |= FOLDED;
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    joined[..header_bytes].copy_from_slice(&encoded);
    let made = self::chunks(&joined).len();
    joined.extend_from_slice(&whole[bytes as usize..]);
    let other = path.with_file_name("joined.tape");
    std::fs::write(&other, joined).unwrap();
    let folded = Recording::open(&other, &without_index()).unwrap();
    let gone = folded.tape().folded.clone().unwrap();
    let done = Folded {
        stamp: gone.stamp,
        events: gone.events,
        left: 0,
        bytes_before: 0,
        bytes_after: 0,
    };
    Some(Joined {
        done,
        path: other,
        made,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_part_and_the_rest_are_one_tape(
        script in scripts(150, true), streams in 1usize..5, options in options(),
        chunk_events in 1usize..40, cut in 0.2f64..1.0, at in 0.3f64..1.0, again in 0.5f64..1.0,
    ) {
        let history = play(&script, streams, false);
        let layout = Layout { chunk_events, ..Layout::default() };
        let (_folder, path) = file(&tape(&history, &layout).0);
        let whole = Recording::open(&path, &without_index()).unwrap();
        let Some(once) = with_folded_part(&path, cut, at, 0) else {
            return Ok(());
        };
        let part = Recording::open(&once.path, &options).unwrap();
        compare(&whole, &part, &history, &once.done);
        // And again, while it goes on.
        let Some(twice) = with_folded_part(&once.path, again, 1.0, once.made) else {
            return Ok(());
        };
        let part = Recording::open(&twice.path, &OpenOptions::default()).unwrap();
        compare(&whole, &part, &history, &twice.done);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_childs_part_is_folded_without_its_parent(
        before in prop::collection::vec(scripts(60, false), 2),
        after in prop::collection::vec(scripts(60, false), 2),
        cut in 0.2f64..1.0, at in 0.3f64..1.0, has_parent: bool,
    ) {
        // At one stamp nobody knows whether a free is of an inherited block or of a new one.
        let apart = |scripts: &[Vec<Step>]| -> Vec<Vec<Step>> {
            let mut scripts = scripts.to_vec();
            scripts.iter_mut().flatten().for_each(|step| step.advance = step.advance.max(2));
            scripts
        };
        let family = family(&apart(&before), &apart(&after));
        let path = family.folder.path().join("p1.tape");
        if !has_parent {
            std::fs::remove_file(family.folder.path().join("p0.tape")).unwrap();
        }
        let whole = Recording::open(&path, &without_index()).unwrap();
        let Some(once) = with_folded_part(&path, cut, at, 0) else {
            return Ok(());
        };
        let part = Recording::open(&once.path, &without_index()).unwrap();
        compare(&whole, &part, &family.histories[1], &once.done);
    }
}
