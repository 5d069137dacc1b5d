//! Interpreters in other ways than the usual one: configured allocators, children, kills, embedded
//! in a program.

use super::{array, interpreters, live_at, number, script, text, usual_interpreter};
use heaptape_tests::answers::rows;
use heaptape_tests::{Room, build, send, wait_for};

/// Whatever allocator the interpreter is told to use: its blocks are seen one by one, with their
/// requested sizes and their lines.
#[test]
fn configured_allocators() {
    let source = "keep = [bytes(968 + i % 2) for i in range(5000)]\n";
    let ways: [(&[&str], &str); 6] = [
        (&[], ""),
        (&["-X", "dev"], ""),
        (&[], "debug"),
        (&[], "malloc"),
        (&[], "pymalloc"),
        (&[], "malloc_debug"),
    ];
    for interpreter in interpreters() {
        let room = Room::new();
        let program = room.write("program.py", source);
        for (options, allocator) in ways {
            let mut argv = vec![interpreter.program.to_str().unwrap()];
            argv.extend(options);
            argv.push(program.to_str().unwrap());
            let mut command = room.record_command("t.tape", &["--force"], &argv);
            if !allocator.is_empty() {
                command.env("PYTHONMALLOC", allocator);
            }
            let what = format!("{command:?}");
            room.run(&mut command).success();
            let info = room.assert_clean("t.tape");
            // What was allocated before the interpreter had read its configuration.
            assert!(number(&info, "unknown_frees") <= 20, "{what}: {info:#}");
            let answer = room.json(&[
                "stats",
                "t.tape",
                "--at",
                "peak",
                "--lang",
                "python",
                "--min-size",
                "1000",
                "--max-size",
                "1002",
            ]);
            let key = format!("{}:1", program.display());
            let expected = (5000 * 1001 + 2500, 5000);
            assert_eq!(rows(&answer).get(&key), Some(&expected), "{what}");
        }
    }
}

#[test]
fn children_have_their_own_code_objects() {
    for interpreter in interpreters() {
        let room = Room::new();
        let program = script("children.py");
        let argv = [interpreter.program.as_os_str(), program.as_os_str()];
        let outcome = room.record_as_bare("t.tape", &argv);
        assert_eq!(outcome.stdout, "done\n");
        let tapes = room.tapes();
        let mut found = 0;
        for tape in &tapes {
            room.assert_clean(tape);
            let churn = room.json(&[
                "churn",
                tape,
                "--group-by",
                "function",
                "--lang",
                "python",
                "--min-size",
                "50001",
                "--max-size",
                "50002",
            ]);
            let rows = array(&churn, "rows").iter();
            found += rows
                .filter(|row| text(row, "key") == "child")
                .map(|row| number(row, "allocations"))
                .sum::<u64>();
        }
        assert_eq!(found, 3, "{}: {tapes:?}", interpreter.program.display());
    }
}

/// With `tracemalloc` from the start its own memory is seen as it is: what it allocates is freed.
#[test]
fn tracemalloc_from_the_start() {
    for interpreter in interpreters() {
        let room = Room::new();
        let source = "keep = [[str(i)] for i in range(20000)]\ndel keep\n\
            import tracemalloc\ntracemalloc.stop()\n";
        let program = room.write("program.py", source);
        let python = interpreter.program.to_str().unwrap();
        let argv = [python, "-X", "tracemalloc=5", program.to_str().unwrap()];
        room.record_as_bare("t.tape", &argv);
        let info = room.json(&["info", "t.tape"]);
        assert!(number(&info, "unknown_frees") <= 20, "{python}: {info:#}");
    }
}

/// A recursion of tens of thousands of calls, with events all the way, is whole and costs no more
/// at the end than at the beginning: the test's time limit would end one that does.
#[test]
fn deep_recursion() {
    let source = "import ctypes, sys\nsys.setrecursionlimit(10**6)\nkeep = []\n\
        def deeper(n):\n    here = [n]\n    if n == 0:\n        keep.append(bytes(70001 - 32))\n\
        \x20       return 0\n    return deeper(n - 1) + len(here)\n\
        deeper(30000)\nmark = getattr(ctypes.CDLL(None), 'heaptape_mark', None)\n\
        if mark is not None:\n    mark(b'done')\n";
    // Earlier versions call themselves by C, and need a larger stack.
    for interpreter in interpreters() {
        if ["3.9", "3.10"].contains(&interpreter.version.as_str()) {
            continue;
        }
        let room = Room::new();
        let program = room.write("program.py", source);
        let argv = [interpreter.program.as_path(), &program];
        room.record_as_bare("t.tape", &argv);
        let sizes = [
            "--lang",
            "python",
            "--min-size",
            "70001",
            "--max-size",
            "70002",
        ];
        let answer = live_at(&room, "t.tape", "mark:done", &sizes);
        let frames = array(&array(&answer, "rows")[0], "frames");
        assert_eq!(frames.len(), 30_002, "{}", interpreter.program.display());
    }
}

