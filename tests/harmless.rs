//! The recorded program does not notice: each program does a thing that a recorder could disturb,
//! checks itself, and runs the same bare and recorded; where it knows how many blocks it made in a
//! function, the tape says the same. Here: what stays within a process. The rest is in
//! `harmless_ways.rs`.
//!
//! What a program does, and where that is tried: a test of these two files, or another file's
//! tests. `P` is `recorder/preload/tests/end_to_end`, `S` is `recorder/preload/tests/stacks`.
//!
//! | what the program does | where |
//! |---|---|
//! | looks at descriptors, threads, signals, errno | `nothing_is_there_that_was_not_there` |
//! | allocates in constructors, destructors, `atexit` | `blocks_of_all_occasions`, P allocators |
//! | allocates in destructors of threads | `blocks_of_all_occasions`, P threads |
//! | allocates in `pthread_atfork` handlers | `blocks_of_handlers_of_fork` |
//! | allocates in signal handlers | `blocks_of_signal_handlers` |
//! | the same inside a hook, at each instruction | P signals |
//! | has tiny alternate stacks | `handlers_on_tiny_stacks` |
//! | switches stacks by `swapcontext` | `coroutines_on_small_stacks`, S differential |
//! | throws exceptions | `exceptions_and_jumps`, allocators, S differential |
//! | jumps by `longjmp`, also out of handlers | `exceptions_and_jumps`, P signals |
//! | cancels threads, deferred and at once; leaves them | `cancelled_threads` |
//! | leaves and cancels threads with destructors | `exceptions_and_jumps` |
//! | makes 10,000 threads over time | `ten_thousand_threads`, processes |
//! | has 2,000 threads at once | `two_thousand_threads_at_once`, crowd |
//! | loads and unloads from two threads while others work | `a_storm_of_libraries`, libraries |
//! | opens a library with `RTLD_DEEPBIND` | `a_library_that_binds_itself_first` |
//! | opens a library by `dlmopen` | `a_library_in_its_own_namespace` |
//! | uses `malloc_usable_size`, `mallopt` and their like | `tools_around_the_allocator` |
//! | asks for nothing, too much, wrongly | `contracts_of_the_entry_points`, P calls |
//! | forks while many threads allocate | lineage (1000 times in `.ci/long`) |
//! | uses vfork, exec, posix_spawn | processes, lineage, P children |
//! | spawns with closed descriptors | `spawned_without_descriptors` |
//! | clones with `CLONE_VM` | `children_in_the_same_memory` |
//! | gives exec bad pointers | `bad_pointers_to_exec` |
//! | removes files that it did not make | `a_session_whose_file_is_removed` |
//! | execs from a thread | `another_image_from_a_thread` |
//! | becomes a daemon | `daemons`, processes, lineage |
//! | calls `closefrom`, `close_range` | `closed_from_below`, faults |
//! | has a small stack (RLIMIT_STACK) | `small_stacks` |
//! | may start nothing (RLIMIT_NPROC) | `no_more_threads_and_processes` |
//! | has other limits (RLIMIT_AS, NOFILE, FSIZE) | faults, tight_memory, P faults |
//! | is setuid | not_recorded |
//! | has file capabilities | `an_executable_with_capabilities` |
//! | becomes another user | `no_more_threads_and_processes`, nested |
//! | is in another root folder | nested |
//! | forbids itself system calls | forbidden |
//! | brings an allocator; its inner calls | allocators, nested, P allocators |
//! | was built with a sanitizer | not_recorded, P images |
//! | does not allocate while the drainer dies | `a_busy_program_outlives_its_drainer` |
//! | allocates while the drainer dies | recovery |
//! | allocates while the drainer is stopped | `a_stopped_drainer_is_waited_for_and_left` |
//! | all that CPython's own tests do | suites (in `.ci/long`) |
//! | serves and is asked (redis), compiles (make, gcc), is under stress | suites, real_programs |

use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Room, build};
use std::collections::BTreeMap;

/// Function → (blocks, bytes).
pub(crate) type Made = BTreeMap<String, (u64, u64)>;

