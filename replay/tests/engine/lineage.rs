//! Forked processes: what they inherited, from tapes in the same folder.

use crate::harness::{compare, compare_snapshots, moments, scripts, without_index};
use crate::support::generate::{History, Simulation, Step};
use crate::support::model::{Life, Model};
use crate::support::write::{Epochs, Layout, code, module, tape};
use heaptape::block::StreamId;
use heaptape::{OpenOptions, Recording, Tape};
use heaptape_format::ChunkKind;
use heaptape_format::event::{DomainId, Event, Operation};
use heaptape_format::stack::Frame;
use heaptape_format::tables::{ForkCut, Lost, Mark};
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

/// Three generations: a process, its child and its grandchild.
pub struct Family {
    pub folder: TempDir,
    pub histories: Vec<History>,
    pub cuts: Vec<u64>,
}

/// The tapes are `p0.tape`, `p1.tape` and `p2.tape`.
pub fn family(before: &[Vec<Step>], after: &[Vec<Step>]) -> Family {
    family_with(before, after, Epochs::None)
}

/// The same, with epochs.
pub fn family_with(before: &[Vec<Step>], after: &[Vec<Step>], epochs: Epochs) -> Family {
    let folder = tempfile::tempdir().unwrap();
    let mut generation = Simulation::new(2, false);
    let (mut histories, mut cuts) = (Vec::new(), vec![0]);
    for (before, after) in before.iter().zip(after) {
        generation.play(before);
        let (cut, child) = generation.fork(2);
        generation.play(after);
        histories.push(generation.finish());
        cuts.push(cut);
        generation = child;
    }
    for (place, history) in histories.iter().enumerate() {
        let layout = Layout {
            epochs,
            ..layout(place, cuts[place])
        };
        let bytes = tape(history, &layout).0;
        std::fs::write(folder.path().join(format!("p{place}.tape")), bytes).unwrap();
    }
    Family {
        folder,
        histories,
        cuts,
    }
}

/// Children know the modules by other numbers, and one not at all.
fn layout(generation: usize, cut: u64) -> Layout {
    let mut layout = Layout {
        tape_id: generation as u8 + 1,
        ..Layout::default()
    };
    layout.process.pid = 100 + generation as u32;
    if generation > 0 {
        layout.process.parent_pid = 99 + generation as u32;
        layout.process.origin = 1;
        layout.process.cut_stamp = cut;
        layout.process.parent_tape = format!("p{}.tape", generation - 1);
        layout.modules = vec![module(1, "/lib/libdep.so"), module(2, "/lib/other")];
        layout.codes = vec![code(1, "order"), code(4, "other")];
    }
    layout
}

/// Frames with their modules' paths and their code objects' names in place of numbers.
fn named(tape: &Tape, frames: &[Frame]) -> Vec<(String, u64)> {
    let frame = |frame: &Frame| match *frame {
        Frame::Native { module, offset, .. } => {
            let path = tape.module(module).map(|module| module.path.clone());
            (path.unwrap_or_default(), offset)
        }
        Frame::Python { code, instruction } => {
            let name = tape.code(code).map(|code| code.name.clone());
            (name.unwrap_or_default(), instruction.into())
        }
        Frame::Cut(reason) => (format!("{reason:?}"), 0),
    };
    frames.iter().map(frame).collect()
}

/// The model of a generation: it inherits what its parent's model has alive at the cut.
fn models(family: &Family) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for (history, &cut) in family.histories.iter().zip(&family.cuts) {
        let mut model = Model::new(history);
        if let Some(parent) = models.last() {
            let alive = parent.at(cut).live().into_iter();
            let inherited = alive.map(|life| Life {
                stream: StreamId::INHERITED.0,
                ..life
            });
            model.inherited = inherited.collect();
        }
        models.push(model);
    }
    models
}

