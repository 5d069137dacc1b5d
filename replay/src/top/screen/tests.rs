//! What stands on screens of all sizes.

use super::super::keys::Key;
use super::super::view::{Answer, Looks, View};
use super::super::worker::{Shot, ShotRow, Wish};
use super::*;
use crate::follow::Trace;
use crate::index::{HeapTotal, Peak};
use crate::stats::{Amount, Change, GroupBy, Query};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn row(key: &str, (from, to): (u64, u64), count: u64) -> ShotRow {
    let amount = |bytes| Amount { bytes, count };
    ShotRow {
        change: Change {
            from: amount(from),
            to: amount(to),
        },
        key: key.to_owned(),
        aside: "grow".to_owned(),
    }
}

fn shot() -> Shot {
    let rows = vec![
        row("/src/parser/tokens.c:42", (1 << 20, 3 << 20), 1234),
        row("/src/\u{1b}[31mevil\nname.c:7", (90_000, 60_000), 20),
    ];
    let mut total = Change::default();
    rows.iter().for_each(|row| total += row.change);
    Shot {
        facts: Facts {
            command: "./app --flag".to_owned(),
            pid: 4711,
            at_ns: 12_345_000_000,
            since_ns: 11_000_000_000,
            has_begun: true,
            total: HeapTotal {
                bytes: total.to.bytes,
                count: total.to.count,
            },
            peak: Peak {
                stamp: 1,
                bytes: 5 << 20,
                count: 9,
            },
            peak_ns: 2_000_000_000,
            rates: Some(Rates {
                allocations: 1500.4,
                frees: 1200.0,
                bytes: 2_500_000.0,
            }),
            ..Facts::none()
        },
        trace: Trace::default(),
        group_by: GroupBy::Line,
        total,
        rows,
        rest: 0,
        left_out: Amount::default(),
        notes: Vec::new(),
        problem: None,
    }
}

fn view(unicode: bool) -> View {
    let looks = Looks {
        colored: true,
        unicode,
    };
    let mut view = View::new(Query::default(), looks);
    view.show(shot());
    view
}

fn drawn(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(view, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    })
    .collect()
}

#[test]
fn the_numbers_of_the_moment_stand_there() {
    let lines = drawn(&mut view(true), 100, 24);
    assert_eq!(lines[0], "./app --flag  4711  recording  12.345 s");
    assert_eq!(
        lines[1],
        "live 3131 KiB in 1,254 blocks   peak 5120 KiB at 2.000 s"
    );
    assert_eq!(
        lines[2],
        "1,500 allocs/s  2441 KiB/s  1,200 frees/s   ± since 11.000 s"
    );
    let tokens = lines.iter().find(|line| line.contains("tokens.c")).unwrap();
    assert!(
        tokens.starts_with("3072 KiB  98.1  +2048 KiB   1,234"),
        "{tokens}"
    );
    assert!(
        tokens.ends_with("/src/parser/tokens.c:42  grow"),
        "{tokens}"
    );
    let heading = lines.iter().find(|line| line.contains("bytes ±")).unwrap();
    assert!(heading.ends_with("line"), "{heading}");
    assert!(lines[23].contains("q quit  g line"), "{lines:?}");
}

#[test]
fn names_of_the_program_cannot_reach_the_terminal() {
    for unicode in [true, false] {
        for line in drawn(&mut view(unicode), 120, 24) {
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(unicode || line.is_ascii(), "{line:?}");
        }
    }
    let lines = drawn(&mut view(false), 120, 24);
    let evil = lines.iter().find(|line| line.contains("evil")).unwrap();
    assert!(evil.contains("/src/?[31mevil?name.c:7"), "{evil}");
    assert!(evil.contains("-29.3 KiB"), "{evil}");
}

#[test]
fn any_size_has_room_for_something() {
    for height in 1..40 {
        for width in [1, 2, 3, 7, 20, 33, 60, 200] {
            let lines = drawn(&mut view(true), width, height);
            assert!(
                lines.iter().any(|line| !line.is_empty()),
                "{width}×{height}"
            );
            let mut helping = view(true);
            helping.press(Key::Letter('?'));
            drawn(&mut helping, width, height);
        }
    }
    let small = drawn(&mut view(true), 20, 5);
    assert_eq!(small[1], "live 3131 KiB in 1,…");
    assert!(small[3].starts_with("3072 KiB  "), "{small:?}");
    assert!(small[4].starts_with("q quit  g line"), "{small:?}");
}

#[test]
fn without_colours_there_are_none() {
    let mut plain = view(true);
    plain.looks.colored = false;
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(&mut plain, frame)).unwrap();
    let styled = |cell: &ratatui::buffer::Cell| {
        cell.fg != Color::Reset || cell.bg != Color::Reset || !cell.modifier.is_empty()
    };
    assert!(!terminal.backend().buffer().content.iter().any(styled));
    let mut colored = view(true);
    terminal.draw(|frame| draw(&mut colored, frame)).unwrap();
    assert!(terminal.backend().buffer().content.iter().any(styled));
}

