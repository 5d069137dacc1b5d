//! Who made whom, and when each ended: double forks, daemons, forks under load, children that
//! outlive the process whose memory they work on.

use crate::truth_of;
use heaptape_tests::answers::{array, number, rows, text};
use heaptape_tests::{Room, build, repeats, send, wait_for};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

fn program(name: &str) -> String {
    build::c(name, &[]).to_str().unwrap().to_owned()
}

/// Name and facts of each tape of the room; every tape is clean.
fn facts(room: &Room) -> Vec<(String, Value)> {
    let tapes = room.tapes();
    tapes
        .into_iter()
        .map(|tape| (tape.clone(), room.assert_clean(&tape)))
        .collect()
}

/// The facts of the process that made seven blocks, of those in `lineage.c`.
fn assert_grandchild(room: &Room, context: &str) {
    let facts = facts(room);
    let grandchild = facts
        .iter()
        .find(|(_, info)| number(&info["events"], "alloc") == 7);
    let (tape, info) = grandchild.unwrap_or_else(|| panic!("{context}: {:?}", room.tapes()));
    let inherited = &info["inherited"];
    assert_eq!(
        (number(inherited, "bytes"), number(inherited, "count")),
        (6225, 50),
        "{context}: {info:#}"
    );
    assert_eq!(number(info, "inherited_frees"), 20, "{context}: {info:#}");
    assert_eq!(number(info, "unknown_frees"), 0, "{context}: {info:#}");
    assert_eq!(text(info, "ended_by"), "exit:6", "{context}");
    assert_eq!(truth_of(room, tape, "grandchild_grabs"), (7 * 33, 7));
    // The one in the middle made no event: it has no tape, and the first names the grandchild.
    assert_eq!(room.tapes(), [tape.as_str(), "t.tape"], "{context}");
    let first = room.assert_clean("t.tape");
    let children: Vec<_> = array(&first, "children").iter().collect();
    assert_eq!(children, [tape.as_str()], "{context}");
    assert_eq!(truth_of(room, "t.tape", "first_grabs"), (6225, 50));
}

/// The owner of an address that was allocated before the fork is no thread of the child's.
#[test]
fn an_inherited_block_says_that_it_was() {
    let room = Room::new();
    let argv = [program("inherits.c")];
    let said = room.record_as_bare_but_addresses("t.tape", &argv);
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    let object = |tape: &str| {
        let arguments = ["object", tape, said.trim(), "--exact"];
        room.heaptape(&arguments).success().stdout
    };
    let inherited = "    inherited from the parent process, which allocated it by calloc\n";
    let text = object(child);
    assert!(text.contains(inherited), "{text}");
    assert!(text.contains("4,321 bytes at"), "{text}");
    assert!(text.contains("ended by free in thread"), "{text}");
    assert!(text.contains("parent_takes  "), "{text}");
    let text = object("t.tape");
    assert!(text.contains("    allocated by calloc in thread"), "{text}");
    assert!(!text.contains("inherited"), "{text}");
}

/// Between a parent's tape and its child's, threads of one name are one row. What is inherited has
/// a row of its own: no thread of the child's made it, and none whose name is not known.
#[test]
fn inherited_blocks_are_of_no_thread() {
    let room = Room::new();
    let argv = [program("inherits.c")];
    room.record_as_bare_but_addresses("t.tape", &argv);
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    let by_thread = |arguments: &[&str]| {
        let options = ["--inherited", "--group-by", "thread"];
        room.json(&[arguments, &options].concat())
    };
    let at = |moment: &str| format!("{child}@{moment}");
    let all = rows(&by_thread(&["stats", child, "--at", "start"]));
    assert_eq!(all, [("<inherited>".to_owned(), (4321, 1))].into());
    let changes = |moment: &str| {
        let answer = by_thread(&["diff", "t.tape@end", &at(moment)]);
        let change = |row: &Value| {
            let of = |member: &str| row[member].as_i64().unwrap();
            (text(row, "key").to_owned(), of("bytes"), of("bytes_diff"))
        };
        array(&answer, "rows")
            .iter()
            .map(change)
            .collect::<Vec<_>>()
    };
    let main = |bytes: i64, diff| ("inherits".to_owned(), bytes, diff);
    let inherited = ("<inherited>".to_owned(), 4321, 4321);
    assert_eq!(changes("start"), [inherited, main(0, -4321)]);
    assert_eq!(changes("end"), [main(10, 10 - 4321)]);
}

