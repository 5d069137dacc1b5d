//! Moments: every form, and what it stands for.

use crate::harness::{opened, without_index};
use crate::support::generate::{History, long_script, play};
use crate::support::write::Layout;
use heaptape::{Moment, Recording};
use heaptape_format::tables::{Mark, ResidentSample};
use proptest::prelude::*;

#[test]
fn every_form_is_read() {
    let forms = [
        ("12.5s", Moment::Ns(12_500_000_000)),
        ("900ms", Moment::Ns(900_000_000)),
        ("1.5µs", Moment::Ns(1_500)),
        ("0.25ms", Moment::Ns(250_000)),
        ("7us", Moment::Ns(7000)),
        ("1500000000", Moment::Ns(1_500_000_000)),
        ("15ns", Moment::Ns(15)),
        ("2m", Moment::Ns(120_000_000_000)),
        ("1.5h", Moment::Ns(5_400_000_000_000)),
        (".5s", Moment::Ns(500_000_000)),
        ("37%", Moment::Percent(37.0)),
        ("0.5%", Moment::Percent(0.5)),
        ("start", Moment::Start),
        ("end", Moment::End),
        ("peak", Moment::Peak(1)),
        ("peak:2", Moment::Peak(2)),
        ("rss-peak", Moment::ResidentPeak),
        ("mark:load", Moment::Mark("load".into())),
        ("mark:load:3", Moment::Mark("load:3".into())),
        ("mark:", Moment::Mark(String::new())),
    ];
    for (text, moment) in forms {
        assert_eq!(Moment::parse(text).unwrap(), moment, "{text}");
    }
}

#[test]
fn what_is_no_moment_is_refused_with_the_forms() {
    for text in [
        "",
        "soon",
        "peak:0",
        "peak:x",
        "5x",
        "1.2.3s",
        "-5s",
        "s",
        "101%",
        "%",
        "1e9",
        "0.5",
        "1.0000000001s",
        "99999999999999999999s",
        "5 s",
        "½s",
        "+5s",
        "٣s",
        "inf%",
        "NaN%",
    ] {
        let error = Moment::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("'{text}' is not a moment: ")),
            "{error}"
        );
        assert!(
            error.contains("12.5s") && error.contains("mark:NAME:K"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in ".{0,20}", number in "[0-9.]{1,25}(ns|us|ms|s|m|h|%)?") {
        let _ = Moment::parse(&text);
        if let Ok(Moment::Percent(percent)) = Moment::parse(&number) {
            prop_assert!((0.0..=100.0).contains(&percent));
        }
    }
}

fn mark(stamp: u64, name: &str) -> Mark {
    Mark {
        stamp,
        stream: 0,
        name: name.into(),
    }
}

fn sample(stamp: u64, resident_bytes: u64) -> ResidentSample {
    ResidentSample {
        stamp,
        resident_bytes,
        shared_bytes: 0,
    }
}

fn recording(layout: &Layout) -> (tempfile::TempDir, Recording, History) {
    let mut history = play(&long_script(31, 500, 40), 2, false);
    history.end_stamp = 1000.max(history.end_stamp);
    let (folder, recording) = opened(&history, layout, &without_index());
    (folder, recording, history)
}

fn at(recording: &Recording, text: &str) -> (u64, u64) {
    let found = recording.resolve(&Moment::parse(text).unwrap()).unwrap();
    (found.stamp, found.ns)
}

