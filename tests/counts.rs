//! The counts of deterministic programs against valgrind's and heaptrack's.
//!
//! memcheck counts a `realloc` as an allocation and a free, heaptrack as a call to an allocation
//! function, and the tape as one `realloc`: so `alloc + realloc` of the tape is compared with
//! "total heap usage: N allocs" and with "calls to allocation functions".
//!
//! - valgrind counts nothing otherwise: neither sees the dynamic loader's own calls before it can
//!   be interposed.
//! - heaptrack's library loads libstdc++, whose start-up allocates once (the pool for exceptions)
//!   in programs that do not bring it themselves: the count of a program without any allocation is
//!   subtracted.
//!
//! sqlite3 and the assembler make the same calls in every run, and are compared exactly. cc1plus
//! does not: it keeps hash tables of pointers, and how often one is rebuilt (a `calloc` of 32 or
//! 64 KiB each) depends on addresses. Bare, the same command makes 243,686 or 243,687 allocations
//! from run to run, and 243,688 at valgrind's addresses; so there [`TABLES_REBUILT`] calls may
//! differ. That it is those calls and no others is a test of its own: two recordings are equal,
//! call stack by call stack, but for [`CALLS_BY_ADDRESS`].

use heaptape_tests::answers::number;
use heaptape_tests::{Room, build};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tables of cc1plus that one run rebuilds and another does not; see above.
const TABLES_REBUILT: u64 = 3;
/// Bytes of the largest such table.
const TABLE_BYTES: u64 = 65_536;

/// The functions of cc1plus that allocate, or not, by where earlier blocks lie: tables of pointers,
/// and the collector's table of pages, which takes an entry when a page is first used (the same
/// number in every run, on behalf of other callers).
const CALLS_BY_ADDRESS: [&str; 2] = ["allocator>::expand()", "ggc_internal_alloc"];
/// The last columns of `churn`, after the stack and its first frame.
const COLUMNS_AFTER_STACK: &str =
    ",allocations,bytes_allocated,temporary,temporary_bytes,mean_lifetime_ns,max_lifetime_ns";

/// What a tool says before a number, and the number with its separators.
fn number_before(text: &str, word: &str) -> u64 {
    let line = text.lines().find(|line| line.contains(word));
    let line = line.unwrap_or_else(|| panic!("no {word:?} in {text}"));
    let end = line.find(word).unwrap();
    let digits = line[..end]
        .trim()
        .rsplit(' ')
        .next()
        .unwrap()
        .replace(',', "");
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number before {word:?} in {line}"))
}

fn valgrind(room: &Room, argv: &[String]) -> (u64, u64) {
    let valgrind = build::needed_program("valgrind", "valgrind");
    let mut command = room.command(valgrind);
    command
        .args(["--undef-value-errors=no", "--leak-check=no"])
        .args(argv);
    let outcome = room.run(&mut command);
    let text = outcome.stderr;
    (
        number_before(&text, " allocs,"),
        number_before(&text, " bytes allocated"),
    )
}

fn heaptrack(room: &Room, argv: &[String]) -> u64 {
    let heaptrack = build::needed_program("heaptrack", "heaptrack");
    let mut command = room.command(heaptrack);
    command.args(["-o"]).arg(room.path("heaptrack")).args(argv);
    let outcome = room.run(&mut command);
    let words: Vec<&str> = outcome.stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "allocations:");
    let at = at.unwrap_or_else(|| panic!("heaptrack says nothing of allocations: {outcome:?}"));
    words[at + 1].parse().unwrap()
}

/// Compares the tape's counts with both tools': up to `slack` calls may differ.
fn compare(argv: &[String], heaptrack_adds: u64, slack: u64) {
    let room = Room::new();
    room.record_as_bare("t.tape", argv);
    let info = room.assert_clean("t.tape");
    let events = &info["events"];
    let count = number(events, "alloc") + number(events, "realloc");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    assert!(count > 1000, "{info:#}");
    let close = |what: &str, ours: u64, theirs: u64, slack: u64| {
        assert!(
            ours.abs_diff(theirs) <= slack,
            "{what}: {theirs}, the tape has {ours}: {info:#}"
        );
    };
    let (allocs, bytes) = valgrind(&room, argv);
    close("valgrind's allocations", count, allocs, slack);
    let allocated = number(&info, "bytes_allocated");
    close("valgrind's bytes", allocated, bytes, slack * TABLE_BYTES);
    let calls = heaptrack(&room, argv) - heaptrack_adds;
    close("heaptrack's calls", count, calls, slack);
}