/// Without the parent's tape a child's tells that it does not know all that was inherited.
#[test]
fn inherited_blocks_without_the_parents_tape() {
    let room = Room::new();
    let argv = [program("inherits.c")];
    room.record_as_bare_but_addresses("t.tape", &argv);
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    let unknown = "not all inherited blocks are known";
    let ask = |arguments: &[&str]| {
        let outcome = room.heaptape(&[arguments, &[child.as_str()]].concat());
        (outcome.code, outcome.stderr.contains(unknown))
    };
    let questions: [(&[&str], bool); 5] = [
        (&["stats"], false),
        (&["stats", "--inherited"], true),
        (&["leaks", "--inherited"], true),
        (&["check", "--fail-on", "bytes>1TiB"], false),
        (&["check", "--inherited", "--fail-on", "bytes>1TiB"], true),
    ];
    assert_eq!(room.json(&["info", child])["inherited_known"], true);
    for (question, _) in questions {
        assert_eq!(ask(question), (0, false), "{question:?}");
    }
    std::fs::remove_file(room.path("t.tape")).unwrap();
    let info = room.json(&["info", child]);
    assert_eq!(info["inherited_known"], false, "{info:#}");
    assert_eq!(info["complete"], true, "{info:#}");
    for (question, is_told) in questions {
        let code = if is_told && question[0] == "check" {
            2
        } else {
            0
        };
        assert_eq!(ask(question), (code, is_told), "{question:?}");
    }
}

#[test]
fn a_process_without_events_passes_its_inheritance_on() {
    let lineage = program("lineage.c");
    // Waits, and microseconds: before the ends and the forks, and before the first event.
    let timings = [
        "1 0 0 0 0",
        "0 0 0 0 0",
        "1 0 0 0 60000",
        "0 0 0 60000 30000",
        "0 90000 30000 0 60000",
        "1 30000 12000 60000 0",
    ];
    for round in 0..repeats(18) {
        let timing = timings[round as usize % timings.len()];
        let room = Room::new();
        let mut argv = vec![lineage.as_str()];
        argv.extend(timing.split(' '));
        let options: &[&str] = if round % 2 == 0 { &["--wait"] } else { &[] };
        let outcome = room.record("t.tape", options, &argv);
        let expected = if timing.starts_with('1') { 5 } else { 0 };
        assert_eq!(outcome.code, expected, "{timing}: {outcome:?}");
        room.wait_for_processes();
        assert_grandchild(&room, timing);
    }
}

/// The daemon's launcher returns at once, `$(…)` does not hang, and the daemon that holds no
/// descriptor is recorded to its end.
#[test]
fn a_daemons_tape_is_finished_later() {
    let room = Room::new();
    let heaptape = heaptape_tests::heaptape_path().display();
    let script = format!(
        "x=$('{heaptape}' run --quiet -o t.tape -- '{}' daemon done.txt 800 2>&1); \
         echo \"<$x> $?\"; test -e done.txt && echo late",
        program("family.c")
    );
    let outcome = room.bare(&["sh", "-c", &script]);
    assert_eq!(outcome.stdout, "<child 0> 0\n", "{outcome:?}");
    wait_for("the daemon", || {
        room.path("done.txt").exists().then_some(())
    });
    room.wait_for_processes();
    assert!(room.sessions().is_empty(), "{:?}", room.sessions());
    let facts = facts(&room);
    assert_eq!(facts.len(), 2, "{facts:?}");
    let (tape, daemon) = &facts[0];
    assert_eq!(truth_of(&room, tape, "child_grabs"), (300 * 200, 300));
    assert_eq!(text(daemon, "ended_by"), "exit:0");
    let inherited = &daemon["inherited"];
    assert!(number(inherited, "count") >= 100, "{daemon:#}");
    assert_eq!(array(&facts[1].1, "children").len(), 1, "{:#}", facts[1].1);
    // It slept 800 ms before its first allocation, and the first process did not wait for that.
    assert!(number(daemon, "duration_ns") >= 800_000_000, "{daemon:#}");
}