/// A killed interpreter's tape is whole, with lines.
#[test]
fn killed() {
    let room = Room::new();
    let python = usual_interpreter();
    let program = script("heavy.py");
    let argv = [python.as_os_str(), program.as_os_str()];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    let child = wait_for("the program at work", || {
        let written = running.stdout_so_far();
        written
            .strip_prefix("busy ")?
            .strip_suffix('\n')?
            .parse()
            .ok()
    });
    send(child, libc::SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.code, 137, "{outcome:?}");
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(text(&info, "ended_by"), "signal:9");
    assert_eq!(number(&info, "lost_events"), 0);
    let answer = live_at(&room, "t.tape", "end", &["--lang", "python"]);
    let is_work = |frame: &serde_json::Value| text(frame, "function") == "work";
    let of_work = array(&answer, "rows")
        .iter()
        .filter(|row| array(row, "frames").iter().any(is_work));
    let blocks: u64 = of_work.map(|row| number(row, "count")).sum();
    assert!(blocks > 300, "{blocks}");
}

/// An interpreter that a program loads itself, out of everybody's sight.
#[test]
fn embedded() {
    let found: Vec<_> = interpreters()
        .into_iter()
        .filter_map(|interpreter| {
            let name = format!("libpython{}.so.1.0", interpreter.version);
            let root = interpreter.program.parent()?.parent()?;
            let folders = ["lib", "lib/x86_64-linux-gnu"].map(|folder| root.join(folder));
            let mut libraries = folders.iter().map(|folder| folder.join(&name));
            libraries.find(|library| library.exists())
        })
        .collect();
    if found.is_empty() {
        eprintln!("SKIPPED: no interpreter here is a library");
    }
    let program = build::c("embeds_python.c", &["-ldl"]);
    for library in found {
        let room = Room::new();
        let argv = [program.as_os_str(), library.as_os_str()];
        room.record_as_bare("t.tape", &argv);
        let answer = room.json(&[
            "stats",
            "t.tape",
            "--at",
            "mark:done",
            "--lang",
            "python",
            "--min-size",
            "70001",
            "--max-size",
            "70002",
        ]);
        let keys = rows(&answer);
        assert_eq!(
            keys.get("<string>:2").map(|amount| amount.1),
            Some(1),
            "{library:?} {keys:?}"
        );
    }
}

/// What calls itself an interpreter and is none, or is one that nobody knows, is recorded as a
/// native program, and the tape says so.
#[test]
fn what_is_no_interpreter_is_told_from_one() {
    let versions = [
        ("0x030900f0", "they do not look as its version says"),
        ("0x030a00f0", "they do not look as its version says"),
        ("0x030b00f0", "they do not look as its version says"),
        ("0x030c00f0", "they do not look as its version says"),
        ("0x030d00f0", "they do not look as its version says"),
        ("0x030e00f0", "they do not look as its version says"),
        ("0x036300f0", "a version that is not known"),
        ("0x020700f0", "a version that is not known"),
    ];
    for (version, reason) in versions {
        let room = Room::new();
        let name = format!("-DVERSION={version}");
        let output = format!("no_python_{version}");
        let program = build::c_as("no_python.c", &output, &[&name, "-rdynamic"]);
        room.record_as_bare("t.tape", &[&program]);
        let info = room.json(&["info", "t.tape"]);
        let told = array(&info, "not_recorded");
        assert_eq!(told.len(), 1, "{version}: {info:#}");
        let expected = format!("its frames of Python: {reason}");
        assert_eq!(text(&told[0], "reason"), expected, "{version}");
        let answer = room.json(&[
            "stats",
            "t.tape",
            "--at",
            "mark:done",
            "--group-by",
            "domain",
            "--min-size",
            "2000",
        ]);
        assert_eq!(
            rows(&answer).get("obj"),
            Some(&(50 * 2000, 50)),
            "{version}"
        );
        let answer = live_at(&room, "t.tape", "mark:done", &["--min-size", "2000"]);
        let row = &array(&answer, "rows")[0];
        let frames = array(row, "frames");
        assert!(
            frames.iter().any(|frame| frame["function"] == "main"),
            "{row:#}"
        );
    }
}
