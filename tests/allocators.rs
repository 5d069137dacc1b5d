//! Allocators that programs bring: their own entry points and `operator new`, linked and
//! preloaded; and programs that only look whether one is there.

use heaptape_tests::answers::{array, number, rows, text};
use heaptape_tests::{Outcome, Room, build};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/usr/lib/x86_64-linux-gnu";
const LINKED: [&str; 3] = ["jemalloc", "mimalloc", "tcmalloc_minimal"];

fn new_delete(library: Option<&str>) -> PathBuf {
    let link = library.map_or(String::new(), |name| format!("-l{name}"));
    let options = ["-std=c++17", "-Wl,--no-as-needed", &link];
    let count = if link.is_empty() { 2 } else { 3 };
    build::cpp("new_delete.cpp", &options[..count])
}

/// Allocations of each function over the whole run.
fn allocations(room: &Room, tape: &str) -> BTreeMap<String, (u64, u64)> {
    let churn = room.json(&["churn", tape, "--group-by", "function"]);
    let rows = array(&churn, "rows").iter();
    rows.map(|row| {
        let amount = (number(row, "bytes_allocated"), number(row, "allocations"));
        (text(row, "key").to_owned(), amount)
    })
    .collect()
}

/// Every block of `new_delete.cpp` is there once, and lives as long as it did.
fn check_new_delete(room: &Room, tape: &str, throws: bool) {
    let info = room.assert_clean(tape);
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let made = allocations(room, tape);
    let end = room.json(&["stats", tape, "--at", "end", "--group-by", "function"]);
    let alive = rows(&end);
    let kept = [
        ("keep_new", (10 * 48, 10)),
        ("keep_array", (3000, 3)),
        ("keep_aligned", (4 * 128, 4)),
        ("keep_nothrow", (5 * 24, 5)),
    ];
    let after_throw = ("deep_after_throw", (7 * 80, 7));
    for (name, amount) in kept.iter().chain(throws.then_some(&after_throw)) {
        assert_eq!(made.get(*name), Some(amount), "{name}: {made:#?}");
        assert_eq!(alive.get(*name), Some(amount), "{name}: {alive:#?}");
    }
    let churned = (100 * (32 + 64 + 128 + 16), 400);
    assert_eq!(made.get("churn_new"), Some(&churned), "{made:#?}");
    assert_eq!(alive.get("churn_new"), None, "{alive:#?}");
    // A vector of 1000 numbers grows 11 times (1, 2, 4 .. 1024); a node and a text for each name,
    // and the text that is moved there.
    let node = 32 + 8 + 32;
    let grown = (4 * 2047 + 1000 * (node + 101), 11 + 2000);
    assert_eq!(made.get("containers"), Some(&grown), "{made:#?}");
    assert_eq!(alive.get("containers"), None, "{alive:#?}");
}

fn preloaded(room: &Room, tape: &str, library: &Path, argv: &[&Path]) -> Outcome {
    let mut bare = room.command(argv[0]);
    let bare = room.run(bare.args(&argv[1..]).env("LD_PRELOAD", library));
    let mut command = room.record_command(tape, &[], argv);
    let recorded = room.run(command.env("LD_PRELOAD", library));
    assert_eq!(recorded, bare, "recorded (left) differs from bare");
    recorded
}

#[test]
fn operator_new_of_a_linked_allocator_is_recorded_once() {
    for name in LINKED {
        let room = Room::new();
        let program = new_delete(Some(name));
        room.record_as_bare("t.tape", &[&program]).success();
        check_new_delete(&room, "t.tape", false);
    }
}

#[test]
fn an_exception_of_operator_new_passes_and_hides_nothing() {
    // Debian's mimalloc ends the program in place of an exception, recorded or not.
    for name in ["jemalloc", "tcmalloc_minimal"] {
        let room = Room::new();
        let program = new_delete(Some(name));
        let outcome = room
            .record_as_bare("t.tape", &[program.as_os_str(), "throw".as_ref()])
            .success();
        assert_eq!(outcome.stdout.matches("caught\n").count(), 5, "{outcome:?}");
        check_new_delete(&room, "t.tape", true);
    }
}

#[test]
fn also_of_a_preloaded_one_and_through_a_shell() {
    let program = new_delete(None);
    for name in LINKED {
        let library = Path::new(FOLDER).join(format!("lib{name}.so"));
        let room = Room::new();
        preloaded(&room, "t.tape", &library, &[&program]).success();
        check_new_delete(&room, "t.tape", false);
        // Another image on the way there: the recorder itself chooses for the second.
        preloaded(&room, "u.tape", &library, &[Path::new("env"), &program]).success();
        check_new_delete(&room, "u.tape", false);
    }
    // And without any of them it is as it always was.
    let room = Room::new();
    let arguments = [program.as_os_str(), "throw".as_ref()];
    room.record_as_bare("t.tape", &arguments).success();
    check_new_delete(&room, "t.tape", true);
}

