//! Every verb on a program whose history is known: moments, differences, windows, owners, time,
//! and what a tape is as a file.

use heaptape_tests::answers::{array, assert_rows_add_up, number, rows, text};
use heaptape_tests::{Room, build};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Records `targets/phases.c` as `t.tape`; what it wrote.
fn recorded(room: &Room) -> String {
    room.record_as_bare_but_addresses("t.tape", &[build::c("phases.c", &[])])
}

/// Rows of the program's own functions: those that the library brings are left out.
fn own(answer: &Value) -> BTreeMap<String, (u64, u64)> {
    let mut found = rows(answer);
    found.retain(|key, _| {
        ["phase_", "told_", "wastes"]
            .iter()
            .any(|start| key.starts_with(start))
    });
    found
}

fn amounts(pairs: &[(&str, u64, u64)]) -> BTreeMap<String, (u64, u64)> {
    pairs
        .iter()
        .map(|(key, bytes, count)| ((*key).to_owned(), (*bytes, *count)))
        .collect()
}

fn by_function(room: &Room, arguments: &[&str]) -> Value {
    room.json(&[arguments, &["--group-by", "function"]].concat())
}

#[test]
fn stats_at_every_kind_of_moment() {
    let room = Room::new();
    recorded(&room);
    let at = |moment: &str| own(&by_function(&room, &["stats", "t.tape", "--at", moment]));
    let at_a = amounts(&[("phase_a", 1000, 100)]);
    let at_b = amounts(&[("phase_a", 500, 50), ("phase_b", 40_000, 40)]);
    let at_end = amounts(&[("phase_a", 500, 50), ("told_second", 2000, 1)]);
    assert_eq!(at("start"), amounts(&[]));
    assert_eq!(at("0"), amounts(&[]));
    assert_eq!(at("mark:a"), at_a);
    assert_eq!(at("mark:a:1"), at_a);
    assert_eq!(at("mark:b"), at_b);
    assert_eq!(at("peak"), at_b);
    assert_eq!(at("mark:c"), at_end);
    assert_eq!(at("end"), at_end);
    assert_eq!(at("100%"), at_end);

    // The same moment by its time.
    let stats = by_function(&room, &["stats", "t.tape", "--at", "mark:b"]);
    let ns = number(&stats, "at_ns");
    assert_eq!(at(&ns.to_string()), at_b);
    assert_eq!(
        at(&format!(
            "{}.{:09}s",
            ns / 1_000_000_000,
            ns % 1_000_000_000
        )),
        at_b
    );
    // Without `--at`: the peak.
    assert_eq!(own(&by_function(&room, &["stats", "t.tape"])), at_b);
}

#[test]
fn every_grouping_adds_up() {
    let room = Room::new();
    recorded(&room);
    let mut total = None;
    let groups = [
        "file",
        "line",
        "function",
        "module",
        "traceback",
        "thread",
        "size",
        "domain",
    ];
    for group in groups {
        let stats = room.json(&["stats", "t.tape", "--at", "mark:b", "--group-by", group]);
        assert_eq!(text(&stats, "group_by"), group);
        assert_rows_add_up(&stats);
        let old = total.replace(stats["total"].clone());
        assert_eq!(
            old.unwrap_or_else(|| stats["total"].clone()),
            stats["total"],
            "{group}"
        );
        let keys: Vec<(u64, u64, &str)> = array(&stats, "rows")
            .iter()
            .map(|row| (number(row, "bytes"), number(row, "count"), text(row, "key")))
            .collect();
        assert!(
            keys.windows(2).all(|pair| pair[0] >= pair[1]),
            "{group} is not sorted: {keys:?}"
        );
        let percent: f64 = array(&stats, "rows")
            .iter()
            .filter_map(|r| r["percent"].as_f64())
            .sum();
        assert!((percent - 100.0).abs() < 1.0, "{group}: {percent} %");
    }
    let sizes = rows(&room.json(&["stats", "t.tape", "--at", "mark:b", "--group-by", "size"]));
    assert_eq!(sizes.get("10"), Some(&(500, 50)), "{sizes:#?}");
    assert_eq!(sizes.get("1000"), Some(&(40_000, 40)), "{sizes:#?}");
}