/// What each function made, as the tape has it.
pub(crate) fn in_tape(room: &Room, tape: &str) -> Made {
    let churn = room.json(&["churn", tape, "--group-by", "function"]);
    let rows = array(&churn, "rows").iter();
    rows.map(|row| {
        let amount = (number(row, "allocations"), number(row, "bytes_allocated"));
        (text(row, "key").to_owned(), amount)
    })
    .collect()
}

/// What the program says in its lines `made FUNCTION BLOCKS BYTES`.
pub(crate) fn as_told(stdout: &str) -> Vec<(&str, (u64, u64))> {
    let lines = stdout.lines().filter_map(|line| line.strip_prefix("made "));
    let told: Vec<_> = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [blocks, bytes] = [words[1], words[2]].map(|word| word.parse().unwrap());
            (words[0], (blocks, bytes))
        })
        .collect();
    assert!(!told.is_empty(), "the program does not tell: {stdout}");
    told
}

/// The tape has of each function what the program says that it made.
pub(crate) fn assert_made(room: &Room, tape: &str, stdout: &str) {
    let found = in_tape(room, tape);
    for (function, amount) in as_told(stdout) {
        let recorded = found.get(function).copied().unwrap_or_default();
        assert_eq!(recorded, amount, "{function} in {tape}: {found:#?}");
    }
}

/// Runs `argv` bare and recorded with the same output, ending with `code`; the tape says what the
/// program says. What it wrote.
pub(crate) fn same_and_made(room: &Room, argv: &[&str], code: i32) -> String {
    let outcome = room.record_as_bare("t.tape", argv);
    assert_eq!(outcome.code, code, "{argv:?}: {outcome:?}");
    assert_made(room, "t.tape", &outcome.stdout);
    assert_no_unknown_frees(room);
    outcome.stdout
}

/// As [`same_and_made`], for a program whose figures are chance.
pub(crate) fn alike_and_made(room: &Room, argv: &[&str], code: i32) {
    let stdout = room.record_as_bare_but_addresses("t.tape", argv);
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(text(&info, "ended_by"), format!("exit:{code}"), "{stdout}");
    assert_made(room, "t.tape", &stdout);
    assert_no_unknown_frees(room);
}

fn assert_no_unknown_frees(room: &Room) {
    let info = room.json(&["info", "t.tape"]);
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
}

/// A program of `targets/`, built.
pub(crate) fn program(name: &str) -> String {
    let path = if name.ends_with(".cpp") {
        build::cpp(name, &[])
    } else {
        build::c(name, &[])
    };
    path.to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_there_that_was_not_there() {
    let room = Room::new();
    let outcome = room.record_as_bare("t.tape", &[program("surroundings.c")]);
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    for moment in ["constructor", "deaf thread", "child, after it allocated"] {
        assert!(outcome.stdout.contains(moment), "{}", outcome.stdout);
    }
    room.wait_for_processes();
    // The program, its child, and the image that it starts.
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 3, "{tapes:?}");
    let made: Vec<Made> = tapes.iter().map(|tape| in_tape(&room, tape)).collect();
    let told = as_told(&outcome.stdout);
    assert_eq!(told.len(), 2, "{told:?}");
    for (function, amount) in told {
        let has = made
            .iter()
            .filter(|found| found.get(function) == Some(&amount));
        assert_eq!(has.count(), 1, "{function} {amount:?}: {made:#?}");
    }
}

#[test]
fn blocks_of_all_occasions() {
    let program = program("occasions.cpp");
    for (how, code) in [("exit", 5), ("quick", 4)] {
        let room = Room::new();
        let stdout = same_and_made(&room, &[&program, how], code);
        assert!(stdout.contains("made in_exit_handler "), "{stdout}");
    }
}