#[test]
fn prefixed_entry_points_are_recorded_once() {
    let je = build::c_library("je_library.c", "libjemalloc_prefixed.so", &[]);
    let folder = je.parent().unwrap().display().to_string();
    let [path, rpath] = [format!("-L{folder}"), format!("-Wl,-rpath,{folder}")];
    let linked: [(&[&str], &[u64]); 4] = [
        (&["-DPREFIX=je_", &path, &rpath, "-ljemalloc_prefixed"], &[]),
        (
            &["-DPREFIX=", "-DJEMALLOC", "-ljemalloc"],
            &[11, 22, 5000, 110],
        ),
        (
            &["-DPREFIX=mi_", "-DMIMALLOC", "-lmimalloc"],
            &[11, 22, 33, 44, 55, 6, 4],
        ),
        (
            &["-DPREFIX=tc_", "-DTCMALLOC", "-ltcmalloc_minimal"],
            &[11, 22, 33],
        ),
    ];
    for (options, others) in linked {
        let room = Room::new();
        let program = build::c("prefixed.c", options);
        let outcome = room.record_as_bare("t.tape", &[&program]).success();
        assert_eq!(outcome.stdout, format!("{} blocks\n", 25 + others.len()));
        let info = room.json(&["info", "t.tape"]);
        assert_eq!(number(&info, "unknown_frees"), 0, "{options:?}: {info:#}");
        let made = allocations(&room, "t.tape");
        let end = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "function"]);
        let alive = rows(&end);
        for (name, amount) in [
            ("keep_malloc", (1000, 10)),
            ("keep_calloc", (750, 5)),
            ("keep_aligned", (2048, 4)),
            ("keep_realloc", (6 * 70_000, 6)),
        ] {
            assert_eq!(
                alive.get(name),
                Some(&amount),
                "{options:?} {name}: {alive:#?}"
            );
        }
        let sum = (others.iter().sum(), others.len() as u64);
        let found = alive.get("others").copied().unwrap_or_default();
        assert_eq!(found, sum, "{options:?}: {alive:#?}");
        assert_eq!(made.get("keep_malloc"), Some(&(1000, 10)), "{made:#?}");
        // Its 100 reallocations count as what they made.
        let churned = (100 * (24 + 48) + 20, 201);
        assert_eq!(
            made.get("churn_malloc"),
            Some(&churned),
            "{options:?}: {made:#?}"
        );
        for name in ["churn_malloc", "look_for_another"] {
            assert_eq!(alive.get(name), None, "{options:?}: {alive:#?}");
        }
    }
}

#[test]
fn a_program_that_looks_for_an_allocator_finds_none() {
    let room = Room::new();
    let program = build::c("weak_allocator.c", &[]);
    let outcome = room.record_as_bare("t.tape", &[&program]).success();
    assert_eq!(outcome.stdout, "absent\n".repeat(5));
}

#[test]
fn marks_and_reports_come_from_programs_linked_in_any_way() {
    let room = Room::new();
    let linked: [(&str, &[&str]); 5] = [
        ("cc", &["-fno-pie", "-no-pie"]),
        ("cc", &["-fPIE", "-pie"]),
        ("cc", &["-fno-pie", "-no-pie", "-O0", "-flto"]),
        ("cc", &["-masm=intel"]),
        ("c++", &["-xc++", "-fno-pie", "-no-pie"]),
    ];
    for (compiler, options) in linked {
        // The language is told before the file that it is for.
        let source = if compiler == "c++" {
            "marks.cpp"
        } else {
            "marks.c"
        };
        let options: Vec<&str> = options.iter().copied().filter(|o| *o != "-xc++").collect();
        let program = build::build(compiler, source, "marks", &options);
        let outcome = room.record_as_bare("t.tape", &[&program]).success();
        assert_eq!(outcome.stdout, "marked\n");
        for (moment, bytes, count) in [("mark:first", 1000, 1), ("mark:second", 3000, 2)] {
            let stats = room.json(&["stats", "t.tape", "--at", moment, "--group-by", "function"]);
            let found = rows(&stats);
            let kept = found.iter().find(|(name, _)| name.starts_with("keep"));
            let amount = kept.map(|(_, amount)| *amount);
            assert_eq!(
                amount,
                Some((bytes, count)),
                "{compiler} {options:?}: {found:#?}"
            );
        }
        let own = room.json(&["stats", "t.tape", "--at", "end", "--domain", "own"]);
        assert_eq!(number(&own["total"], "bytes"), 77, "{options:?}: {own:#}");
        for name in ["t.tape", "t.tape.idx"] {
            let _ = std::fs::remove_file(room.path(name));
        }
    }
    // A static one is not recorded, and runs as bare.
    let program = build::build("cc", "marks.c", "marks", &["-static"]);
    let bare = room.bare(&[&program]).success();
    assert_eq!(bare.stdout, "marked\n");
    assert_eq!(room.record("s.tape", &[], &[&program]), bare);
}