#[test]
fn moments_are_found_in_a_tape() {
    let layout = Layout {
        // Marks and samples in no order.
        marks: vec![
            mark(70, "load"),
            mark(30, "load"),
            mark(50, "a:7"),
            mark(90, "a"),
            mark(95, "a"),
            mark(60, ""),
            mark(65, ""),
        ],
        resident: vec![sample(80, 5), sample(20, 7), sample(60, 9), sample(70, 9)],
        stamp_shift: 3,
        ..Layout::default()
    };
    let (_folder, recording, history) = recording(&layout);
    // A stamp is 8 ns.
    assert_eq!(at(&recording, "start"), (0, 0));
    let end = history.end_stamp;
    assert_eq!(at(&recording, "end"), (end, end * 8));
    assert_eq!(at(&recording, "100%"), (end, end * 8));
    assert_eq!(at(&recording, "50%"), (end / 2, end * 4));
    assert_eq!(at(&recording, "807ns"), (100, 807));
    assert_eq!(at(&recording, "808"), (101, 808));
    assert_eq!(at(&recording, "mark:load"), (30, 240));
    assert_eq!(at(&recording, "mark:load:1"), (30, 240));
    assert_eq!(at(&recording, "mark:load:2"), (70, 560));
    // A name may end like the number of another mark, as long as there is no such one.
    assert_eq!(at(&recording, "mark:a:7"), (50, 400));
    assert_eq!(at(&recording, "mark:a:7:1"), (50, 400));
    assert_eq!(at(&recording, "mark:a:1"), (90, 720));
    assert_eq!(at(&recording, "mark:a:2"), (95, 760));
    // A mark may have no name.
    assert_eq!(at(&recording, "mark:"), (60, 480));
    assert_eq!(at(&recording, "mark::2"), (65, 520));
    assert_eq!(at(&recording, "rss-peak"), (60, 480));
    let peaks = recording.peaks(2).unwrap();
    assert_eq!(at(&recording, "peak").0, peaks[0].stamp);
    assert_eq!(recording.summary().unwrap().peak, peaks[0]);
}

#[test]
fn a_name_that_is_two_marks_is_refused() {
    let layout = Layout {
        marks: vec![
            mark(30, "x"),
            mark(40, "x:2"),
            mark(50, "x"),
            mark(60, "x:2"),
            mark(70, ":1"),
            mark(80, ""),
        ],
        stamp_shift: 3,
        ..Layout::default()
    };
    let (_folder, recording, _) = recording(&layout);
    let error = |text: &str| {
        let moment = Moment::parse(text).unwrap();
        recording.resolve(&moment).unwrap_err().to_string()
    };
    let both = error("mark:x:2");
    for part in [
        "x.tape: ",
        "mark:x:2",
        "called x:2, at 320ns",
        "called x, at 400ns",
    ] {
        assert!(both.contains(part), "{both}");
    }
    assert!(error("mark::1").contains("called \"\", at 640ns"));
    // Each of them has a name of its own, or its time.
    assert_eq!(at(&recording, "mark:x:2:1"), (40, 320));
    assert_eq!(at(&recording, "mark:x:2:2"), (60, 480));
    assert_eq!(at(&recording, "400ns"), (50, 400));
    assert_eq!(at(&recording, "mark:x"), (30, 240));
    assert_eq!(at(&recording, "mark:x:1"), (30, 240));
}

#[test]
fn what_a_tape_does_not_have_is_told() {
    let layout = Layout {
        marks: vec![mark(30, "load"), mark(40, "work"), mark(50, "work")],
        ..Layout::default()
    };
    let (_folder, recording, _) = recording(&layout);
    let error = |text: &str| {
        let moment = Moment::parse(text).unwrap();
        recording.resolve(&moment).unwrap_err().to_string()
    };
    for text in ["mark:lode", "mark:work:3", "mark:work:0"] {
        let error = error(text);
        assert!(error.contains("load, work (1 to 2)"), "{error}");
        assert!(error.contains("x.tape"), "{error}");
    }
    assert!(error("rss-peak").contains("no samples"));
    let many = error("peak:5000");
    let known = recording.peaks(usize::MAX).unwrap().len();
    assert!(many.contains(&format!("{known} separate peaks")), "{many}");
}

#[test]
fn a_tape_without_events_has_its_moments() {
    let layout = Layout {
        has_end: false,
        ..Layout::default()
    };
    let empty = History::default();
    let (_folder, recording) = opened(&empty, &layout, &without_index());
    for text in ["start", "end", "peak", "50%"] {
        assert_eq!(at(&recording, text), (0, 0), "{text}");
    }
    assert_eq!(recording.peaks(5).unwrap(), []);
    assert_eq!(recording.timeline(2).unwrap().len(), 2);
    let error = recording
        .resolve(&Moment::Mark("x".into()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no marks"), "{error}");
}