/// From a tape's start to its end, in nanoseconds of the wall clock.
fn life(info: &Value) -> (u64, u64) {
    let start = number(info, "started_unix_ns");
    (start, start + number(info, "duration_ns"))
}

/// A child that ends long before its parent: each tape has its own life's length.
#[test]
fn a_childs_tape_ends_with_the_child() {
    let room = Room::new();
    room.record_as_bare("t.tape", &[&program("lives.c"), "200", "600"]);
    room.wait_for_processes();
    let facts = facts(&room);
    assert_eq!(facts.len(), 2, "{facts:?}");
    let (child, parent) = (&facts[0].1, &facts[1].1);
    assert_eq!(text(child, "ended_by"), "exit:3");
    let ((child_from, child_to), (from, to)) = (life(child), life(parent));
    let lives = format!("child {child_from} to {child_to}, parent {from} to {to}");
    assert!(from <= child_from && child_to <= to, "{lives}");
    assert!(child_to - child_from >= 200_000_000, "{lives}");
    assert!(to - child_to >= 600_000_000, "{lives}");
}

/// The child of a raw system call ends by one: where the kernel keeps how, it is told.
#[test]
fn the_kernel_tells_how_a_descendant_ended() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    for (ending, exact) in [
        ("raw", "exit:5"),
        ("kill", "signal:9"),
        ("abort", "signal:15"),
    ] {
        for how in ["fork", "clone"] {
            let room = Room::new();
            room.record_as_bare("t.tape", &[&program("family.c"), "slow-fork", how, ending]);
            room.wait_for_processes();
            let child = &facts(&room)[0].1;
            let ended = text(child, "ended_by");
            let is_unknown = ended == "unknown" && version < (6, 15);
            assert!(ended == exact || is_unknown, "{release} {how}: {child:#}");
        }
    }
}

/// Forks of a program whose other threads allocate: no hang, and every child's tape is whole.
#[test]
fn forks_under_allocation_load() {
    let room = Room::new();
    let forks = repeats(100);
    let argv = [program("forks.c"), "50".to_owned(), forks.to_string()];
    let outcome = room.record_as_bare("t.tape", &argv);
    assert_eq!(outcome.stdout, format!("{forks} children\n"));
    room.wait_for_processes();
    let mut children = 0;
    for (tape, info) in facts(&room) {
        assert_eq!(text(&info, "ended_by"), "exit:0", "{tape}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{tape}: {info:#}");
        let grabs = truth_of(&room, &tape, "child_grabs");
        if tape == "t.tape" {
            assert_eq!(grabs, (0, 0));
        } else {
            children += 1;
            assert_eq!(grabs, (20 * 40, 20), "{tape}");
        }
    }
    assert_eq!(children, forks);
}

/// Records `orphan.c`, kills it while its `vfork` child writes, and waits for that.
fn orphan(room: &Room, arguments: &[&str]) -> (PathBuf, i32) {
    let report = room.write("report", [0; 4096]);
    let path = report.to_str().unwrap().to_owned();
    let program = program("orphan.c");
    let argv = [&[program.as_str(), &path], arguments].concat();
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    let pid = wait_for("the child to be half done", || {
        (word(&report, 2) == 1).then(|| word(&report, 0) as u32)
    });
    send(pid, libc::SIGKILL);
    let outcome = running.finish();
    room.wait_for_processes();
    (report, outcome.code)
}

