//! The replay tells of generated tapes what the generator counted while it made them: to the byte,
//! at every mark, with and without an index, on one thread and two, before and after repacking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use heaptape::repack::repack;
use heaptape::rewrite::Target;
use heaptape::stats::query::At;
use heaptape::stats::{GroupBy, Query};
use heaptape::{Moment, OpenOptions, Recording, Tape};
use heaptape_benches::generate::truth::{self, Total};
use heaptape_benches::generate::{Made, Parameters, generate};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// Rows that are not empty.
type Rows = BTreeMap<String, Total>;

fn parameters(threads: u32, cross_thread: f64, seed: u64) -> Parameters {
    Parameters {
        events: 200_000,
        threads,
        live: 20_000,
        stacks: 400,
        depth: 12,
        cross_thread,
        moments: 3,
        told_stacks: u64::MAX,
        // A second has fewer events than the tape: there are several epochs.
        gap_ns: 60_000,
        seed,
        ..Parameters::default()
    }
}

fn options(threads: usize, use_index: bool) -> OpenOptions {
    OpenOptions {
        threads: Some(threads),
        use_index,
        write_index: use_index,
        ..OpenOptions::default()
    }
}

fn add(rows: &mut Rows, key: String, live: Total) {
    if live.count > 0 {
        let row = rows.entry(key).or_default();
        row.bytes += live.bytes;
        row.count += live.count;
    }
}

/// What the truth says of the rows of a grouping.
fn expected(made: &Made, moment: &truth::Moment, group_by: GroupBy) -> Rows {
    let mut rows = Rows::new();
    for of in &moment.stacks {
        let leaf = made.stacks.leaves[of.leaf as usize];
        let frames = made.stacks.source(leaf.node).into_iter();
        let mut key = frames.map(|frame| match group_by {
            GroupBy::Line => format!("{}:{}", frame.file, frame.line),
            _ => format!("{} ({}:{})", frame.function, frame.file, frame.line),
        });
        let key = match group_by {
            GroupBy::Line => key.next().unwrap(),
            _ => key.collect::<Vec<_>>().join(" < "),
        };
        add(&mut rows, key, of.live);
    }
    rows
}

fn rows(recording: &Recording, stamp: u64, group_by: GroupBy) -> (Total, Rows) {
    let query = Query {
        group_by,
        ..Query::default()
    };
    let answer = query.live(At { recording, stamp }).unwrap();
    let total = |amount: heaptape::stats::Amount| Total {
        bytes: amount.bytes,
        count: amount.count,
    };
    let mut rows = Rows::new();
    for (key, amount) in &answer.rows {
        add(&mut rows, answer.grouper.text(*key), total(*amount));
    }
    (total(answer.total), rows)
}

fn check(path: &Path, options: &OpenOptions, made: &Made) {
    let recording = Recording::open(path, options).unwrap();
    let truth = &made.truth;
    for moment in &truth.moments {
        let mark = Moment::Mark(moment.mark.clone());
        let stamp = recording.resolve(&mark).unwrap().stamp;
        assert_eq!(stamp, moment.stamp);
        for group_by in [GroupBy::Traceback, GroupBy::Line] {
            let (total, rows) = rows(&recording, stamp, group_by);
            assert_eq!(total, moment.live);
            assert_eq!(rows, expected(made, moment, group_by), "{group_by:?}");
        }
        let mut threads = vec![Total::default(); moment.threads.len()];
        for block in recording.live_heap(stamp).unwrap() {
            let thread = &mut threads[block.stream.0 as usize];
            thread.bytes += block.size;
            thread.count += 1;
        }
        assert_eq!(threads, moment.threads);
    }
    let summary = recording.summary().unwrap();
    let found = (summary.allocs, summary.frees, summary.reallocs);
    assert_eq!(found, (truth.allocs, truth.frees, truth.reallocs));
    assert_eq!(summary.unknown_frees, truth.unknown_frees);
    assert_eq!(summary.implied_frees, 0);
    assert_eq!(summary.bytes_allocated, truth.allocated_bytes);
    let (stamp, peak) = truth.peak;
    let found = (summary.peak.stamp, summary.peak.bytes, summary.peak.count);
    assert_eq!(found, (stamp, peak.bytes, peak.count));
    let end = (summary.end.bytes, summary.end.count);
    assert_eq!(end, (truth.live.bytes, truth.live.count));
}

/// The tape of `parameters` is whole, and every way to read it tells the truth.
fn check_all(parameters: &Parameters) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.tape");
    let made = generate(&path, parameters, &mut |_| {}).unwrap();
    assert!(
        made.truth
            .moments
            .iter()
            .all(|moment| moment.live.count > 1000)
    );
    for is_packed in [false, true] {
        if is_packed {
            repack(&path, Target::InPlace, 9).unwrap();
        }
        let tape = Tape::open(&path).unwrap();
        assert_eq!((tape.damage.len(), tape.verify().damaged), (0, 0));
        assert_eq!(tape.verify().readable_events, parameters.events);
        assert!(tape.end.is_some() && tape.end_stamp == made.end_stamp);
        assert!(tape.streams.len() == parameters.threads as usize);
        for threads in [1, 2] {
            check(&path, &options(threads, false), &made);
            // Built and written, then read.
            check(&path, &options(threads, true), &made);
            check(&path, &options(threads, true), &made);
            fs::remove_file(folder.path().join("made.tape.idx")).unwrap();
        }
    }
}

