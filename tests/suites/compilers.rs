//! gcc and g++ build zstd and libFuzzer, several at once: the same bytes come out.
//!
//! The sources are in cargo's registry: this workspace and its fuzz targets depend on them.

use super::{LIMIT, events_of_whole_tape, whole_tapes};
use heaptape_tests::{Room, build, repository};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All `-O2 -g`: what the compilers' memory holds ends up in the debug information, too.
const MAKEFILE: &str = "\
C = $(patsubst $(ZSTD)/%.c,zstd/%.o,$(wildcard $(ZSTD)/*/*.c))
S = $(patsubst $(ZSTD)/%.S,zstd/%.o,$(wildcard $(ZSTD)/*/*.S))
CPP = $(patsubst $(FUZZER)/%.cpp,fuzzer/%.o,$(wildcard $(FUZZER)/*.cpp))

program: round_trip.o libzstd.a libfuzzer.a
\tg++ -o $@ $^ -pthread
libzstd.a: $(C) $(S)
\tar rcs $@ $^
libfuzzer.a: $(CPP)
\tar rcs $@ $^
round_trip.o: $(PROGRAM)
\tg++ -O2 -g -I$(ZSTD) -c -o $@ $<
fuzzer/%.o: $(FUZZER)/%.cpp
\t@mkdir -p $(@D)
\tg++ -std=c++17 -O2 -g -c -o $@ $<
zstd/%.o: $(ZSTD)/%.c
\t@mkdir -p $(@D)
\tgcc -O2 -g -c -o $@ $<
zstd/%.o: $(ZSTD)/%.S
\t@mkdir -p $(@D)
\tgcc -g -c -o $@ $<
";

/// The folder of a package that the workspace of `manifest` depends on.
fn sources_of(room: &Room, package: &str, manifest: &str) -> PathBuf {
    let manifest = repository().join(manifest);
    let mut cargo = room.command(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--offline", "--locked"]);
    cargo.arg("--manifest-path").arg(manifest);
    let metadata = room.run(&mut cargo);
    assert_eq!(metadata.code, 0, "cargo fetch? {metadata:#?}");
    let metadata = metadata.stdout;
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|found| found["name"] == package);
    let manifest = found.unwrap_or_else(|| panic!("no package {package}"))["manifest_path"]
        .as_str()
        .unwrap();
    Path::new(manifest).parent().unwrap().to_owned()
}

/// Files that were built, with their bytes, by their path in `folder`.
fn built(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn two_libraries_and_a_program() {
    let room = Room::new();
    for program in ["gcc", "g++", "ar", "make"] {
        build::needed_program(program, program);
    }
    let zstd = sources_of(&room, "zstd-sys", "Cargo.toml").join("zstd/lib");
    let fuzzer = sources_of(&room, "libfuzzer-sys", "format-spec/fuzz/Cargo.toml");
    let makefile = room.write("Makefile", MAKEFILE);
    let folder = room.path("build");
    let variables = [
        format!("ZSTD={}", zstd.display()),
        format!("FUZZER={}", fuzzer.join("libfuzzer").display()),
        format!("PROGRAM={}", build::source("round_trip.cpp").display()),
    ];
    let [folder_text, makefile] = [&folder, &makefile].map(|path| path.to_str().unwrap());
    let mut argv = vec!["make", "-j2", "-C", folder_text, "-f", makefile];
    argv.extend(variables.iter().map(String::as_str));

    fs::create_dir(&folder).unwrap();
    let mut command = room.command("make");
    let bare = room.start(command.args(&argv[1..])).finish_within(LIMIT);
    let bare = bare.success();
    let bare_files = built(&folder);
    // The same folder again: its name is in the debug information.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let mut command = room.record_command("t.tape", &[], &argv);
    let recorded = room.start(&mut command).finish_within(LIMIT).success();
    assert_eq!(
        recorded.stderr, bare.stderr,
        "what the compilers say differs"
    );
    let files = built(&folder);

    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&files), names(&bare_files));
    assert!(files.len() > 50, "{:?}", names(&files));
    for (name, bytes) in &files {
        assert!(bytes == &bare_files[name], "{} differs", name.display());
    }
    let input = room.write("input", "what is said again and again, ".repeat(5_000));
    let program = folder.join("program");
    let argv = [program.to_str().unwrap(), input.to_str().unwrap()];
    let said = room.bare(&argv).success().stdout;
    assert!(said.contains("level 19: "), "{said}");

    events_of_whole_tape(&room, "t.tape");
    room.wait_for_processes();
    let tapes = whole_tapes(&room);
    println!(
        "make -j2: {} files, the same bytes; {tapes} tapes",
        files.len()
    );
    assert!(
        tapes > 2 * files.len(),
        "a driver, its compiler and assembler each"
    );
    assert_eq!(
        room.record("program.tape", &[], &argv).success().stdout,
        said
    );
    events_of_whole_tape(&room, "program.tape");
}