fn word(path: &PathBuf, index: u64) -> u64 {
    let mut bytes = [0; 8];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut bytes, index * 8).unwrap();
    u64::from_le_bytes(bytes)
}

/// What the child of `orphan.c` made is in its dead parent's tape, all of it.
fn assert_orphans_blocks(room: &Room, report: &PathBuf, blocks: u64) {
    assert_eq!(word(report, 1), blocks, "the child was harmed");
    let info = room.assert_clean("t.tape");
    assert_eq!(text(&info, "ended_by"), "signal:9");
    let bytes = (0..blocks).map(|k| 24 + k % 8).sum();
    assert_eq!(truth_of(room, "t.tape", "orphan_grabs"), (bytes, blocks));
    assert_eq!(truth_of(room, "t.tape", "parent_grabs"), (100 * 50, 100));
}

#[test]
fn a_vfork_child_outlives_its_parent() {
    for blocks in [2_000, 200_000] {
        let room = Room::new();
        let (report, code) = orphan(&room, &[&blocks.to_string()]);
        assert_eq!(code, 137);
        assert_orphans_blocks(&room, &report, blocks);
        assert_eq!(room.tapes(), ["t.tape"]);
    }
}

#[test]
fn a_vfork_child_outlives_its_parent_and_becomes_a_program() {
    let room = Room::new();
    let family = program("family.c");
    let (report, code) = orphan(&room, &["2000", &family, "work", "6"]);
    assert_eq!(code, 137);
    assert_orphans_blocks(&room, &report, 2000);
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 2, "{tapes:?}");
    assert_eq!(
        truth_of(&room, &tapes[0], "after_exec_grabs"),
        (500 * 30, 500)
    );
    let info = room.assert_clean(&tapes[0]);
    assert_eq!(text(&info, "ended_by"), "exit:6");
    assert_eq!(number(&info["inherited"], "count"), 0);
}

/// The child of `posix_spawn` waits in its preparations while its parent is killed.
#[test]
fn a_slow_spawn_outlives_its_parent() {
    let room = Room::new();
    let fifo = room.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let family = program("family.c");
    let fifo = fifo.to_str().unwrap();
    let argv = [&program("spawn.c"), fifo, &family, "work", "8"];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    let pid: u32 = wait_for("the program", || {
        let line = running.stdout_so_far();
        line.strip_prefix("pid ")?.strip_suffix('\n')?.parse().ok()
    });
    let child = wait_for("the child", || {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children.trim().parse::<u32>().ok()
    });
    send(pid, libc::SIGKILL);
    assert_eq!(running.finish().code, 137);
    assert!(Path::new(&format!("/proc/{child}")).exists());
    // Only now the child's preparations can end.
    drop(File::options().write(true).open(fifo).unwrap());
    room.wait_for_processes();
    let facts = facts(&room);
    assert_eq!(facts.len(), 2, "{facts:?}");
    assert_eq!(text(&facts[0].1, "ended_by"), "exit:8");
    assert_eq!(text(&facts[1].1, "ended_by"), "signal:9");
    assert_eq!(truth_of(&room, "t.tape", "parent_grabs"), (100 * 50, 100));
    assert_eq!(
        truth_of(&room, &facts[0].0, "after_exec_grabs"),
        (500 * 30, 500)
    );
}

/// A forked child that can open no file runs its parent's program all the same.
#[test]
fn a_child_that_opens_no_file_has_its_parents_command() {
    let room = Room::new();
    let argv = [program("sealed.c"), "8".to_owned()];
    room.record_as_bare("t.tape", &argv);
    room.wait_for_processes();
    let facts = facts(&room);
    assert_eq!(facts.len(), 9, "{:?}", room.tapes());
    for (tape, info) in facts {
        let command: Vec<_> = array(&info, "command").iter().collect();
        assert_eq!(command, argv.each_ref(), "{tape}: {info:#}");
        let made = if tape == "t.tape" { (0, 0) } else { (800, 20) };
        assert_eq!(truth_of(&room, &tape, "child_grabs"), made, "{tape}");
    }
}

