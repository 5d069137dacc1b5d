//! Programs that people have: recorded, they do what they do bare, and their tapes make sense.

use heaptape_tests::answers::{array, number, rows, text};
use heaptape_tests::{Room, build};
use serde_json::Value;

/// The functions of a tape at its peak, by bytes.
fn functions_at_peak(room: &Room, tape: &str) -> Vec<String> {
    let stats = room.json(&["stats", tape, "--group-by", "function"]);
    heaptape_tests::answers::assert_rows_add_up(&stats);
    array(&stats, "rows")
        .iter()
        .map(|row| text(row, "key").to_owned())
        .collect()
}

/// True facts of any tape: figures that hang together.
fn assert_figures_agree(room: &Room, tape: &str) -> Value {
    let info = room.assert_clean(tape);
    let events = &info["events"];
    assert!(
        number(events, "alloc") >= number(&info["end"], "count"),
        "{info:#}"
    );
    assert!(
        number(&info["peak"], "bytes") >= number(&info["end"], "bytes"),
        "{info:#}"
    );
    assert!(
        number(&info, "bytes_allocated") >= number(&info["peak"], "bytes"),
        "{info:#}"
    );
    let births = number(events, "alloc");
    assert_eq!(
        births - number(events, "free"),
        number(&info["end"], "count"),
        "{info:#}"
    );
    for (moment, at) in [("peak", &info["peak"]), ("end", &info["end"])] {
        let stats = room.json(&["stats", tape, "--at", moment]);
        assert_eq!(
            number(&stats["total"], "bytes"),
            number(at, "bytes"),
            "{tape} {moment}"
        );
        assert_eq!(
            number(&stats["total"], "count"),
            number(at, "count"),
            "{tape} {moment}"
        );
    }
    info
}

#[test]
fn sqlite() {
    let room = Room::new();
    let sqlite = build::needed_program("sqlite3", "sqlite3");
    let script = format!(".read {}", build::source("load.sql").display());
    let argv = [sqlite.to_str().unwrap(), ":memory:", &script];
    let outcome = room.record_as_bare("t.tape", &argv);
    assert!(outcome.stdout.contains("3200|"), "{outcome:?}");
    let info = assert_figures_agree(&room, "t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    assert_eq!(info["command"].as_array().unwrap().len(), 3);
    let modules = rows(&room.json(&["stats", "t.tape", "--group-by", "module"]));
    let largest = modules.iter().max_by_key(|(_, amount)| amount.0).unwrap().0;
    assert!(largest.contains("sqlite3"), "{modules:#?}");
}

#[test]
fn git_log() {
    let room = Room::new();
    let git = build::needed_program("git", "git");
    let script = "set -e; git init -q repo; cd repo; git config user.name A; \
        git config user.email a@example.org; \
        for i in 1 2 3 4 5 6 7 8; do seq $i 2 $((i * 200)) > file$((i % 3)); git add .; \
        git -c commit.gpgsign=false commit -q --date='2024-01-01 00:00:0'$i -m \"change $i\"; done";
    room.bare(&["sh", "-c", script]).success();
    let argv = [
        git.to_str().unwrap(),
        "-C",
        "repo",
        "--no-pager",
        "log",
        "-p",
    ];
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stdout.contains("change 8"), "{}", outcome.stdout);
    let info = assert_figures_agree(&room, "t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:0");
    assert!(number(&info["events"], "alloc") > 500, "{info:#}");
}