#[test]
fn one_thread() {
    for seed in 1..=3 {
        check_all(&parameters(1, 0.0, seed));
    }
}

#[test]
fn four_threads_with_and_without_each_others_frees() {
    for seed in 1..=3 {
        check_all(&parameters(4, 0.0, seed));
        check_all(&parameters(4, 30.0, seed));
    }
}

#[test]
fn sixteen_threads_with_and_without_each_others_frees() {
    for seed in 1..=3 {
        check_all(&parameters(16, 0.0, seed));
        check_all(&parameters(16, 30.0, seed));
    }
}

#[test]
fn unknown_frees_and_little_reuse() {
    check_all(&Parameters {
        unknown_frees: 5.0,
        reuse: 40.0,
        lifetimes: 50.0,
        reallocs: 20.0,
        ..parameters(7, 10.0, 1)
    });
}

/// In dense time many events of several threads have one stamp.
#[test]
fn many_events_at_one_stamp() {
    check_all(&Parameters {
        gap_ns: 8,
        ..parameters(16, 40.0, 1)
    });
}

/// Makes one parameter another one.
type Changed = fn(&mut Parameters);

#[test]
fn equal_parameters_make_equal_bytes_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, parameters: &Parameters| {
        let path = folder.path().join(name);
        generate(&path, parameters, &mut |_| {}).unwrap();
        fs::read(path).unwrap()
    };
    let base = parameters(4, 5.0, 1);
    let first = bytes("first", &base);
    assert!(first == bytes("again", &base));
    let mut seen = HashMap::from([(first, "first")]);
    let others: [(&str, Changed); 8] = [
        ("seed", |other| other.seed = 2),
        ("threads", |other| other.threads = 5),
        ("live", |other| other.live = 10_000),
        ("lifetimes", |other| other.lifetimes = 80.0),
        ("stacks", |other| other.stacks = 300),
        ("depth", |other| other.depth = 9),
        ("cross", |other| other.cross_thread = 6.0),
        ("reuse", |other| other.reuse = 90.0),
    ];
    for (name, change) in others {
        let mut other = base.clone();
        change(&mut other);
        let same = seen.insert(bytes(name, &other), name);
        assert_eq!(same, None, "{name}");
    }
}

/// The parameters mean what they say.
#[test]
fn a_tape_is_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.tape");
    let asked = Parameters {
        lifetimes: 90.0,
        cross_thread: 20.0,
        ..parameters(4, 20.0, 1)
    };
    let made = generate(&path, &asked, &mut |_| {}).unwrap();
    let recording = Recording::open(&path, &options(2, false)).unwrap();
    let tape = recording.tape();
    // The last moment is behind the ramp: between seven eighths and all, and the young ones.
    let live = made.truth.moments.last().unwrap().live.count;
    assert!((17_000..21_000).contains(&live), "{live}");
    let (mut dead, mut young, mut crossed) = (0, 0, 0);
    let mut addresses: HashMap<u64, u64> = HashMap::new();
    for lifetime in recording.lifetimes(0, tape.end_stamp).unwrap() {
        *addresses.entry(lifetime.block.address).or_default() += 1;
        let Some(death) = lifetime.death else {
            continue;
        };
        dead += 1;
        crossed += u64::from(death.stream != lifetime.block.stream);
        young += u64::from(
            death
                .allocations_between
                .is_some_and(|between| between < 100),
        );
    }
    let percent = |part: u64| part * 100 / dead;
    assert!(
        (14..=24).contains(&percent(crossed)),
        "{}",
        percent(crossed)
    );
    // Those that others free, young ones among them, are of no known age.
    assert!((55..=80).contains(&percent(young)), "{}", percent(young));
    let most = addresses.values().max().unwrap();
    assert!(*most > 30, "{most}");
    assert!(addresses.len() < 60_000, "{}", addresses.len());
    let depths = made.stacks.leaves.iter().map(|leaf| {
        let mut at = leaf.node;
        let parents = std::iter::from_fn(|| {
            let found = (at != 0).then_some(at)?;
            at = made.stacks.node(at).0;
            Some(found)
        });
        parents.count()
    });
    let depths: Vec<usize> = depths.collect();
    let mean = depths.iter().sum::<usize>() / depths.len();
    assert!((10..=14).contains(&mean), "{mean}");
    let samples = tape.resident.len();
    assert!(samples > 200 && tape.clock_pairs.len() == 1, "{samples}");
}
