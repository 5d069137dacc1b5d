//! Tapes that were cut, overwritten or shuffled: what is readable is answered, the rest counted.

use crate::harness::{file, layouts, live, lives, moments, scripts, without_index};
use crate::support::generate::{History, long_script, play};
use crate::support::model::{Life, Model};
use crate::support::write::{Layout, Written, tape};
use heaptape::{Gap, Recording, Tape};
use heaptape_format::ChunkKind;
use heaptape_format::header::HEADER_BYTES;
use heaptape_format::stack::{CutReason, Frame};
use proptest::prelude::*;
use std::fs::OpenOptions;

/// What is left of a history when some chunks cannot be read.
fn rest_of(history: &History, chunks: &[Written], is_whole: impl Fn(&Written) -> bool) -> History {
    let mut rest = history.clone();
    for (stream, recorded) in (0u32..).zip(&mut rest.streams) {
        let mut events = Vec::new();
        let mut readable: Vec<&Written> = chunks
            .iter()
            .filter(|c| c.kind == ChunkKind::EVENTS && c.stream == stream && is_whole(c))
            .collect();
        readable.sort_by_key(|chunk| chunk.first);
        for chunk in readable {
            let first = chunk.first as usize;
            events.extend_from_slice(&recorded.events[first..first + chunk.count as usize]);
        }
        recorded.events = events;
    }
    rest
}

/// Lives without their stacks: nodes are lost with other chunks than events.
fn bare(mut lives: Vec<Life>) -> Vec<Life> {
    for life in &mut lives {
        life.frames.clear();
        if let Some(end) = &mut life.end {
            end.frames.clear();
            // Lost events of a stream are not counted between others.
            end.between = None;
        }
    }
    lives.sort();
    lives
}

fn check_rest(recording: &Recording, rest: &History) {
    let model = Model::new(rest);
    let end = model.end();
    let summary = recording.summary().unwrap();
    assert_eq!((summary.end.bytes, summary.end.count), end.heap_total());
    assert_eq!(summary.unknown_frees, end.counts.unknown_frees);
    assert_eq!(summary.implied_frees, end.counts.implied_frees);
    assert_eq!(bare(lives(recording, 0, u64::MAX)), bare(end.lives()));
    for at in moments(rest).into_iter().step_by(9) {
        assert_eq!(bare(live(recording, at)), bare(model.at(at).live()));
    }
}