/// The driver starts cc1plus, as, collect2 and ld: one tape each.
#[test]
fn a_compiler_driver_and_its_programs() {
    let room = Room::new();
    let compiler = build::needed_program("g++", "g++");
    let source = build::source("small.cpp").to_str().unwrap().to_owned();
    let argv = [compiler.to_str().unwrap(), "-O1", "-o", "program", &source];
    let outcome = room.record_as_bare("t.tape", &argv).success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    room.wait_for_processes();
    assert_eq!(
        room.bare(&["./program"]).code,
        6,
        "what it compiled is wrong"
    );

    let mut programs = Vec::new();
    for tape in room.tapes() {
        let info = assert_figures_agree(&room, &tape);
        assert_eq!(text(&info, "ended_by"), "exit:0", "{tape}: {info:#}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{tape}: {info:#}");
        let command = info["command"][0].as_str().unwrap();
        programs.push(command.rsplit('/').next().unwrap().to_owned());
        if command.ends_with("cc1plus") {
            let names = functions_at_peak(&room, &tape);
            let known = ["xmalloc", "ggc", "alloc", "_cpp", "hash_table", "obstack"];
            let sensible = names
                .iter()
                .take(10)
                .any(|n| known.iter().any(|k| n.contains(k)));
            assert!(sensible, "{names:#?}");
        }
    }
    programs.sort();
    let driver = compiler.file_name().unwrap().to_str().unwrap();
    let mut expected = ["as", "cc1plus", "collect2", "ld", driver].map(str::to_owned);
    expected.sort();
    assert_eq!(programs, expected);
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(
        array(&info, "children").len(),
        3,
        "cc1plus, as, collect2: {info:#}"
    );
    let top = room.heaptape(&["stats", "t.tape"]).success();
    assert!(
        top.stderr.contains(".tape"),
        "it does not say which tape has the most: {top:?}"
    );
}

#[test]
fn python() {
    let room = Room::new();
    build::needed_program("python3", "python3");
    let script = room.write(
        "script.py",
        "import json, sys\n\
         rows = [{'name': str(i), 'values': list(range(i % 50))} for i in range(2000)]\n\
         text = json.dumps(rows)\n\
         print(len(text), len(json.loads(text)))\n\
         sys.exit(3)\n",
    );
    let argv = ["python3", script.to_str().unwrap()];
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.code, 3);
    let info = assert_figures_agree(&room, "t.tape");
    assert_eq!(text(&info, "ended_by"), "exit:3");
    // Whatever starts python3 (a shim, a link): the tape is the interpreter's.
    let modules = rows(&room.json(&["stats", "t.tape", "--at", "end", "--group-by", "module"]));
    assert!(
        modules.keys().any(|key| key.contains("python3")),
        "{modules:#?}"
    );
}

#[test]
fn a_cargo_build() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("crate/src")).unwrap();
    room.write(
        "crate/Cargo.toml",
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    room.write(
        "crate/src/main.rs",
        "fn main() { println!(\"{}\", 6 * 7); }\n",
    );
    let manifest = room.path("crate/Cargo.toml");
    let argv = [
        env!("CARGO"),
        "build",
        "--offline",
        "--quiet",
        "--manifest-path",
    ];
    let argv: Vec<&str> = argv.into_iter().chain(manifest.to_str()).collect();
    let outcome = room.record("t.tape", &[], &argv);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (0, ""),
        "{outcome:?}"
    );
    room.wait_for_processes();
    assert_eq!(room.bare(&["crate/target/debug/tiny"]).stdout, "42\n");

    let mut rustc = 0;
    for tape in room.tapes() {
        let info = room.json(&["info", &tape]);
        // Some builds of rustc bring an allocator of their own, and their tapes say so.
        let info = match text(&info, "message") {
            "not recorded: brings its own allocator" => {
                assert_eq!(room.json(&["verify", &tape])["damaged"], 0, "{tape}");
                info
            }
            _ => assert_figures_agree(&room, &tape),
        };
        let command = info["command"][0].as_str().unwrap();
        if command.ends_with("rustc") && text(&info, "ended_by") == "exit:0" {
            rustc += 1;
        }
    }
    assert!(rustc >= 1, "{:?}", room.tapes());
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(text(&info, "ended_by"), "exit:0");
    assert!(
        info["command"][0].as_str().unwrap().contains("cargo"),
        "{info:#}"
    );
}