/// What heaptrack counts in a program that allocates nothing.
fn heaptrack_alone() -> u64 {
    let nothing = build::c("nothing.c", &[]).to_str().unwrap().to_owned();
    let own = heaptrack(&Room::new(), &[nothing]);
    assert!(own <= 1, "heaptrack makes {own} allocations of its own");
    own
}

#[test]
fn sqlite_counts_as_valgrind_and_heaptrack_do() {
    let sqlite = build::needed_program("sqlite3", "sqlite3");
    let script = format!(".read {}", build::source("load.sql").display());
    let argv = [
        sqlite.to_str().unwrap().to_owned(),
        ":memory:".to_owned(),
        script,
    ];
    compare(&argv, heaptrack_alone(), 0);
}

/// Runs the compiler on `small.cpp` with `option`; the path of what it wrote.
fn compiled(room: &Room, option: &str, output: &str) -> String {
    let compiler = build::needed_program("g++", "g++")
        .to_str()
        .unwrap()
        .to_owned();
    let output = room.path(output).to_str().unwrap().to_owned();
    let source = build::source("small.cpp").to_str().unwrap().to_owned();
    let argv = [
        compiler,
        option.to_owned(),
        source,
        "-o".to_owned(),
        output.clone(),
    ];
    room.bare(&argv).success();
    output
}

#[test]
fn the_assembler_counts_as_valgrind_and_heaptrack_do() {
    let room = Room::new();
    let assembler = build::needed_program("as", "binutils")
        .to_str()
        .unwrap()
        .to_owned();
    let argv = [
        assembler,
        compiled(&room, "-S", "small.s"),
        "-o".into(),
        "/dev/null".into(),
    ];
    compare(&argv, heaptrack_alone(), 0);
}

/// The command that compiles `small.cpp`, already preprocessed.
fn cc1plus(room: &Room) -> Vec<String> {
    let compiler = build::needed_program("g++", "g++");
    let named = room
        .bare(&[&compiler, &PathBuf::from("-print-prog-name=cc1plus")])
        .success();
    let source = compiled(room, "-E", "small.ii");
    let program = named.stdout.trim();
    let argv = [
        program,
        "-quiet",
        "-O0",
        "-fpreprocessed",
        &source,
        "-o",
        "/dev/null",
    ];
    argv.map(str::to_owned).to_vec()
}

#[test]
fn cc1plus_counts_as_valgrind_and_heaptrack_do() {
    let room = Room::new();
    compare(&cc1plus(&room), heaptrack_alone(), TABLES_REBUILT);
}

/// The allocations of each call stack of a tape: those that do not depend on addresses, and the
/// sum of those that do. (As JSON this would be 150 MB.)
fn by_stack(room: &Room, tape: &str) -> (BTreeMap<String, u64>, u64) {
    let arguments = ["churn", tape, "--group-by", "traceback", "--format", "csv"];
    let answer = room.heaptape(&arguments).success().stdout;
    let mut lines = answer.lines();
    let heading = lines.next().unwrap();
    assert!(
        heading.ends_with(COLUMNS_AFTER_STACK),
        "columns are {heading}"
    );
    let (mut fixed, mut moving) = (BTreeMap::new(), 0);
    for line in lines {
        let mut columns = line.rsplitn(7, ',').skip(5);
        let count: u64 = columns.next().unwrap().parse().unwrap();
        let stack = columns.next().unwrap();
        if CALLS_BY_ADDRESS.iter().any(|part| stack.contains(part)) {
            moving += count;
        } else {
            *fixed.entry(stack.to_owned()).or_insert(0) += count;
        }
    }
    (fixed, moving)
}

#[test]
fn two_runs_of_cc1plus_differ_only_in_calls_that_depend_on_addresses() {
    let room = Room::new();
    let argv = cc1plus(&room);
    room.record("a.tape", &[], &argv).success();
    room.record("b.tape", &[], &argv).success();
    let (fixed, moving) = by_stack(&room, "a.tape");
    let (fixed_again, moving_again) = by_stack(&room, "b.tape");
    assert!(fixed.values().sum::<u64>() > 100_000, "few beside {moving}");
    for (stack, count) in &fixed {
        assert_eq!(fixed_again.get(stack), Some(count), "{stack:?}");
    }
    assert_eq!(fixed.len(), fixed_again.len());
    assert!(
        moving.abs_diff(moving_again) <= TABLES_REBUILT,
        "{moving} and {moving_again}"
    );
}