fn wished(answer: Answer) -> Vec<Wish> {
    match answer {
        Answer::Wishes(wishes) => wishes,
        other => panic!("{other:?}"),
    }
}

fn query_of(answer: Answer) -> Query {
    match wished(answer).remove(0) {
        Wish::Rows(query) => *query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_ask_for_other_rows() {
    let mut view = view(true);
    let letter = |view: &mut View, letter| query_of(view.press(Key::Letter(letter)));
    assert_eq!(letter(&mut view, 'g').group_by, GroupBy::Function);
    assert_eq!(letter(&mut view, '5').group_by, GroupBy::Traceback);
    assert_eq!(letter(&mut view, 's').sort, SortBy::LiveCount);
    assert_eq!(letter(&mut view, 's').sort, SortBy::Growth);
    assert_eq!(letter(&mut view, 'l').language, Some(Language::Native));
    assert_eq!(letter(&mut view, 'l').language, Some(Language::Python));
    assert_eq!(letter(&mut view, 'l').language, None);
    let held = wished(view.press(Key::Letter(' ')));
    assert!(matches!(held[0], Wish::Hold(true)), "{held:?}");
    assert!(drawn(&mut view, 80, 24)[0].ends_with("HELD"));
    let baseline = wished(view.press(Key::Letter('b')));
    assert!(matches!(baseline[0], Wish::Baseline(true)), "{baseline:?}");
    let reset = wished(view.press(Key::Letter('r')));
    assert_eq!(reset.len(), 3);
    assert_eq!(view.query.group_by, GroupBy::Line);
    assert!(!view.is_held);
    assert!(matches!(view.press(Key::Letter('q')), Answer::Quit));
    assert!(matches!(view.press(Key::Ctrl('c')), Answer::Quit));
    assert!(matches!(view.press(Key::Ctrl('z')), Answer::Suspend));
}

#[test]
fn a_pattern_is_typed() {
    let mut view = view(true);
    view.press(Key::Letter('/'));
    for letter in "*/parser/*x".chars() {
        // No letter of it is a key.
        assert!(matches!(view.press(Key::Letter(letter)), Answer::Drawn));
    }
    view.press(Key::Backspace);
    let footer = drawn(&mut view, 80, 24).pop().unwrap();
    assert!(footer.starts_with("/*/parser/*_"), "{footer}");
    let query = query_of(view.press(Key::Enter));
    assert_eq!(
        (query.frames.include.len(), query.frames.exclude.len()),
        (1, 0)
    );
    assert!(drawn(&mut view, 100, 24)[23].contains("/ */parser/*"));
    view.press(Key::Letter('/'));
    view.press(Key::Letter('x'));
    assert!(matches!(view.press(Key::Escape), Answer::Drawn));
    assert_eq!(view.query.frames.include.len(), 1);
    view.press(Key::Letter('/'));
    view.press(Key::Letter('!'));
    view.press(Key::Letter('a'));
    let query = query_of(view.press(Key::Enter));
    assert_eq!(
        (query.frames.include.len(), query.frames.exclude.len()),
        (0, 1)
    );
    view.press(Key::Letter('/'));
    let query = query_of(view.press(Key::Enter));
    assert!(query.frames.is_empty());
}

#[test]
fn rows_are_scrolled_and_no_further() {
    let mut view = view(true);
    let mut many = shot();
    many.rows = (0..100)
        .map(|place| row(&format!("line{place}.c:1"), (1, 1), 1))
        .collect();
    view.show(many);
    let first = |view: &mut View| {
        let lines = drawn(view, 80, 24);
        let line = lines.iter().find(|line| line.contains("line")).cloned();
        let heading = lines.iter().position(|line| line.ends_with("line"));
        lines.get(heading.unwrap() + 1).cloned().or(line).unwrap()
    };
    assert!(first(&mut view).contains("line0.c"));
    view.press(Key::Down);
    assert!(first(&mut view).contains("line1.c"));
    view.press(Key::PageDown);
    let paged = 1 + view.page;
    assert!(first(&mut view).contains(&format!("line{paged}.c")));
    view.press(Key::End);
    assert!(drawn(&mut view, 80, 24)[22].contains("line99.c"));
    view.press(Key::Home);
    view.press(Key::Up);
    assert!(first(&mut view).contains("line0.c"));
}

#[test]
fn what_is_not_told_yet_is_said() {
    let looks = Looks {
        colored: false,
        unicode: true,
    };
    let mut empty = View::new(Query::default(), looks);
    assert!(drawn(&mut empty, 60, 10)[0].contains("reading"));
    let mut early = shot();
    early.facts.has_begun = false;
    empty.show(early);
    let lines = drawn(&mut empty, 60, 12);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("nothing is told yet"))
    );
    let mut ended = shot();
    ended.facts.ended_by = Some("signal:9".to_owned());
    ended.facts.notes = vec!["3 events lost while recording".to_owned()];
    empty.show(ended);
    let lines = drawn(&mut empty, 120, 24);
    assert!(lines[0].contains("ended (signal:9)"), "{lines:?}");
    assert!(lines[2].contains("! 3 events lost"), "{lines:?}");
}