#[test]
fn blocks_of_handlers_of_fork() {
    let room = Room::new();
    let stdout = same_and_made(&room, &[&program("occasions.cpp"), "fork"], 5);
    assert!(stdout.contains("made before_fork 20 "), "{stdout}");
    room.wait_for_processes();
    let tapes = room.tapes();
    assert_eq!(tapes.len(), 11, "{tapes:?}");
    for tape in tapes.iter().filter(|tape| *tape != "t.tape") {
        room.assert_clean(tape);
        let made = in_tape(&room, tape);
        assert_eq!(made.get("in_forked_child"), Some(&(2, 67)), "{tape}");
        assert_eq!(made.len(), 1, "{tape}: {made:?}");
    }
}

#[test]
fn blocks_of_signal_handlers() {
    let program = program("handlers.c");
    let room = Room::new();
    let stdout = same_and_made(&room, &[&program, "raised"], 6);
    assert!(stdout.contains("made handler_makes 1000 "), "{stdout}");
    // Where a timer finds the program is chance.
    let room = Room::new();
    alike_and_made(&room, &[&program, "timer"], 6);
}

/// Bare, a handler that allocates needs some 1200 bytes beside the kernel's own frame.
#[test]
fn handlers_on_tiny_stacks() {
    let room = Room::new();
    same_and_made(&room, &[&program("handlers.c"), "tiny", "3072"], 6);
}

/// One page is enough, also where the stack enters a library for the first time.
#[test]
fn coroutines_on_small_stacks() {
    let options = ["-DNAME=plugin_made", "-DSIZE=100"];
    let library = build::c_library("plugin.c", "libplugin_made.so", &options);
    let library = library.to_str().unwrap();
    for bytes in ["4096", "65536"] {
        let room = Room::new();
        same_and_made(&room, &[&program("coroutines.c"), bytes, library], 7);
    }
}

#[test]
fn exceptions_and_jumps() {
    let room = Room::new();
    same_and_made(&room, &[&program("thrown.cpp")], 8);
}

/// No call of the allocator is a cancellation point, and all cleanup handlers run.
#[test]
fn cancelled_threads() {
    let room = Room::new();
    alike_and_made(&room, &[&program("cancelled.c"), "100000"], 9);
}

#[test]
fn ten_thousand_threads() {
    let room = Room::new();
    let outcome = room.record_as_bare("t.tape", &[&program("threads.c"), "10000"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "10000 threads\n")
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(number(&info, "threads"), 10_001, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    let made = in_tape(&room, "t.tape");
    let expected = [
        ("thread_keeps", (50_000, 50_000 * 40)),
        ("thread_wastes", (20_000, 20_000 * 60)),
        ("thread_hands_over", (30_000, 30_000 * 80)),
    ];
    for (function, amount) in expected {
        assert_eq!(made.get(function), Some(&amount), "{function}");
    }
}

#[test]
fn two_thousand_threads_at_once() {
    let room = Room::new();
    let outcome = room.record_as_bare("t.tape", &[&program("crowd.c"), "2000"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "2000 live at once\n")
    );
    let info = room.assert_clean("t.tape");
    assert_eq!(number(&info, "threads"), 2001, "{info:#}");
    let made = in_tape(&room, "t.tape");
    assert_eq!(made.get("crowd_keeps"), Some(&(80_000, 80_000 * 24)));
    assert_eq!(made.get("crowd_wastes"), Some(&(120_000, 120_000 * 100)));
}

#[test]
fn tools_around_the_allocator() {
    let room = Room::new();
    let stdout = same_and_made(&room, &[&program("tools.c")], 12);
    assert!(stdout.contains("in use "), "{stdout}");
}

#[test]
fn contracts_of_the_entry_points() {
    let room = Room::new();
    let outcome = room.record_as_bare("t.tape", &[program("contracts.c")]);
    assert_eq!(outcome.code, 13, "{outcome:?}");
    // Of all calls exactly those that gave a block are in the tape, and nothing else.
    let last = outcome.stdout.lines().last().unwrap();
    let all: u64 = last.strip_prefix("in all ").unwrap().parse().unwrap();
    let info = room.json(&["info", "t.tape"]);
    let events = &info["events"];
    let given = number(events, "alloc") + number(events, "realloc");
    assert_eq!(given, all, "{info:#}");
    assert_eq!(number(events, "free"), number(events, "alloc"), "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
}
