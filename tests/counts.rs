//! The counts of deterministic programs against valgrind's and heaptrack's.
//!
//! memcheck counts a `realloc` as an allocation and a free, heaptrack as a call to an allocation
//! function, and the tape as one `realloc`: so `alloc + realloc` of the tape is compared with
//! "total heap usage: N allocs" and with "calls to allocation functions".
//!
//! | tool | what it counts otherwise | how the test accounts for it |
//! |---|---|---|
//! | valgrind | nothing: the calls of the dynamic loader before it can be interposed are seen by neither | – |
//! | heaptrack | its own library loads libstdc++, whose start-up allocates once (the pool for exceptions) in programs that are not C++ themselves | the count of a program without any allocation is subtracted |

use heaptape_tests::answers::number;
use heaptape_tests::{Room, build};
use std::path::PathBuf;

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
    command
        .args(["-r", "-o"])
        .arg(room.path("heaptrack"))
        .args(argv);
    let outcome = room.run(&mut command);
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "allocations:");
    let at = at.unwrap_or_else(|| panic!("heaptrack says nothing of allocations: {outcome:?}"));
    words[at + 1].parse().unwrap()
}

/// The tape's count of allocations and reallocations, its bytes, and both tools' figures.
fn compare(argv: &[String], heaptrack_adds: u64) {
    let room = Room::new();
    room.record_as_bare("t.tape", argv);
    let info = room.assert_clean("t.tape");
    let events = &info["events"];
    let count = number(events, "alloc") + number(events, "realloc");
    let (allocs, bytes) = valgrind(&room, argv);
    assert_eq!(count, allocs, "valgrind (right) differs: {info:#}");
    assert_eq!(
        number(&info, "bytes_allocated"),
        bytes,
        "valgrind's bytes (right) differ"
    );
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    assert_eq!(
        count + heaptrack_adds,
        heaptrack(&room, argv),
        "heaptrack (right) differs"
    );
}

#[test]
fn sqlite_counts_as_valgrind_and_heaptrack_do() {
    let sqlite = build::needed_program("sqlite3", "sqlite3");
    let room = Room::new();
    let nothing = build::c("nothing.c", &[]).to_str().unwrap().to_owned();
    let own = heaptrack(&room, &[nothing]);
    assert!(own <= 1, "heaptrack makes {own} allocations of its own");
    let script = format!(".read {}", build::source("load.sql").display());
    let argv = [
        sqlite.to_str().unwrap().to_owned(),
        ":memory:".to_owned(),
        script,
    ];
    compare(&argv, own);
}

#[test]
fn cc1plus_counts_as_valgrind_and_heaptrack_do() {
    let room = Room::new();
    let compiler = build::needed_program("g++", "g++");
    let named = room
        .bare(&[&compiler, &PathBuf::from("-print-prog-name=cc1plus")])
        .success();
    let preprocessed = room.path("small.ii").to_str().unwrap().to_owned();
    let source = build::source("small.cpp").to_str().unwrap().to_owned();
    let compiler = compiler.to_str().unwrap().to_owned();
    let arguments = [
        compiler,
        "-E".into(),
        source,
        "-o".into(),
        preprocessed.clone(),
    ];
    room.bare(&arguments).success();
    let argv = [
        named.stdout.trim(),
        "-quiet",
        "-O0",
        "-fpreprocessed",
        &preprocessed,
        "-o",
        "/dev/null",
    ];
    // cc1plus carries libstdc++ itself, its pool included: heaptrack adds nothing.
    compare(&argv.map(str::to_owned), 0);
}