/// A static program is not recorded; what it starts is on request, wherever in the tree it stands.
#[test]
fn children_of_a_static_child_are_recorded() {
    let build = |source: &str, name: &str| {
        let path = build::build("cc", source, name, &["-O2", "-static"]);
        path.to_str().unwrap().to_owned()
    };
    let parent = build("parent.c", "parent-static");
    let start = build("start.c", "start-static");
    let family = program("family.c");
    let cases = [
        // Its child, and it becomes one itself: as children of a shell.
        (format!("'{parent}' '{family}' work 4; exit 3"), 3, false),
        (format!("'{start}' '{family}' work 4; exit 3"), 3, false),
        (
            format!("'{parent}' '{start}' '{family}' work 4; exit 3"),
            3,
            false,
        ),
        // It took the shell's place.
        (format!("exec '{parent}' '{family}' work 4"), 4, false),
        (format!("exec '{start}' '{family}' work 4"), 4, true),
        (
            format!("exec '{start}' '{start}' '{family}' work 4"),
            4,
            true,
        ),
    ];
    for (script, code, is_last) in cases {
        let room = Room::new();
        let argv = ["sh", "-c", &script];
        let outcome = room.record("t.tape", &["--through-static"], &argv);
        assert_eq!(outcome, room.bare(&argv), "{script}");
        assert_eq!(outcome.code, code, "{script}");
        room.wait_for_processes();
        let facts = facts(&room);
        let grabs = |tape: &str| truth_of(&room, tape, "after_exec_grabs");
        let found: Vec<_> = facts
            .iter()
            .filter(|(tape, _)| grabs(tape) == (500 * 30, 500))
            .collect();
        assert_eq!(found.len(), 1, "{script}: {:?}", room.tapes());
        let (tape, info) = found[0];
        assert_eq!(text(info, "ended_by"), "exit:4", "{script}");
        // The name is that of the first process's last image that was recorded.
        assert_eq!(tape == "t.tape", is_last, "{script}: {:?}", room.tapes());
        let of = |key: &str| {
            let all = facts.iter().flat_map(|(_, info)| array(info, key));
            all.collect::<Vec<_>>()
        };
        // What is named is one of the tapes, and the static program is named by whoever started it.
        if !is_last {
            assert!(
                of("children").iter().any(|child| *child == tape.as_str()),
                "{script}"
            );
        }
        let named = of("not_recorded");
        assert!(!named.is_empty(), "{script}");
        assert!(
            named
                .iter()
                .all(|image| image["reason"] == "static executable"),
            "{script}: {named:?}"
        );
    }
}

/// What is inherited, and how much of it is freed, is told of the heap and of pools apart.
#[test]
fn inherited_blocks_of_pools_are_no_part_of_the_heaps() {
    let room = Room::new();
    let program = build::c("pool_fork.c", &[]);
    room.record("t.tape", &["--wait"], &[program]).success();
    let tapes = room.tapes();
    let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
    let info = room.assert_clean(child);
    assert!(number(&info["inherited"], "bytes") >= 3000, "{info:#}");
    assert_eq!(number(&info, "inherited_frees"), 2, "{info:#}");
    let pools = &info["inherited_pools"];
    let pools = (number(pools, "bytes"), number(pools, "count"));
    assert_eq!(pools, (192, 3), "{info:#}");
    assert_eq!(number(&info, "inherited_pool_frees"), 1, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let said = room.heaptape(&["info", child]).success().stdout;
    assert!(said.contains("in pools, 1 freed since"), "{said}");
}