/// The model with the frames that the replay gives: those of parents' modules and code objects by
/// their own number.
fn with_frames_of(tape: &Tape, parents: &[Tape], mut model: Model) -> Model {
    for life in &mut model.inherited {
        let named_here = parents
            .iter()
            .map(|parent| named(parent, &life.frames))
            .next()
            .unwrap_or_default();
        for (frame, (path, _)) in life.frames.iter_mut().zip(named_here) {
            if let Frame::Native { module, .. } = frame {
                let same = tape.modules.iter().find(|module| module.path == path);
                *module = same.map_or(0, |module| module.index);
            }
            if let Frame::Python { code, .. } = frame {
                let same = tape.codes.iter().find(|code| code.name == path);
                *code = same.map_or(0, |code| code.number);
            }
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_child_knows_what_it_inherited(
        before in prop::collection::vec(scripts(50, false), 2),
        after in prop::collection::vec(scripts(30, false), 2),
        slice_events in 1u64..30,
    ) {
        let family = family(&before, &after);
        let options = OpenOptions { slice_events: Some(slice_events), ..without_index() };
        let model = models(&family).remove(1);
        let path = family.folder.path().join("p1.tape");
        let recording = Recording::open(&path, &options).unwrap();
        let parent = Tape::open(&family.folder.path().join("p0.tape")).unwrap();
        let model = with_frames_of(recording.tape(), &[parent], model);
        compare(&recording, &model, &family.histories[1]);
        let summary = recording.summary().unwrap();
        prop_assert!(summary.inherited_known);
        prop_assert_eq!((summary.unknown_frees, summary.implied_frees), (0, 0));
        let heap = model.inherited.iter().filter(|life| life.is_heap());
        let inherited = heap.fold((0, 0), |sum, life| (sum.0 + life.size, sum.1 + 1));
        prop_assert_eq!((summary.inherited.bytes, summary.inherited.count), inherited);
        let pools = model.inherited.iter().filter(|life| !life.is_heap());
        let pools = pools.filter(|life| life.domain != DomainId::MMAP);
        let pools = pools.fold((0, 0), |sum, life| (sum.0 + life.size, sum.1 + 1));
        let found = &summary.inherited_pools;
        prop_assert_eq!((found.bytes, found.count), pools);
    }

    #[test]
    fn a_grandchild_knows_what_it_inherited(
        before in prop::collection::vec(scripts(40, false), 3),
        after in prop::collection::vec(scripts(10, false), 3),
    ) {
        let family = family(&before, &after);
        // Frames differ by the numbers of modules; addresses, sizes and births must not.
        let mut models = models(&family);
        let between = models[1].at(family.cuts[2]);
        let mut model = models.remove(2);
        let path = family.folder.path().join("p2.tape");
        let recording = Recording::open(&path, &without_index()).unwrap();
        let first = Tape::open(&family.folder.path().join("p0.tape")).unwrap();
        let found = recording.inherited_at(recording.tape().start_stamp).unwrap();
        let mut paths = Vec::new();
        for life in &mut model.inherited {
            let block = found.iter().find(|block| {
                (block.domain, block.address, block.born) == (life.domain, life.address, life.born)
            });
            let frames: Vec<Frame> = recording.tape().frames(block.unwrap().stack).collect();
            paths.push((named(recording.tape(), &frames), life.clone()));
            life.frames = frames;
        }
        compare_snapshots(&recording, &model, &moments(&family.histories[2]));
        for (found, life) in paths {
            if life.born <= family.cuts[1] && !between.is_used_again(&life) {
                prop_assert_eq!(found, named(&first, &life.frames));
            }
        }
    }

    #[test]
    fn without_the_parents_tape_unknown_blocks_are_inherited(
        before in prop::collection::vec(scripts(50, false), 2),
        after in prop::collection::vec(scripts(30, false), 2),
    ) {
        let family = family(&before, &after);
        std::fs::remove_file(family.folder.path().join("p0.tape")).unwrap();
        let path = family.folder.path().join("p1.tape");
        let recording = Recording::open(&path, &without_index()).unwrap();
        let mut model = Model::new(&family.histories[1]);
        model.inherits_unknown = true;
        compare(&recording, &model, &family.histories[1]);
        let summary = recording.summary().unwrap();
        prop_assert!(!summary.inherited_known);
        prop_assert_eq!(summary.unknown_frees, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The streams of the parent stood elsewhere than its fork's stamp says, before or after it.
    #[test]
    fn a_child_inherits_what_each_stream_had_done(
        before in scripts(60, false),
        after in scripts(60, false),
        stamps in prop::collection::vec(prop::option::of(-40i64..40), 2),
        others in prop::option::of(-40i64..40),
        slice_events in 1u64..30,
        child_frees in prop::collection::vec(0usize..30, 0..8),
    ) {
        let family = family(&[before], &[after]);
        let cut = family.histories[0].end_stamp / 2;
        let end = family.histories[0].end_stamp;
        let at = |by: Option<i64>| by.map(|by| cut.saturating_add_signed(by).min(end));
        let rest = at(others).unwrap_or(cut);
        let mut model = Model::new(&family.histories[0]);
        model.end_streams(|stream| at(stamps[stream]).unwrap_or(rest));
        let alive = model.end().live();
        let named = [(0, at(stamps[0])), (1, at(stamps[1])), (u32::MAX, at(others))];
        let cuts = named.into_iter().filter_map(|(stream, stamp)| {
            Some(ForkCut { stream, stamp: stamp? })
        });
        let child = Layout { fork_cuts: cuts.collect(), ..layout(1, cut) };
        let may_be_torn = stamps.iter().all(Option::is_some);
        let mut frees = Simulation::new(1, false).finish();
        let mut addresses: Vec<u64> = child_frees
            .iter()
            .filter_map(|&place| alive.get(place))
            .filter(|life| life.is_heap())
            .map(|life| life.address)
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut stamp = cut + 100;
        // One that is nobody's is taken for one that the copy of the memory caught.
        let unknown = may_be_torn.then_some(1 << 40);
        // Freed once more it is nobody's.
        for address in addresses.iter().copied().chain(unknown).chain(unknown) {
            stamp += 1;
            let mut free = Event::new(Operation::FREE, stamp);
            free.old_address = address;
            frees.streams[0].events.push(free);
        }
        frees.end_stamp = stamp;
        let path = family.folder.path().join("p1.tape");
        std::fs::write(&path, tape(&frees, &child).0).unwrap();
        let options = OpenOptions { slice_events: Some(slice_events), ..without_index() };
        let recording = Recording::open(&path, &options).unwrap();
        let mut found: Vec<_> = recording
            .inherited_at(recording.tape().start_stamp)
            .unwrap()
            .into_iter()
            .map(|block| (block.domain, block.address, block.size, block.born))
            .collect();
        let mut expected: Vec<_> = alive
            .iter()
            .map(|life| (life.domain, life.address, life.size, life.born.min(cut)))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
        let all = recording.summary().unwrap();
        prop_assert_eq!(all.unknown_frees, u64::from(unknown.is_some()));
        let freed = addresses.len() as u64 + u64::from(unknown.is_some());
        prop_assert_eq!(all.inherited_frees, freed);
        prop_assert_eq!(all.inherited_known, unknown.is_none());
    }
}

fn simple_family() -> Family {
    use crate::support::generate::long_script;
    let script = |seed| long_script(seed, 400, 50);
    family(&[script(1), script(2)], &[script(3), script(4)])
}

fn inherited(path: &Path) -> Option<u64> {
    let recording = Recording::open(path, &without_index()).unwrap();
    let summary = recording.summary().unwrap();
    summary.inherited_known.then_some(summary.inherited.count)
}

#[test]
fn a_parent_that_was_renamed_is_found() {
    let family = simple_family();
    let child = family.folder.path().join("p1.tape");
    let parent = family.folder.path().join("p0.tape");
    let known = inherited(&child);
    assert!(known.is_some_and(|count| count > 10));
    // As when the parent's process went on to another image, which took the name.
    std::fs::rename(&parent, family.folder.path().join("p0.100.1.tape")).unwrap();
    assert_eq!(inherited(&child), known);
    let mut later = layout(0, 0);
    later.tape_id = 77;
    later.process.origin = 2;
    later.process.cut_stamp = u64::MAX;
    let later = tape(&Simulation::new(1, false).finish(), &later).0;
    std::fs::write(&parent, later).unwrap();
    assert_eq!(inherited(&child), known);
}

/// What the child did, whatever is known of what it inherited: allocs, reallocs, frees of its own
/// or inherited blocks (told apart by order alone where stamps are equal), and unknown frees.
fn counts(path: &Path) -> [u64; 4] {
    let recording = Recording::open(path, &without_index()).unwrap();
    let all = recording.summary().unwrap();
    let frees = all.frees + all.inherited_frees + all.inherited_pool_frees;
    [all.allocs, all.reallocs, frees, all.unknown_frees]
}

/// Blocks that a damaged parent does not tell of are inherited all the same.
#[test]
fn a_parent_that_is_not_whole_tells_of_some_blocks() {
    let family = simple_family();
    let child = family.folder.path().join("p1.tape");
    let parent = family.folder.path().join("p0.tape");
    let whole = counts(&child);
    assert_eq!(whole[3], 0);
    let known = inherited(&child).unwrap();
    let layout = layout(0, 0);
    let (bytes, chunks) = tape(&family.histories[0], &layout);
    let events = chunks.iter().find(|chunk| chunk.kind == ChunkKind::EVENTS);
    let events = events.unwrap();
    let mut flipped = bytes.clone();
    flipped[(events.offset + events.bytes - 1) as usize] ^= 1;
    let lost = Layout {
        lost: vec![Lost {
            count: 1,
            ..Lost::default()
        }],
        ..layout.clone()
    };
    let endless = Layout {
        has_end: false,
        ..layout
    };
    let mut parents = vec![
        flipped,
        tape(&family.histories[0], &lost).0,
        tape(&family.histories[0], &endless).0,
    ];
    let lengths = [192, 500, 700]
        .into_iter()
        .chain((200..bytes.len()).step_by(97));
    parents.extend(lengths.map(|length| bytes[..length].to_vec()));
    let mut partly = 0;
    for bytes in parents {
        std::fs::write(&parent, &bytes).unwrap();
        assert_eq!(inherited(&child), None, "{} bytes", bytes.len());
        assert_eq!(counts(&child), whole, "{} bytes", bytes.len());
        let recording = Recording::open(&child, &without_index()).unwrap();
        let count = recording.summary().unwrap().inherited.count;
        partly += u64::from(count > 0 && count < known);
    }
    assert!(partly > 0, "no parent told of some blocks");
}

#[test]
fn a_tape_of_another_recording_is_no_parent() {
    let family = simple_family();
    let child = family.folder.path().join("p1.tape");
    let parent = family.folder.path().join("p0.tape");
    let mut bytes = std::fs::read(&parent).unwrap();
    let (mut header, length) = heaptape_format::TapeHeader::decode(&bytes).unwrap();
    header.session_id = [8; 16];
    let mut head = Vec::new();
    header.encode(&mut head);
    bytes.splice(..length, head);
    std::fs::write(&parent, bytes).unwrap();
    assert_eq!(inherited(&child), None);
}

#[test]
fn tapes_that_name_each_other_as_parents_open() {
    let folder = tempfile::tempdir().unwrap();
    for (place, other) in [(0u8, 1u8), (1, 0)] {
        let mut layout = Layout {
            tape_id: place + 1,
            ..Layout::default()
        };
        layout.process.origin = 1;
        layout.process.parent_tape = format!("p{other}.tape");
        let bytes = tape(&Simulation::new(1, false).finish(), &layout).0;
        std::fs::write(folder.path().join(format!("p{place}.tape")), bytes).unwrap();
    }
    let recording = Recording::open(&folder.path().join("p0.tape"), &without_index()).unwrap();
    assert_eq!(recording.summary().unwrap().inherited.count, 0);
}

#[test]
fn an_index_is_built_again_when_the_parent_appears() {
    let family = simple_family();
    let child = family.folder.path().join("p1.tape");
    let (parent, away) = (
        family.folder.path().join("p0.tape"),
        family.folder.path().join("away"),
    );
    std::fs::rename(&parent, &away).unwrap();
    let known = |expected: bool| {
        let recording = Recording::open(&child, &OpenOptions::default()).unwrap();
        assert_eq!(recording.summary().unwrap().inherited_known, expected);
    };
    known(false);
    known(false);
    std::fs::rename(&away, &parent).unwrap();
    known(true);
}

/// A tape that frees blocks of `addresses`, one after the other.
fn freeing(addresses: &[u64], layout: &Layout) -> Vec<u8> {
    let mut frees = Simulation::new(1, false).finish();
    for (place, &address) in addresses.iter().enumerate() {
        let mut free = Event::new(Operation::FREE, layout.process.cut_stamp + 1 + place as u64);
        free.old_address = address;
        frees.end_stamp = free.stamp;
        frees.streams[0].events.push(free);
    }
    tape(&frees, layout).0
}

/// What a parent did not record, since it was paused or the blocks were small, is inherited as
/// well; each such block once.
#[test]
fn blocks_that_were_left_out_are_inherited() {
    let cut = 1000;
    let pause = |stamp, stream| Mark {
        stamp,
        stream,
        name: "paused".to_owned(),
    };
    let cases = [
        (0, None, false),
        (16, None, true),
        (0, Some(pause(cut - 1, u32::MAX)), true),
        (0, Some(pause(cut + 1, u32::MAX)), false),
        (0, Some(pause(cut - 1, 0)), false),
    ];
    for (size_min, mark, is_left_out) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = |place: usize| folder.path().join(format!("p{place}.tape"));
        let mut parent = layout(0, 0);
        parent.process.size_min = size_min;
        parent.marks.extend(mark);
        let mut history = Simulation::new(1, false).finish();
        history.end_stamp = cut + 100;
        std::fs::write(path(0), tape(&history, &parent).0).unwrap();
        std::fs::write(path(1), freeing(&[16, 32, 16], &layout(1, cut))).unwrap();
        std::fs::write(path(2), freeing(&[48], &layout(2, cut + 3))).unwrap();
        for (place, first, later) in [(1, 2, 1), (2, 1, 0)] {
            let recording = Recording::open(&path(place), &without_index()).unwrap();
            let all = recording.summary().unwrap();
            let found = (all.inherited_frees, all.unknown_frees, all.inherited_known);
            let expected = match is_left_out {
                true => (first, later, false),
                false => (0, first + later, true),
            };
            assert_eq!(found, expected, "{:?}", (size_min, &parent.marks, place));
        }
    }
}