#[test]
fn a_tape_cut_at_any_byte_answers_from_what_is_whole() {
    let history = play(&long_script(3, 90, 8), 3, false);
    let layout = Layout {
        chunk_events: 9,
        ..Layout::default()
    };
    let (bytes, chunks) = tape(&history, &layout);
    let (_folder, path) = file(&bytes);
    let tape_file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut checked = usize::MAX;
    for length in (0..=bytes.len()).rev() {
        tape_file.set_len(length as u64).unwrap();
        if length < HEADER_BYTES {
            let text = Tape::open(&path).unwrap_err().to_string();
            let reason = if length == 0 { "empty" } else { "too early" };
            assert!(text.contains(reason) && text.contains("x.tape"), "{text}");
            continue;
        }
        let is_whole = |chunk: &Written| chunk.offset + chunk.bytes <= length as u64;
        let whole = chunks.iter().filter(|chunk| is_whole(chunk)).count();
        let rest = rest_of(&history, &chunks, is_whole);
        let recording = Recording::open(&path, &without_index()).unwrap();
        let verified = recording.tape().verify();
        let events: usize = rest.streams.iter().map(|stream| stream.events.len()).sum();
        assert_eq!(verified.readable_events, events as u64);
        assert_eq!(verified.chunks, whole as u64);
        let cut = chunks
            .iter()
            .find(|chunk| chunk.offset < length as u64 && !is_whole(chunk))
            .map(|chunk| chunk.offset);
        assert_eq!(verified.first_damage_offset, cut, "cut at {length}");
        assert_eq!(verified.damaged, u64::from(cut.is_some()));
        assert_eq!(
            recording.damage().unwrap().len(),
            usize::from(cut.is_some())
        );
        // The answers change only when a chunk is lost.
        if whole != checked {
            check_rest(&recording, &rest);
            checked = whole;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flipped_bits_cost_their_chunks_and_no_more(
        script in scripts(100, true), streams in 1usize..4, layout in layouts(),
        flips in prop::collection::vec(any::<u32>(), 1..4),
    ) {
        let history = play(&script, streams, false);
        let (mut bytes, chunks) = tape(&history, &layout);
        let mut hit = Vec::new();
        for flip in flips {
            let bit = flip as usize % ((bytes.len() - HEADER_BYTES) * 8) + HEADER_BYTES * 8;
            bytes[bit / 8] ^= 1 << (bit % 8);
            hit.push(bit as u64 / 8);
        }
        let is_whole = |chunk: &Written| {
            !hit.iter().any(|&byte| (chunk.offset..chunk.offset + chunk.bytes).contains(&byte))
        };
        // Two flips can undo each other.
        prop_assume!(tape(&history, &layout).0 != bytes);
        let rest = rest_of(&history, &chunks, is_whole);
        let (_folder, path) = file(&bytes);
        let recording = Recording::open(&path, &without_index()).unwrap();
        check_rest(&recording, &rest);
        let damaged: Vec<u64> =
            chunks.iter().filter(|chunk| !is_whole(chunk)).map(|chunk| chunk.offset).collect();
        let verified = recording.tape().verify();
        prop_assert_eq!(verified.first_damage_offset, damaged.first().copied());
        prop_assert!(verified.damaged <= damaged.len() as u64);
        prop_assert_eq!(verified.damaged > 0, !damaged.is_empty());
        let events: usize = rest.streams.iter().map(|stream| stream.events.len()).sum();
        prop_assert_eq!(verified.readable_events, events as u64);
        prop_assert_eq!(recording.summary().unwrap().readable_events, events as u64);
    }

    #[test]
    fn bytes_of_no_sense_are_damage_and_answers_are_empty(
        noise in prop::collection::vec(any::<u8>(), 1..500),
    ) {
        let (whole, _) = tape(&History::default(), &Layout::default());
        let bytes = [&whole[..HEADER_BYTES], &noise].concat();
        let (_folder, path) = file(&bytes);
        let recording = Recording::open(&path, &without_index()).unwrap();
        prop_assert_eq!(recording.live_heap(u64::MAX).unwrap().len(), 0);
        prop_assert_eq!(recording.timeline(3).unwrap().len(), 3);
        let is_noise = noise.iter().any(|&byte| byte != 0);
        prop_assert_eq!(recording.tape().verify().damaged, u64::from(is_noise));
    }
}

#[test]
fn a_hole_in_the_middle_costs_what_stood_there() {
    let history = play(&long_script(11, 3000, 100), 3, false);
    let (mut bytes, chunks) = tape(&history, &Layout::default());
    let (from, to) = (bytes.len() / 2, bytes.len() / 2 + 4096);
    bytes[from..to].fill(0);
    let is_whole = |chunk: &Written| {
        let end = chunk.offset + chunk.bytes;
        end <= from as u64 || chunk.offset >= to as u64
    };
    let rest = rest_of(&history, &chunks, is_whole);
    let (_folder, path) = file(&bytes);
    let recording = Recording::open(&path, &without_index()).unwrap();
    check_rest(&recording, &rest);
    let summary = recording.summary().unwrap();
    assert!(
        summary.unknown_frees > 0,
        "frees of blocks whose birth is lost"
    );
    let damage = recording.damage().unwrap();
    let first = chunks.iter().find(|chunk| !is_whole(chunk)).unwrap();
    assert_eq!(
        damage.first().map(|damage| damage.offset),
        Some(first.offset)
    );
    assert!(
        recording.tape().end.is_some(),
        "what stands behind the hole is read"
    );
}

/// Bytes that are gone altogether leave nothing that is damaged but the numbers of the others.
#[test]
fn missing_chunks_are_damage() {
    let history = play(&long_script(15, 900, 40), 3, false);
    let layout = Layout {
        chunk_events: 60,
        ..Layout::default()
    };
    let (bytes, chunks) = tape(&history, &layout);
    let all: u64 = history.streams.iter().map(|s| s.events.len() as u64).sum();
    for (place, gone) in chunks.iter().enumerate() {
        let start = gone.offset as usize;
        let Some(next) = chunks.get(place + 1).map(|next| next.offset as usize) else {
            break;
        };
        let cut = [&bytes[..start], &bytes[next..]].concat();
        let (_folder, path) = file(&cut);
        let recording = Recording::open(&path, &without_index()).unwrap();
        let verified = recording.tape().verify();
        assert_eq!(verified.damaged, 1, "chunk {place}");
        assert_eq!(verified.first_damage_offset, Some(start as u64));
        assert_eq!(recording.gap().unwrap(), Some(Gap::Damaged(1)));
        check_rest(
            &recording,
            &rest_of(&history, &chunks, |c| c.offset != gone.offset),
        );
        let is_behind = |c: &&Written| c.stream == gone.stream && c.first > gone.first;
        let mut others = chunks.iter().filter(|c| c.kind == ChunkKind::EVENTS);
        // Behind the stream's last chunk nothing tells how many there were.
        let is_known = gone.kind == ChunkKind::EVENTS && others.any(|c| is_behind(&c));
        let lost = if is_known { u64::from(gone.count) } else { 0 };
        assert_eq!(verified.unreadable_events, lost, "chunk {place}");
        let counted = gone.kind == ChunkKind::EVENTS;
        let counted = if counted { u64::from(gone.count) } else { 0 };
        assert_eq!(verified.readable_events, all - counted);
    }
}

/// The order of chunks in the file says nothing.
#[test]
fn swapped_chunks_are_no_damage() {
    let history = play(&long_script(16, 900, 40), 3, false);
    let (bytes, chunks) = tape(&history, &Layout::default());
    let [one, other, behind] = [2, 3, 4].map(|place: usize| chunks[place].offset as usize);
    let parts = [&bytes[..one], &bytes[other..behind], &bytes[one..other]];
    let (_folder, path) = file(&[&parts.concat(), &bytes[behind..]].concat());
    let recording = Recording::open(&path, &without_index()).unwrap();
    assert_eq!(recording.gap().unwrap(), None);
    check_rest(&recording, &history);
}

#[test]
fn the_reserved_end_of_a_tape_is_no_damage() {
    let history = play(&long_script(12, 300, 20), 2, false);
    let layout = Layout {
        has_end: false,
        ..Layout::default()
    };
    let (mut bytes, chunks) = tape(&history, &layout);
    bytes.resize(bytes.len() + 100_000, 0);
    let (_folder, path) = file(&bytes);
    let recording = Recording::open(&path, &without_index()).unwrap();
    let verified = recording.tape().verify();
    assert_eq!((verified.damaged, verified.first_damage_offset), (0, None));
    assert_eq!(verified.chunks, chunks.len() as u64);
    assert_eq!(recording.tape().end, None);
    let last = history.stamps().last().copied();
    assert_eq!(
        Some(recording.tape().end_stamp),
        last,
        "the end is that of the last event"
    );
}

#[test]
fn a_chunk_that_stands_twice_counts_once() {
    let history = play(&long_script(13, 300, 20), 2, false);
    let (mut bytes, chunks) = tape(&history, &Layout::default());
    let events = |chunk: &&Written| chunk.kind == ChunkKind::EVENTS;
    let twice = chunks.iter().filter(events).nth(1).unwrap();
    let range = twice.offset as usize..(twice.offset + twice.bytes.next_multiple_of(8)) as usize;
    let copy = bytes[range].to_vec();
    let at = bytes.len() as u64;
    bytes.extend_from_slice(&copy);
    let (_folder, path) = file(&bytes);
    let recording = Recording::open(&path, &without_index()).unwrap();
    check_rest(&recording, &history);
    assert_eq!(
        recording.tape().damage.first().map(|damage| damage.offset),
        Some(at)
    );
}

#[test]
fn stacks_are_cut_where_their_nodes_are_lost() {
    let history = play(&long_script(14, 200, 20), 1, false);
    let layout = Layout {
        chunk_nodes: 1,
        ..Layout::default()
    };
    let (mut bytes, chunks) = tape(&history, &layout);
    // Node 1 is the parent of 2, 3 and 5; node 2 that of 4 and 9.
    let node = chunks
        .iter()
        .find(|chunk| chunk.kind == ChunkKind::STACK_NODES)
        .unwrap();
    assert_eq!((node.stream, node.first), (0, 1));
    bytes[(node.offset + node.bytes - 1) as usize] ^= 1;
    let (_folder, path) = file(&bytes);
    let recording = Recording::open(&path, &without_index()).unwrap();
    let whole = Model::new(&history).end().live();
    let found = live(&recording, u64::MAX);
    assert_eq!(found.len(), whole.len());
    let outermost = history.frames(0, 1);
    for life in &whole {
        let cut = match life.frames.split_last() {
            Some((last, [])) if *last == outermost[0] => Vec::new(),
            Some((last, inner)) if *last == outermost[0] => {
                [inner, &[Frame::Cut(CutReason::Unknown)]].concat()
            }
            _ => life.frames.clone(),
        };
        let same = found
            .iter()
            .find(|other| other.address == life.address && other.domain == life.domain);
        assert_eq!(same.map(|life| &life.frames), Some(&cut));
    }
}
