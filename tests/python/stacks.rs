//! Whole stacks: Python frames and native ones, in their true order.

use super::{
    array, chosen_interpreters, interpreters, live_at, number, script, text, usual_interpreter,
};
use heaptape_tests::Room;
use serde_json::Value;
use std::collections::BTreeMap;

/// The row of the one block of about this size: an object of bytes has one byte more at its end.
fn row_of(answer: &Value, size: u64) -> &Value {
    let mut rows = array(answer, "rows").iter();
    rows.find(|row| (size..size + 2).contains(&number(row, "bytes")) && number(row, "count") == 1)
        .unwrap_or_else(|| panic!("no block of {size} bytes"))
}

/// Its Python functions, by the last part of their names, the most recent first.
fn python_functions(row: &Value) -> Vec<&str> {
    let frames = array(row, "frames").iter();
    let python = frames.filter(|frame| frame["language"] == "python");
    python.map(|frame| text(frame, "function")).collect()
}

/// Native functions between the two Python functions.
fn between<'a>(row: &'a Value, inner: &str, outer: &str) -> Vec<&'a str> {
    let frames = array(row, "frames");
    let place = |name: &str| {
        let is_it = |frame: &Value| {
            frame["language"] == "python"
                && frame["function"]
                    .as_str()
                    .and_then(|text| text.rsplit('.').next())
                    == Some(name)
        };
        frames
            .iter()
            .position(is_it)
            .unwrap_or_else(|| panic!("no {name}: {row:#}"))
    };
    let inside = frames.get(place(inner) + 1..place(outer)).unwrap();
    assert!(
        inside.iter().all(|frame| frame["language"] == "native"),
        "{row:#}"
    );
    inside
        .iter()
        .filter_map(|frame| frame["function"].as_str())
        .collect()
}

#[test]
fn native_frames_stand_between_python_frames() {
    for interpreter in interpreters() {
        let room = Room::new();
        let program = script("called_through_c.py");
        let argv = [interpreter.program.as_os_str(), program.as_os_str()];
        room.record_as_bare("t.tape", &argv);
        let answer = live_at(&room, "t.tape", "mark:done", &[]);
        let what = interpreter.program.display();
        let expected = [
            (100_001, "__init__", &["type_call"][..]),
            (100_003, "mapped", &["map_next"][..]),
            (100_005, "keyed", &["list_sort"][..]),
            (100_007, "reduced", &["functools_reduce"][..]),
            (100_009, "generated", &["list_extend"][..]),
            (100_011, "plain", &[][..]),
        ];
        let has_names = array(&answer, "rows").iter().any(|row| {
            array(row, "frames")
                .iter()
                .any(|frame| frame["function"] == "list_sort_impl")
        });
        for (size, function, through) in expected {
            let row = row_of(&answer, size);
            let functions = python_functions(row);
            let last = functions[0].rsplit('.').next();
            assert_eq!(last, Some(function), "{what}: {row:#}");
            assert_eq!(functions.last(), Some(&"<module>"), "{what}: {row:#}");
            let outer = if size == 100_011 { "outer" } else { "run" };
            let native = between(row, function, outer);
            // Without symbols the functions have no names.
            for name in through {
                let mut native_names = native.iter().map(|name| name.trim_start_matches('_'));
                let is_there = native_names.any(|native| native.starts_with(name));
                assert!(
                    is_there || !has_names,
                    "{what}: {name} is not in {native:?}"
                );
            }
            // All begin where the program does.
            let outermost = array(row, "frames").last().unwrap();
            assert_eq!(text(outermost, "function"), "_start", "{what}: {row:#}");
            // No frame of the interpreter's loop is left beside the Python frames that it runs.
            let loops = array(row, "frames").iter();
            let loops = loops.filter(|frame| {
                let name = frame["function"].as_str();
                name.is_some_and(|name| name.starts_with("_PyEval_EvalFrameDefault"))
            });
            assert_eq!(loops.count(), 0, "{what}: {row:#}");
            assert!(
                functions.len() == usize::from(size == 100_011) + 3,
                "{what}: {functions:?}"
            );
        }
    }
}

