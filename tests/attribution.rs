//! The allocation's place is the line of the program, not the library's: containers of C++ and
//! Rust, optimised and not, against places that the sources mark.

use heaptape_tests::answers::{array, rows, text};
use heaptape_tests::{Room, build};
use std::collections::BTreeMap;
use std::path::Path;

/// What lives at a marked place at the end.
enum Amount {
    /// So many bytes in so many blocks.
    Exactly(u64, u64),
    /// At least so many bytes, in so many blocks.
    AtLeast(u64, u64),
}
use Amount::{AtLeast, Exactly};

impl Amount {
    fn is(&self, found: (u64, u64)) -> bool {
        match *self {
            Exactly(bytes, blocks) => found == (bytes, blocks),
            AtLeast(bytes, blocks) => found.0 >= bytes && found.1 == blocks,
        }
    }
}

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

/// What a resource takes at a time is its own matter: some 500 bytes for a pool's tables.
const RESOURCES: &[(&str, &str, Amount)] = &[
    ("plain", "store::take_plain(", AtLeast(777, 1)),
    ("aligned", "store::take_aligned(", AtLeast(4096, 1)),
    ("buffer", "store::take_buffer(", AtLeast(5000, 1)),
    ("pooled", "store::take_pooled(", AtLeast(48, 2)),
    ("large", "store::take_large(", AtLeast(8 << 20, 2)),
    ("shared", "store::take_shared(", AtLeast(48, 4)),
    ("vector", "store::fill_vector(", Exactly(8000, 1)),
    ("string", "store::fill_string(", Exactly(501, 1)),
    ("list", "store::fill_list(", AtLeast(240, 1)),
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
    ("clone", "containers::copy_list", AtLeast(150, 3)),
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
        assert!(
            expected.is(found),
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
    assert_no_librarys(functions.keys());
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

fn assert_no_librarys<'a>(functions: impl Iterator<Item = &'a String>) {
    for key in functions {
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
}

/// Without debug information names alone tell the library's functions.
fn check_names(program: &Path, places: &[(&str, &str, Amount)]) {
    let functions = functions_of(program);
    for (name, function, expected) in places {
        // Closures that are not inlined are functions of their own.
        let found = functions
            .iter()
            .filter(|(key, _)| key.starts_with(function));
        let found = found.fold((0, 0), |all, (_, amount)| {
            (all.0 + amount.0, all.1 + amount.1)
        });
        assert!(expected.is(found), "{name}: {found:?} in {functions:#?}");
    }
    assert_no_librarys(functions.keys());
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

#[test]
fn containers_without_debug_information() {
    for level in ["-Copt-level=0", "-Copt-level=3"] {
        let program = build::rust("containers.rs", &[level, "-Cstrip=debuginfo"]);
        check_names(&program, RUST);
    }
    for level in ["-O0", "-O3"] {
        let program = build::cpp("containers.cpp", &["-std=c++20", level, "-g0"]);
        check_names(&program, CPP);
    }
    let templates = [
        ("shared", "work::share(", AtLeast(1001, 1)),
        ("function", "work::assign(", AtLeast(301, 1)),
    ];
    let program = build::cpp("mangled.cpp", &["-std=c++17", "-O0", "-g0"]);
    check_names(&program, &templates);
}

#[test]
fn memory_resources_of_cpp() {
    for level in ["-O0", "-O1", "-O2", "-O3"] {
        let options = ["-std=c++20", level];
        let program = build::cpp("resources.cpp", &options);
        check(&program, &build::source("resources.cpp"), RESOURCES);
        check_names(
            &build::cpp("resources.cpp", &[&options[..], &["-g0"]].concat()),
            RESOURCES,
        );
    }
}

/// Where nothing in the program has a name, its module is the place all the same.
#[test]
fn memory_resources_of_a_stripped_program() {
    for level in ["-O0", "-O1", "-O2", "-O3"] {
        let program = build::cpp("resources.cpp", &["-std=c++20", level, "-s"]);
        let room = Room::new();
        room.record_as_bare("t.tape", &[program]);
        let stats = ["stats", "t.tape", "--at", "end", "--group-by"];
        let modules = rows(&room.json(&[&stats[..], &["module"]].concat()));
        let (bytes, blocks) = modules["resources"];
        assert!(bytes > 8 << 20 && blocks == 17, "{level}: {modules:#?}");
        // The runtime keeps what it takes when it is loaded: room for exceptions.
        let runtime: Vec<_> = modules.iter().filter(|row| row.0 != "resources").collect();
        let is_its_own = runtime.len() == 1 && runtime[0].1.1 == 1;
        assert!(
            is_its_own && runtime[0].0.starts_with("libstdc++"),
            "{modules:#?}"
        );
    }
}

/// What lives at the end, by function.
fn functions_of(program: &Path) -> BTreeMap<String, (u64, u64)> {
    let room = Room::new();
    room.record_as_bare("t.tape", &[program]);
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    rows(&room.json(&stats))
}

/// What a thread's closure allocates belongs to the closure, also when nothing but the standard
/// library's names is left of it.
#[test]
fn closures_of_threads() {
    let amounts = [
        (10_010, 10, "work::first()::{lambda()#1}"),
        (40_040, 20, "work::second()::{lambda()#1}"),
        (90_090, 30, "work::task()::{lambda()#1}"),
    ];
    // Inlined, with debug information, they are called `operator()` and nothing more.
    for options in [
        &["-O0", "-g"][..],
        &["-O0", "-g0"],
        &["-O2", "-g0"],
        &["-O3", "-g0"],
        &["-O2", "-g0", "-static-libstdc++"],
    ] {
        let program = build::cpp("closures.cpp", &[&["-std=c++20"], options].concat());
        let functions = functions_of(&program);
        for (bytes, blocks, closure) in amounts {
            let owner = functions.iter().find(|row| *row.1 == (bytes, blocks));
            assert!(
                owner.is_some_and(|(name, _)| name.contains(closure)),
                "{options:?}: {closure} has no row of its own in {functions:#?}"
            );
        }
    }
}

/// The older names of Rust do not say which closure it is.
#[test]
fn closures_of_rusts_threads() {
    let release = ["-Copt-level=3", "-Cdebuginfo=0"];
    let older = functions_of(&build::rust("closures.rs", &release));
    let entry = "std::sys::backtrace::__rust_begin_short_backtrace";
    assert_eq!(older.get(entry), Some(&(50_050, 30)), "{older:#?}");

    let options = [&release[..], &["-Csymbol-mangling-version=v0"]].concat();
    let newer = functions_of(&build::rust("closures.rs", &options));
    for (closure, amount) in [(0, (10_010, 10)), (1, (40_040, 20))] {
        let name = format!("{entry}::<closures::main::{{closure#{closure}}}, ()>");
        assert_eq!(newer.get(&name), Some(&amount), "{newer:#?}");
    }
}

/// In the newer names of Rust, an implementation is called by its type and trait alone, wherever it
/// stands. Whose it is must be the same as what the older names and debug information tell.
#[test]
fn implementations_of_rust() {
    let amounts = [
        ("::collects", (2001, 1)),
        ("::clone", (4103, 2)),
        ("::copies", (2408, 2)),
        ("::from", (2004, 1)),
        ("::from", (2005, 1)),
        ("::grow", (2006, 1)),
    ];
    for mangling in [&[][..], &["-Csymbol-mangling-version=v0"]] {
        for options in [
            ["-Copt-level=0", "-Cdebuginfo=0"],
            ["-Copt-level=3", "-Cdebuginfo=0"],
            ["-Copt-level=0", "-Cdebuginfo=2"],
            ["-Copt-level=3", "-Cdebuginfo=2"],
        ] {
            let options = [mangling, &options].concat();
            let functions = functions_of(&build::rust("trait_owners.rs", &options));
            for (name, amount) in amounts {
                let mut found = functions.iter().filter(|row| *row.1 == amount);
                assert!(
                    found.any(|(found, _)| found.ends_with(name)),
                    "{options:?}: {name} has no row of {amount:?} in {functions:#?}"
                );
            }
        }
    }
}

/// Functions with internal linkage have bare names in debug information, whose types are spelled
/// otherwise; and namespaces of a C++ program may be called like Rust's crates. Each function is
/// what it is called without debug information.
#[test]
fn local_functions_have_whole_names() {
    const FIRST: &str = "main::{lambda(auto:1)#1}::operator()";
    const SECOND: &str = "main::{lambda(auto:1)#2}::operator()";
    const LOCAL: &str = "(anonymous namespace)::";
    let pair = "std::pair<std::string, int>";
    let expected = BTreeMap::from([
        (format!("{FIRST}<unsigned long>(unsigned long) const"), 1001),
        (
            format!("{SECOND}<unsigned long>(unsigned long) const"),
            1002,
        ),
        (format!("{SECOND}<{pair} >({pair}) const"), 1003),
        (format!("{LOCAL}Local::operator unsigned long()"), 1004),
        (
            format!("{LOCAL}Local::operator std::vector<int, std::allocator<int> >()"),
            1005,
        ),
        (
            format!("{LOCAL}operator_helper<unsigned long>(unsigned long)"),
            1007,
        ),
        (
            format!("{LOCAL}operator\"\" _kept(unsigned long long)"),
            1008,
        ),
        ("core::Engine::load()".to_owned(), 1009),
        ("alloc::boxed::pool(int)".to_owned(), 1010),
        ("hashbrown::Table<int>::fill() const".to_owned(), 1011),
    ]);
    let expected = expected.into_iter().map(|(name, bytes)| (name, (bytes, 1)));
    let expected: BTreeMap<String, (u64, u64)> = expected.collect();
    for options in [&["-g", "-O0"][..], &["-g", "-O2"], &["-O0"], &["-O2"]] {
        let options = [options, &["-std=c++20", "-D_GLIBCXX_USE_CXX11_ABI=0"]].concat();
        let mut found = functions_of(&build::cpp("local_names.cpp", &options));
        found.retain(|_, (bytes, _)| (1001..=1011).contains(bytes));
        assert_eq!(found, expected, "{options:?}");
    }
}

/// A program's own sources in folders that are called like the library's.
#[test]
fn sources_in_a_folder_of_headers() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("include/c++")).unwrap();
    let source = room.path("include/c++/containers.cpp");
    heaptape_tests::build::copy(build::source("containers.cpp"), &source).unwrap();
    for level in ["-O0", "-O2"] {
        let program = room.path("containers");
        let mut compiler = std::process::Command::new("c++");
        compiler
            .args(["-g", "-std=c++20", level, "-o"])
            .args([&program, &source]);
        assert!(compiler.status().unwrap().success(), "{compiler:?}");
        check(&program, &source, CPP);
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

/// What Rust's standard library reads to print a stack belongs to who printed it. Parts of it have
/// no debug information.
#[test]
fn stacks_that_rust_prints() {
    for options in [
        ["-Copt-level=0", "-Cdebuginfo=2"],
        ["-Copt-level=3", "-Cdebuginfo=2"],
        ["-Copt-level=3", "-Cdebuginfo=0"],
    ] {
        let functions = functions_of(&build::rust("backtraces.rs", &options));
        let bytes = |rows: &mut dyn Iterator<Item = (&String, &(u64, u64))>| -> u64 {
            rows.map(|(_, (bytes, _))| bytes).sum()
        };
        let all = bytes(&mut functions.iter());
        let printing = |(name, _): &(&String, &(u64, u64))| {
            name.starts_with("backtraces::") || *name == "main"
        };
        let printed = bytes(&mut functions.iter().filter(printing));
        assert!(all > 100_000, "{functions:#?}");
        assert_eq!(printed, all, "{options:?}: {functions:#?}");
    }
}
