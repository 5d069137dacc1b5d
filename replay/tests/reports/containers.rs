//! The place of an allocation is the program's line: shown on the stacks of real containers.
//!
//! A program is compiled with optimisation, its stacks are captured by a probe in front of malloc
//! (`targets/probe.c`), put into a tape, and asked for with the executable.

use crate::tape::{Folder, Tape, native};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a program allocated under one tag.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub(crate) tag: String,
    pub(crate) size: u64,
    /// Module paths and offsets, the most recent first.
    pub(crate) frames: Vec<(String, u64)>,
}

fn targets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports/targets")
}

fn succeed(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{complaint}");
}

fn probe_object(folder: &Path) -> PathBuf {
    let object = folder.join("probe.o");
    let source = targets().join("probe.c");
    succeed(
        Command::new("cc")
            .args(["-O2", "-c", "-o"])
            .args([&object, &source]),
    );
    object
}

/// Compiles a target of C++ with `flags`.
pub(crate) fn compile_cpp(folder: &Path, source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let mut command = Command::new("c++");
    command
        .args(["-O2", "-std=c++17"])
        .args(flags)
        .arg("-o")
        .arg(&program);
    succeed(
        command
            .arg(source)
            .arg(probe_object(folder))
            .arg("-pthread"),
    );
    program
}

fn compile_rust(folder: &Path, source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let mut link = std::ffi::OsString::from("link-arg=");
    link.push(probe_object(folder));
    let mut command = Command::new("rustc");
    command
        .args(["--edition", "2024", "-C", "opt-level=2", "-C"])
        .arg(link);
    succeed(command.args(flags).arg("-o").arg(&program).arg(source));
    program
}

/// Runs a program that the probe is linked to.
pub(crate) fn run_probed(program: &Path) -> Vec<Probed> {
    let out = program.with_extension("probe");
    succeed(Command::new(program).env("PROBE_OUT", &out));
    let text = std::fs::read_to_string(out).unwrap();
    let probed = text.lines().map(|line| {
        let mut words = line.split(' ');
        let (tag, size) = (words.next().unwrap(), words.next().unwrap());
        let mut frames = Vec::new();
        while let (Some(path), Some(offset)) = (words.next(), words.next()) {
            frames.push((path.to_owned(), u64::from_str_radix(offset, 16).unwrap()));
        }
        Probed {
            tag: tag.to_owned(),
            size: size.parse().unwrap(),
            frames,
        }
    });
    probed.collect()
}

fn build_id(path: &str) -> Vec<u8> {
    let path = Path::new(path);
    let id = blazesym::helper::read_elf_build_id(&path).ok().flatten();
    id.map(|id| id.into_owned()).unwrap_or_default()
}

/// A tape in which each tag is a thread, and what was allocated under it is alive.
pub(crate) fn tape_of(probed: &[Probed]) -> Tape {
    let mut tape = Tape::new();
    let mut modules: BTreeMap<String, u32> = BTreeMap::new();
    let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, one) in (0u64..).zip(probed) {
        let frames: Vec<_> = one
            .frames
            .iter()
            .map(|(path, offset)| {
                let module = *modules
                    .entry(path.clone())
                    .or_insert_with(|| tape.module(path, &build_id(path)));
                native(module, *offset)
            })
            .collect();
        let thread = *threads
            .entry(&one.tag)
            .or_insert_with(|| tape.thread(&one.tag));
        let stack = tape.stack(thread, &frames);
        tape.alloc(
            thread,
            100 + place,
            0x10_0000 + place * 4096,
            one.size,
            stack,
        );
    }
    tape
}

/// The lines that are marked `HERE name`, by name.
fn marked_lines(source: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(source).unwrap();
    let marked = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let name = line.split("// HERE ").nth(1)?;
        Some((
            name.trim().to_owned(),
            format!("{}:{number}", source.display()),
        ))
    });
    marked.collect()
}

/// The keys and bytes of what was allocated under `tag`.
fn rows(folder: &Folder, tag: &str, args: &[&str]) -> Vec<(String, u64)> {
    let mut all = vec!["stats", "x.tape", "--at", "end", "--thread", tag];
    all.extend(args);
    let json = folder.json(&all);
    let rows = json["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        (
            row["key"].as_str().unwrap().to_owned(),
            row["bytes"].as_u64().unwrap(),
        )
    })
    .collect()
}

