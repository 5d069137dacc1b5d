//! The allocation's place is the line of the program, not the library's: containers of C++ and
//! Rust, optimised and not, against places that the sources mark.

use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Room, build};
use std::path::Path;

/// What lives at a marked place at the end.
enum Amount {
    /// So many bytes in so many blocks.
    Exactly(u64, u64),
    /// At least so many bytes, in so many blocks.
    AtLeast(u64, u64),
}
use Amount::{AtLeast, Exactly};

const CPP: &[(&str, &str, Amount)] = &[
    ("vector-reserve", "store::fill_vector(", Exactly(8000, 1)),
    ("vector-push", "store::grow_vector(", Exactly(512, 1)),
    ("string", "store::fill_string(", Exactly(501, 1)),
    ("map", "store::fill_map(", AtLeast(400, 10)),
    ("unordered-map", "store::fill_table(", AtLeast(160, 11)),
    ("shared", "store::make_shared(", AtLeast(64, 1)),
    ("number", "store::make_number(", AtLeast(24, 1)),
    ("function", "store::make_function(", Exactly(24, 1)),
    ("new", "store::make_new(", Exactly(333, 1)),
    ("template", "store::Holder<", AtLeast(48, 1)),
];

const RUST: &[(&str, &str, Amount)] = &[
    ("vec-capacity", "containers::fill_vector", Exactly(8000, 1)),
    ("vec-push", "containers::grow_vector", Exactly(512, 1)),
    ("string", "containers::fill_string", AtLeast(50, 1)),
    ("box", "containers::make_box", Exactly(800, 1)),
    ("hash-map", "containers::fill_map", AtLeast(160, 1)),
    ("tree-map", "containers::fill_tree", AtLeast(80, 1)),
    ("rc", "containers::make_rc", Exactly(216, 1)),
    ("collect", "containers::collect", AtLeast(140, 4)),
];

/// The line that carries `PLACE name`.
fn line_of(source: &Path, name: &str) -> usize {
    let marker = format!("// PLACE {name}");
    let text = std::fs::read_to_string(source).unwrap();
    let index = text.lines().position(|line| line.ends_with(&marker));
    index.unwrap_or_else(|| panic!("{marker} is not in {}", source.display())) + 1
}

fn check(program: &Path, source: &Path, places: &[(&str, &str, Amount)]) {
    let room = Room::new();
    room.record_as_bare("t.tape", &[program]);
    let stats = |group| room.json(&["stats", "t.tape", "--at", "end", "--group-by", group]);
    let lines = stats("line");
    let amounts = rows(&lines);
    for (name, function, expected) in places {
        let key = format!("{}:{}", source.display(), line_of(source, name));
        let found = amounts.get(&key).copied().unwrap_or_default();
        let right = match *expected {
            Exactly(bytes, blocks) => found == (bytes, blocks),
            AtLeast(bytes, blocks) => found.0 >= bytes && found.1 == blocks,
        };
        assert!(
            right,
            "{name} at {key} has {found:?}; there are {:#?}",
            amounts.keys()
        );
        let row = array(&lines, "rows")
            .iter()
            .find(|row| row["key"] == key.as_str())
            .unwrap();
        let place = text(&row["frames"][0], "function");
        assert!(
            place.starts_with(function),
            "{name}: {place} is not {function}"
        );
    }
    // The program's functions are the keys, and the library's are not.
    let functions = rows(&stats("function"));
    for (name, function, _) in places {
        let found = functions.keys().any(|key| key.starts_with(function));
        assert!(found, "{name}: no {function} among {:#?}", functions.keys());
    }
    for key in functions.keys() {
        let library = [
            "operator new",
            "std::",
            "__gnu_cxx::",
            "alloc::",
            "<alloc::",
            "__rust",
        ];
        assert!(
            !library.iter().any(|start| key.starts_with(start)),
            "a library's key: {key}"
        );
    }
    // In whole stacks every frame stays: the allocation function is there, and main.
    let tracebacks = stats("traceback");
    let mains = array(&tracebacks, "rows").iter().filter(|row| {
        let names = heaptape_tests::answers::functions(row);
        names
            .iter()
            .any(|name| *name == "main" || *name == "containers::main")
    });
    assert!(mains.count() >= places.len());
}

#[test]
fn containers_of_cpp() {
    for level in ["-O0", "-O1", "-O2", "-O3"] {
        let program = build::cpp("containers.cpp", &["-std=c++20", level]);
        check(&program, &build::source("containers.cpp"), CPP);
    }
}

#[test]
fn containers_of_rust() {
    for level in ["-Copt-level=0", "-Copt-level=2", "-Copt-level=3"] {
        let program = build::rust("containers.rs", &[level]);
        check(&program, &build::source("containers.rs"), RUST);
    }
}

/// `--raw-sites` turns the rule off, `--wrapper` adds to it.
#[test]
fn the_rule_can_be_changed() {
    let room = Room::new();
    let program = build::cpp("containers.cpp", &["-std=c++20", "-O0"]);
    room.record("t.tape", &[], &[program]).success();
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    let raw = rows(&room.json(&[&stats[..], &["--raw-sites"]].concat()));
    let new = raw.iter().find(|(key, _)| key.starts_with("operator new("));
    assert!(new.is_some_and(|(_, amount)| amount.1 > 20), "{raw:#?}");
    assert!(
        !raw.keys().any(|key| key.starts_with("store::fill_map(")),
        "{raw:#?}"
    );

    let added = rows(&room.json(&[&stats[..], &["--wrapper", "store::fill_*"]].concat()));
    assert!(
        !added.keys().any(|key| key.starts_with("store::fill_")),
        "{added:#?}"
    );
    assert!(added.keys().any(|key| key == "main"), "{added:#?}");
}