/// Several threads are chosen by name or id, and their sums add up.
#[test]
fn several_threads_are_chosen() {
    let room = Room::new();
    let program = build::c("truth.c", &[]);
    let argv = [program.to_str().unwrap(), "5", "4", "4000", "1"];
    room.record("t.tape", &[], &argv).success();
    let stats = [
        "stats",
        "t.tape",
        "--at",
        "mark:truth",
        "--group-by",
        "thread",
    ];
    let by_thread = rows(&room.json(&stats));
    assert!(by_thread.len() >= 4, "{by_thread:#?}");
    let key_id = |key: &str| {
        let id = key.rsplit_once('(').map_or(key, |(_, id)| id);
        id.trim_end_matches(')').to_owned()
    };
    let chosen: Vec<_> = by_thread.iter().take(2).collect();
    let mut question = stats.to_vec();
    let ids: Vec<String> = chosen.iter().map(|(key, _)| key_id(key)).collect();
    for id in &ids {
        question.extend(["--thread", id]);
    }
    let answer = rows(&room.json(&question));
    let expected = chosen
        .into_iter()
        .map(|(key, amount)| (key.clone(), *amount));
    assert_eq!(answer, expected.collect());
    let refused = room.heaptape(&[&question[..], &["--thread", "nobody"]].concat());
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("no thread 'nobody'"), "{refused:?}");
}