/// Every allocation under a tag belongs to the line that is marked with it.
fn check_places(folder: &Folder, source: &Path, probed: &[Probed]) {
    tape_of(probed).write(&folder.path("x.tape"));
    let lines = marked_lines(source);
    for (tag, line) in &lines {
        let bytes: u64 = probed
            .iter()
            .filter(|one| &one.tag == tag)
            .map(|one| one.size)
            .sum();
        assert!(bytes > 0, "{tag} allocated");
        assert_eq!(rows(folder, tag, &[]), vec![(line.clone(), bytes)], "{tag}");
        // Without the rule it would be another frame, unless the program calls malloc itself.
        let raw = rows(folder, tag, &["--raw-sites"]);
        if tag != "lambda" {
            assert!(raw.iter().all(|(key, _)| key != line), "{tag}: {raw:?}");
        }
    }
    let tags: BTreeSet<&str> = probed.iter().map(|one| one.tag.as_str()).collect();
    assert_eq!(tags.len(), lines.len(), "each tag is a marked line");
}

#[test]
fn cpp_containers_belong_to_the_line_that_grew_them() {
    let folder = Folder::new();
    // The source stands in the folder, so that its path in DWARF is its path.
    let source = folder.path("containers.cc");
    std::fs::copy(targets().join("containers.cc"), &source).unwrap();
    let program = compile_cpp(folder.0.path(), &source, "cpp", &["-g"]);
    let probed = run_probed(&program);
    check_places(&folder, &source, &probed);
    let function = |tag: &str| rows(&folder, tag, &["--group-by", "function"])[0].0.clone();
    for (tag, name) in [
        ("vector", "fill_vector(int)"),
        ("string", "fill_string(char const*, int)"),
        ("inlined", "app::Deep::add(char const*)"),
        ("generic", "generic<double>(int)"),
        ("asprintf", "formatted(int)"),
    ] {
        assert_eq!(function(tag), name);
    }
    let traceback = rows(
        &folder,
        "vector",
        &["--group-by", "traceback", "--top", "1"],
    );
    assert!(
        traceback[0].0.contains("operator new(unsigned long)"),
        "{traceback:?}"
    );
    let json = folder.json(&[
        "stats",
        "x.tape",
        "--thread",
        "inlined",
        "--group-by",
        "traceback",
    ]);
    let frames = json["rows"][0]["frames"].as_array().unwrap();
    let names = frames.iter().filter_map(|frame| frame["function"].as_str());
    let names: Vec<&str> = names.filter(|name| !name.contains("std::")).collect();
    // The inlined function stands before the one that it was inlined into.
    let add = names
        .iter()
        .position(|name| name.contains("Deep::add"))
        .unwrap();
    assert!(names[add + 1].contains("hidden(char const*)"), "{names:?}");
    assert_eq!(names[add + 2], "main");
}

#[test]
fn rust_containers_belong_to_the_line_that_grew_them() {
    let folder = Folder::new();
    let source = folder.path("containers.rs");
    std::fs::copy(targets().join("containers.rs"), &source).unwrap();
    let manglings: [(&str, &[&str]); 2] = [
        ("default", &["-g"]),
        ("v0", &["-g", "-C", "symbol-mangling-version=v0"]),
    ];
    for (mangling, flags) in manglings {
        let program = compile_rust(folder.0.path(), &source, mangling, flags);
        let probed = run_probed(&program);
        check_places(&folder, &source, &probed);
        let functions = rows(&folder, "vec", &["--group-by", "function"]);
        assert_eq!(functions[0].0, "containers::fill_vec");
    }
}

#[test]
fn names_alone_are_enough_for_the_place() {
    let folder = Folder::new();
    let source = folder.path("containers.cc");
    std::fs::copy(targets().join("containers.cc"), &source).unwrap();
    // No debug information: only the symbol table names functions.
    let program = compile_cpp(folder.0.path(), &source, "plain", &[]);
    tape_of(&run_probed(&program)).write(&folder.path("x.tape"));
    for (tag, name) in [
        ("vector", "fill_vector(int)"),
        ("map", "fill_map(int)"),
        ("new", "plain_new(int)"),
        ("strdup", "c_strings(char const*)"),
        ("asprintf", "formatted(int)"),
        ("inlined", "(anonymous namespace)::hidden(char const*)"),
    ] {
        assert_eq!(
            rows(&folder, tag, &["--group-by", "function"])[0].0,
            name,
            "{tag}"
        );
        assert_eq!(
            rows(&folder, tag, &[])[0].0,
            format!("plain!{name}"),
            "{tag}"
        );
        assert_eq!(
            rows(&folder, tag, &["--group-by", "file"])[0].0,
            "plain",
            "{tag}"
        );
    }
}
