//! `heaptape object` of an object's address says what `tracemalloc.get_object_traceback` says.

use super::against::FRAMES;
use super::{Interpreter, array, chosen_interpreters, python_frames, script, text};
use heaptape_tests::Room;
use serde_json::Value;
use std::collections::BTreeMap;

/// Types of which interpreters keep dropped objects for reuse: tracemalloc says who used one last,
/// and we who allocated it.
const REUSED: [&str; 18] = [
    "list",
    "tuple",
    "dict",
    "float",
    "frame",
    "int",
    "slice",
    "Context",
    "method",
    "builtin_function_or_method",
    "generator",
    "coroutine",
    "range_iterator",
    "async_generator_asend",
    "hamt",
    "range",
    "list_iterator",
    "tuple_iterator",
];

/// How many of `count` live objects of a program have the same traceback, by the type of those that
/// have another.
fn assert_agree(interpreter: &Interpreter, program: &str, count: usize, seed: u64) {
    let room = Room::new();
    let [asked, program_path] = ["asked.py", program].map(script);
    let (count_text, seed_text) = (count.to_string(), seed.to_string());
    let argv = [
        interpreter.program.to_str().unwrap(),
        asked.to_str().unwrap(),
        "asked.json",
        &count_text,
        &seed_text,
        program_path.to_str().unwrap(),
        &seed_text,
    ];
    room.record("t.tape", &[], &argv).success();
    room.assert_clean("t.tape");
    let content = std::fs::read(room.path("asked.json")).unwrap();
    let known: Vec<Value> = serde_json::from_slice(&content).unwrap();
    assert_eq!(known.len(), count);
    let addresses: Vec<String> = known
        .iter()
        .map(|row| format!("{:#x}", row[0].as_u64().unwrap()))
        .collect();
    let mut arguments = vec!["object", "t.tape", "--at", "mark:asked"];
    arguments.extend(addresses.iter().map(String::as_str));
    let answers = room.json(&arguments);
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), count);
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    let what = format!("{program} {seed}, {}", interpreter.program.display());
    for ((row, address), answer) in known.iter().zip(&addresses).zip(answers) {
        assert_eq!(text(answer, "address"), *address);
        let owners = array(answer, "owners");
        let [owner] = owners else {
            panic!("{what}: {row}: {answer:#}")
        };
        let mut found = python_frames(&owner["allocated"]);
        found.truncate(FRAMES);
        let frames = row[2].as_array().unwrap().iter();
        let expected: Vec<_> = frames
            .map(|frame| {
                let file = frame[0].as_str().unwrap().to_owned();
                (file, frame[1].as_u64().unwrap())
            })
            .collect();
        if found != expected {
            let name = row[1].as_str().unwrap();
            assert!(REUSED.contains(&name), "{what}: {row}: {found:#?}");
            *others.entry(name.to_owned()).or_default() += 1;
        }
    }
    let reused: usize = others.values().sum();
    println!(
        "{what}: {} of {count} objects have the same traceback; used again: {others:?}",
        count - reused
    );
    // A program of chance keeps little, and drops much before.
    assert!(reused * 4 <= count, "{what}: {others:?}");
}

#[test]
fn of_live_objects() {
    for interpreter in chosen_interpreters() {
        assert_agree(&interpreter, "objects.py", 1000, 1);
        assert_agree(&interpreter, "random_program.py", 500, 2);
    }
}