#[test]
fn differences_are_antisymmetric() {
    let room = Room::new();
    recorded(&room);
    let diff = |from: &str, to: &str| {
        let answer = by_function(&room, &["diff", from, to]);
        let mut found = BTreeMap::new();
        for row in array(&answer, "rows") {
            let change = |member: &str| row[member].as_i64().unwrap();
            found.insert(
                text(row, "key").to_owned(),
                (change("bytes_diff"), change("count_diff")),
            );
        }
        found
    };
    let forth = diff("t.tape@mark:a", "t.tape@mark:b");
    assert_eq!(forth.get("phase_a"), Some(&(-500, -50)));
    assert_eq!(forth.get("phase_b"), Some(&(40_000, 40)));
    let back = diff("t.tape@mark:b", "t.tape@mark:a");
    let negated = |m: &BTreeMap<String, (i64, i64)>| {
        m.iter()
            .map(|(k, (b, c))| (k.clone(), (-b, -c)))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(negated(&forth), back);
}

#[test]
fn gates_of_differences() {
    let room = Room::new();
    recorded(&room);
    let diff = |expression: &str| {
        let moments = ["t.tape@mark:a", "t.tape@mark:b"];
        room.heaptape(&["diff", moments[0], moments[1], "--fail-on", expression])
    };
    for held in ["bytes>1MiB", "bytes>+40000", "count>100", "row:bytes>40000"] {
        let outcome = diff(held);
        assert_eq!(outcome.code, 0, "{held}: {outcome:?}");
    }
    for broken in ["bytes>1000", "bytes>+1KiB", "bytes>+5%", "row:count>39"] {
        let outcome = diff(broken);
        assert_eq!(outcome.code, 1, "{broken}: {outcome:?}");
        assert!(outcome.stderr.contains(broken), "{broken}: {outcome:?}");
    }
    assert_eq!(diff("colour>3").code, 2);
}

#[test]
fn leaks_and_churn_of_a_window() {
    let room = Room::new();
    recorded(&room);
    let leaks = |window: &[&str]| {
        own(&by_function(
            &room,
            &[&["leaks", "t.tape"], window].concat(),
        ))
    };
    let all = amounts(&[("phase_a", 500, 50), ("told_second", 2000, 1)]);
    assert_eq!(leaks(&[]), all);
    assert_eq!(
        leaks(&["--to", "mark:b"]),
        amounts(&[("phase_a", 500, 50), ("phase_b", 40_000, 40)])
    );
    let inside = ["--from", "mark:a", "--to", "mark:b"];
    assert_eq!(leaks(&inside), amounts(&[("phase_b", 40_000, 40)]));
    assert_eq!(
        leaks(&["--from", "mark:b"]),
        amounts(&[("told_second", 2000, 1)])
    );

    let churn = by_function(&room, &["churn", "t.tape", "--from", "mark:b"]);
    let row = |key: &str| array(&churn, "rows").iter().find(|row| row["key"] == key);
    let wastes = row("wastes").unwrap();
    for (member, value) in [
        ("allocations", 200),
        ("bytes_allocated", 15_400),
        ("temporary", 200),
        ("temporary_bytes", 15_400),
    ] {
        assert_eq!(number(wastes, member), value, "{member}");
    }
    assert!(number(wastes, "max_lifetime_ns") >= number(wastes, "mean_lifetime_ns"));
    assert!(row("phase_b").is_none(), "phase_b was before the window");
    assert_eq!(number(row("told_first").unwrap(), "bytes_allocated"), 3000);
}

#[test]
fn the_owners_of_an_address() {
    let room = Room::new();
    let output = recorded(&room);
    let address = output.trim();
    let answer = room.json(&["object", "t.tape", address]);
    let owners = array(&answer, "owners");
    let last = owners.last().unwrap();
    assert_eq!(number(last, "bytes"), 2000, "{answer:#}");
    assert_eq!(text(last, "base"), address);
    assert!(
        last["to_ns"].is_null() && last["freed"].is_null(),
        "{last:#}"
    );
    let function = |owner: &Value| text(&owner["allocated"]["frames"][0], "function").to_owned();
    assert_eq!(function(last), "told_second");

    // An address inside the block finds it, too; at the end it is the only owner.
    let value = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
    let inside = format!("{:#x}", value + 1999);
    let at_end = room.json(&["object", "t.tape", &inside, "--at", "end"]);
    assert_eq!(array(&at_end, "owners").len(), 1, "{at_end:#}");
    assert_eq!(text(&at_end["owners"][0], "base"), address);
    let behind = room.json(&[
        "object",
        "t.tape",
        &format!("{:#x}", value + 2000),
        "--at",
        "end",
    ]);
    assert!(array(&behind, "owners").is_empty(), "{behind:#}");
    // Owners follow each other in time.
    for pair in owners.windows(2) {
        assert!(
            pair[0]["to_ns"].as_u64().unwrap() <= number(&pair[1], "from_ns"),
            "{answer:#}"
        );
    }
}

#[test]
fn the_timeline_hangs_together() {
    let room = Room::new();
    recorded(&room);
    let info = room.json(&["info", "t.tape"]);
    let answer = room.json(&["timeline", "t.tape", "--points", "50"]);
    let points = array(&answer, "points");
    assert_eq!(points.len(), 50);
    let last = points.last().unwrap();
    assert_eq!(number(last, "bytes"), number(&info["end"], "bytes"));
    assert_eq!(number(last, "t_ns"), number(&info, "duration_ns"));
    let high = points.iter().map(|p| number(p, "high")).max().unwrap();
    assert_eq!(high, number(&info["peak"], "bytes"));
    let sum = |member| {
        points
            .iter()
            .map(|point| number(point, member))
            .sum::<u64>()
    };
    let events = &info["events"];
    assert_eq!(
        sum("allocations"),
        number(events, "alloc") + number(events, "realloc")
    );
    assert!(
        points
            .windows(2)
            .all(|p| number(&p[0], "t_ns") < number(&p[1], "t_ns"))
    );
}

/// A shell that waits for a second: on a busy machine, too, the drainer comes to look meanwhile.
#[test]
fn the_timeline_has_the_resident_size() {
    let room = Room::new();
    room.record("t.tape", &[], &["sh", "-c", "sleep 1; :"])
        .success();
    let answer = room.json(&["timeline", "t.tape", "--points", "100"]);
    let points = array(&answer, "points");
    let sizes = points.iter().filter_map(|p| p["rss"].as_u64());
    // What it touches of itself and of the C library, and no more than they are.
    let resident = sizes.filter(|rss| (100_000..50_000_000).contains(rss));
    assert!(resident.count() >= 10, "{answer:#}");
}

#[test]
fn a_tape_is_private_and_keeps_no_environment() {
    let room = Room::new();
    let program = build::c("phases.c", &[]);
    let mut command = room.record_command("t.tape", &[], &[program]);
    command.env("A_SECRET", "correct-horse-battery-staple");
    room.run(&mut command).success();
    room.heaptape(&["index", "t.tape"]).success();
    for name in ["t.tape", "t.tape.idx"] {
        let mode = std::fs::metadata(room.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let bytes = std::fs::read(room.path("t.tape")).unwrap();
    let secret = b"battery-staple";
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[test]
fn without_a_name_the_tape_is_called_after_the_command() {
    let room = Room::new();
    let program = build::c("phases.c", &[]);
    let arguments = ["run", "--quiet", "--", program.to_str().unwrap()];
    room.heaptape(&arguments).success();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 1, "{tapes:?}");
    let pid = number(&room.json(&["info", &tapes[0]]), "pid");
    assert_eq!(tapes[0], format!("heaptape.phases.{pid}.tape"));
}

/// Names and lines travel in the tape; they can also be added later.
#[test]
fn a_tape_is_read_without_the_program() {
    for later in [false, true] {
        let room = Room::new();
        let copy = room.path("phases");
        heaptape_tests::build::copy(build::c("phases.c", &[]), &copy).unwrap();
        let options: &[&str] = if later { &["--no-symbolize"] } else { &[] };
        room.record("t.tape", options, &[&copy]).success();
        if later {
            room.heaptape(&["symbolize", "t.tape"]).success();
        }
        std::fs::remove_file(&copy).unwrap();
        let stats = by_function(&room, &["stats", "t.tape", "--at", "mark:a"]);
        assert_eq!(
            own(&stats),
            amounts(&[("phase_a", 1000, 100)]),
            "later: {later}"
        );
        let lines = room.json(&["stats", "t.tape", "--at", "mark:a", "--group-by", "line"]);
        let source = build::source("phases.c").display().to_string();
        assert!(
            rows(&lines).keys().any(|key| key.starts_with(&source)),
            "{lines:#}"
        );
    }
}

/// A program that is away when its symbols are looked for, and back later: `symbolize` looks again
/// for what was not found, and only for that.
#[test]
fn symbols_are_looked_for_again() {
    let room = Room::new();
    let (copy, away) = (room.path("phases"), room.path("away"));
    heaptape_tests::build::copy(build::c("phases.c", &[]), &copy).unwrap();
    let script = format!("'{0}'; mv '{0}' away", copy.display());
    room.record("root.tape", &[], &["bash", "-c", &script])
        .success();
    let tapes = room.tapes();
    let is_of_program = |name: &&String| {
        let command = &room.json(&["info", name])["command"][0];
        *command == copy.to_str().unwrap()
    };
    let tape = tapes.iter().find(is_of_program).unwrap();
    let found = || own(&by_function(&room, &["stats", tape, "--at", "mark:a"]));
    let symbolize = || room.heaptape(&["symbolize", tape]).success().stdout;
    let bytes = || std::fs::metadata(room.path(tape)).unwrap().len();
    assert_eq!(found(), amounts(&[]), "its names were there already");

    // Still away: nothing is written.
    let before = bytes();
    assert!(symbolize().contains(", 0 symbols added"));
    assert_eq!(bytes(), before);

    std::fs::rename(away, &copy).unwrap();
    let said = symbolize();
    assert!(!said.contains(", 0 symbols added"), "{said}");
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(found(), amounts(&[("phase_a", 1000, 100)]));
    // All is there: nothing is written.
    let before = bytes();
    assert!(symbolize().contains(", 0 symbols added"));
    assert_eq!(bytes(), before);
    room.assert_clean(tape);
}

/// An allocation at exactly T is in the state at T and in the window from T: one nanosecond
/// decides.
#[test]
fn windows_are_exact_to_the_nanosecond() {
    let room = Room::new();
    let output = recorded(&room);
    let owners = room.json(&["object", "t.tape", output.trim()]);
    let last = array(&owners, "owners").last().unwrap();
    let born = number(last, "from_ns");
    let second = |arguments: &[&str]| {
        let answer = by_function(&room, arguments);
        own(&answer).get("told_second").copied()
    };
    let moment = |offset: i64| born.strict_add_signed(offset).to_string();
    let there = Some((2000, 1));
    for (offset, in_window, in_state) in [(-1, there, None), (0, there, there), (1, None, there)] {
        let at = moment(offset);
        for (verb, option, expected) in [
            ("leaks", "--from", in_window),
            ("stats", "--at", in_state),
            ("leaks", "--to", in_state),
        ] {
            let found = second(&[verb, "t.tape", option, &at]);
            assert_eq!(found, expected, "{verb} {option} {offset} ns");
        }
        // The whole window of churn: it is one allocation of the function's.
        let churn = by_function(&room, &["churn", "t.tape", "--from", &at]);
        let rows = array(&churn, "rows");
        let is_there = rows.iter().any(|row| row["key"] == "told_second");
        assert_eq!(is_there, in_window.is_some(), "churn --from {offset} ns");
    }
    let both = moment(0);
    assert_eq!(
        second(&["leaks", "t.tape", "--from", &both, "--to", &both]),
        there
    );
}

/// Text answers are made for people: they name the places and the amounts.
#[test]
fn answers_in_text_and_csv() {
    let room = Room::new();
    recorded(&room);
    let text = room.heaptape(&[
        "stats",
        "t.tape",
        "--at",
        "mark:b",
        "--group-by",
        "function",
    ]);
    let text = text.success().stdout;
    let line = text.lines().find(|line| line.contains("phase_b"));
    let line = line.unwrap_or_else(|| panic!("phase_b is not in {text}"));
    assert!(line.contains("39.1") && line.contains("40"), "{line}");
    assert!(!text.contains('\x1b'), "colours in a file: {text}");

    let arguments = [
        "stats",
        "t.tape",
        "--at",
        "mark:b",
        "--group-by",
        "function",
        "--format",
        "csv",
    ];
    let csv = room.heaptape(&arguments).success().stdout;
    let header = csv.lines().next().unwrap();
    for column in ["key", "bytes", "count"] {
        assert!(header.split(',').any(|name| name == column), "{header}");
    }
    assert!(
        csv.lines()
            .any(|line| line.contains("phase_b") && line.contains("40000")),
        "{csv}"
    );
}