/// Code objects that take each other's places in memory are told apart.
#[test]
fn code_objects_that_die() {
    for interpreter in interpreters() {
        let room = Room::new();
        let program = script("evaluated.py");
        let argv = [interpreter.program.as_os_str(), program.as_os_str()];
        room.record_as_bare("t.tape", &argv);
        let answer = live_at(
            &room,
            "t.tape",
            "mark:done",
            &["--lang", "python", "--min-size", "2000"],
        );
        let mut grown = 0;
        for size in (2000..6000u64).step_by(4) {
            let name = format!("f{size}");
            let mut rows = array(&answer, "rows").iter();
            let row = rows.find(|row| row["frames"][0]["function"] == name.as_str());
            let row = row.unwrap_or_else(|| panic!("no {name}"));
            let found = array(row, "frames");
            assert_eq!(text(&found[0], "file"), "<string>");
            assert_eq!(
                (number(&found[0], "line"), number(&found[1], "line")),
                (2, 3)
            );
            // The list that keeps them grows there, too.
            match number(row, "count") {
                1 => assert!((size..size + 2).contains(&number(row, "bytes")), "{row:#}"),
                _ => grown += 1,
            }
        }
        assert!(grown < 3);
        for (size, file) in [(70_005, "abcd"), (70_007, "\u{6261}\u{6463}")] {
            let row = row_of(&answer, size);
            assert_eq!(text(&array(row, "frames")[0], "file"), file);
        }
    }
}

/// What `--stacks`, `--no-python` and `--max-depth` leave.
#[test]
fn fewer_frames() {
    let python = usual_interpreter();
    let room = Room::new();
    let program = script("called_through_c.py");
    let argv = [python.as_os_str(), program.as_os_str()];
    let languages = |options: &[&str]| {
        let mut with = vec!["--force"];
        with.extend(options);
        room.run(&mut room.record_command("t.tape", &with, &argv))
            .success();
        room.assert_clean("t.tape");
        let sizes = ["--min-size", "100003", "--max-size", "100004"];
        let answer = live_at(&room, "t.tape", "mark:done", &sizes);
        let frames: Vec<(String, String)> = array(row_of(&answer, 100_003), "frames")
            .iter()
            .map(|frame| {
                let function = frame["function"].as_str().unwrap_or_default();
                (text(frame, "language").to_owned(), function.to_owned())
            })
            .collect();
        let domains = room.json(&[
            "stats",
            "t.tape",
            "--at",
            "mark:done",
            "--group-by",
            "domain",
        ]);
        let domains: Vec<String> = array(&domains, "rows")
            .iter()
            .map(|row| text(row, "key").to_owned())
            .collect();
        (frames, domains)
    };
    let (all, domains) = languages(&[]);
    assert!(domains.iter().any(|domain| domain == "obj"), "{domains:?}");
    let python_alone: Vec<_> = all
        .iter()
        .filter(|(language, _)| language == "python")
        .collect();
    assert_eq!(python_alone.len(), 3);
    let (frames, _) = languages(&["--stacks", "python"]);
    assert_eq!(frames.iter().collect::<Vec<_>>(), python_alone);
    let (frames, domains) = languages(&["--stacks", "native"]);
    assert!(
        frames.iter().all(|(language, _)| language == "native"),
        "{frames:?}"
    );
    assert!(frames.len() > 10 && domains.iter().any(|domain| domain == "obj"));
    let (_, domains) = languages(&["--no-python"]);
    assert_eq!(domains, ["native"]);
    for depth in [1, 4, 7] {
        let (frames, _) = languages(&["--max-depth", &depth.to_string()]);
        // Functions that the compiler has inlined come on top, so that the names are compared.
        let inner = &all[..frames.len()];
        assert_eq!(frames, inner, "{depth}");
        assert!(frames.len() >= depth && frames.len() < all.len());
    }
}

/// Stacks of which parts are kept from event to event, or found again, are those that are taken
/// from the beginning at each event, as they are where a depth is asked for.
#[test]
fn what_is_kept_changes_no_stack() {
    for interpreter in chosen_interpreters() {
        let room = Room::new();
        let program = script("alternating.py");
        // Without what packages that happen to be there do at the start.
        let argv = [
            interpreter.program.as_os_str(),
            "-S".as_ref(),
            program.as_os_str(),
        ];
        for stacks in ["both", "python"] {
            let by_stack = |options: &[&str]| {
                let with = [&["--force", "--no-symbolize", "--stacks", stacks], options].concat();
                let mut command = room.record_command("t.tape", &with, &argv);
                command.env("PYTHONHASHSEED", "1");
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                room.run(&mut command).success();
                room.assert_clean("t.tape");
                let question = ["churn", "t.tape", "--group-by", "traceback", "--top", "0"];
                let answer = room.json(&question);
                // Not their bytes: a number made of an address has more digits or fewer.
                let rows = array(&answer, "rows").iter();
                let rows =
                    rows.map(|row| (text(row, "key").to_owned(), number(row, "allocations")));
                rows.collect::<BTreeMap<_, _>>()
            };
            let (kept, anew) = (by_stack(&[]), by_stack(&["--max-depth", "100000"]));
            assert!(kept.len() > 1000, "{}", kept.len());
            for (stack, count) in &kept {
                let what = (&interpreter.version, stacks, stack);
                assert_eq!(anew.get(stack), Some(count), "{what:?}");
            }
            assert_eq!(kept.len(), anew.len());
        }
    }
}
