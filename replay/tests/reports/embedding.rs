//! Symbols in a tape: it answers the same without the recorded program.

use crate::containers::{compile_cpp, run_probed, tape_of};
use crate::tape::{Folder, Tape, native};
use heaptape::symbols::{EmbedError, Symbolized, symbolize_tape, symbolize_tapes};
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo};
use heaptape_format::{ChunkKind, TapeHeader};
use std::path::{Path, PathBuf};

const SOURCE: &str = r#"
#include <cstdlib>
extern "C" void probe_start(const char *tag);
extern "C" void probe_stop();
static void *volatile last;
__attribute__((noinline)) void *make(int n) {
  last = malloc(n);
  return last;
}
int main() { probe_start("made"); void *block = make(LENGTH); probe_stop(); free(block); }
"#;

/// A program whose block of `length` bytes is in `x.tape`.
fn program(folder: &Folder, length: u32) -> PathBuf {
    let source = folder.path("make.cc");
    std::fs::write(&source, SOURCE).unwrap();
    let length = format!("-DLENGTH={length}");
    compile_cpp(folder.0.path(), &source, "make", &["-g", &length])
}

fn key(folder: &Folder, args: &[&str]) -> String {
    let mut all = vec!["stats", "x.tape", "--at", "end"];
    all.extend(args);
    let json = folder.json(&all);
    json["rows"][0]["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_tape_with_symbols_needs_no_program() {
    let folder = Folder::new();
    let program = program(&folder, 100);
    let tape = folder.path("x.tape");
    tape_of(&run_probed(&program)).write(&tape);
    let before = std::fs::read(&tape).unwrap();
    let line = format!("{}:7", folder.path("make.cc").display());
    assert_eq!(key(&folder, &[]), line);
    let mut told = Vec::new();
    let result = symbolize_tape(&tape, |done, total| told.push((done, total))).unwrap();
    assert!(
        result.places > 2 && result.added == result.places,
        "{result:?}"
    );
    assert_eq!(told.last(), Some(&(result.places, result.places)));
    let after = std::fs::read(&tape).unwrap();
    assert_eq!(
        &after[..before.len()],
        &before[..],
        "nothing that was there changed"
    );
    std::fs::remove_file(&program).unwrap();
    assert_eq!(key(&folder, &[]), line);
    assert_eq!(key(&folder, &["--group-by", "function"]), "make(int)");
    let again = folder.text(&["symbolize", "x.tape"]);
    assert!(again.contains(" 0 symbols added"), "{again}");
    assert_eq!(std::fs::read(&tape).unwrap(), after);
    assert_eq!(folder.json(&["verify", "x.tape"])["damaged"], 0);
}

#[test]
fn another_build_of_the_program_names_nothing() {
    let folder = Folder::new();
    tape_of(&run_probed(&program(&folder, 100))).write(&folder.path("x.tape"));
    program(&folder, 200);
    let args = ["stats", "x.tape", "--at", "end", "--format", "json"];
    let output = folder.run(&args);
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(
        note.contains("build-id") && note.contains("/make"),
        "{note}"
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = json["rows"][0]["key"].as_str().unwrap();
    let digits = key.strip_prefix("make+0x").unwrap();
    assert!(u64::from_str_radix(digits, 16).is_ok(), "{key}");
    assert_eq!(
        json["rows"][0]["frames"][0]["function"],
        serde_json::Value::Null
    );
}

#[test]
fn symbols_go_behind_the_last_chunk_of_a_cut_tape() {
    let folder = Folder::new();
    let program = program(&folder, 100);
    let mut cut = tape_of(&run_probed(&program));
    cut.end = None;
    let tape = folder.path("x.tape");
    let mut bytes = cut.bytes();
    let end = bytes.len();
    // The reserved, never written end of a tape whose recorder was killed.
    bytes.resize(end + 4096, 0);
    std::fs::write(&tape, &bytes).unwrap();
    let result = symbolize_tape(&tape, |_, _| ()).unwrap();
    assert!(result.added > 0);
    let after = std::fs::read(&tape).unwrap();
    assert!(after[end..].starts_with(b"HTck"));
    assert_eq!(folder.json(&["verify", "x.tape"])["damaged"], 0);
    // A stretch that is damaged stays where it is.
    let mut bytes = cut.bytes();
    bytes.extend_from_slice(&[0xaa; 100]);
    std::fs::write(&tape, &bytes).unwrap();
    symbolize_tape(&tape, |_, _| ()).unwrap();
    std::fs::remove_file(&program).unwrap();
    assert_eq!(key(&folder, &["--group-by", "function"]), "make(int)");
}

#[test]
fn a_tape_that_another_process_writes_is_left_alone() {
    let folder = Folder::new();
    let tape = folder.path("x.tape");
    tape_of(&run_probed(&program(&folder, 100))).write(&tape);
    let file = std::fs::File::open(&tape).unwrap();
    use std::os::fd::AsRawFd;
    // SAFETY: flock takes an open descriptor and touches no memory.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
    let complaint = folder.fails(&["symbolize", "x.tape"], 2);
    assert!(complaint.contains("still being written"), "{complaint}");
    drop(file);
    folder.text(&["symbolize", "x.tape"]);
}

#[test]
fn a_later_symbol_replaces_an_earlier_one() {
    let folder = Folder::new();
    let mut tape = crate::tape::Tape::new();
    tape.symbol(0x10, &[("old", "/src/a.c", 1)]);
    let stack = tape.stack(0, &[crate::tape::app(0x10)]);
    tape.alloc(0, 5, 0x1000, 10, stack);
    let mut bytes = tape.bytes();
    TapeHeader::decode(&bytes).unwrap();
    tape.symbols.clear();
    tape.symbol(0x10, &[("new", "/src/a.c", 2)]);
    let payload = heaptape_format::symbols::put_symbols(&tape.symbols);
    let info = ChunkInfo::table(ChunkKind::SYMBOLS, 1, 99);
    ChunkEncoder::new(1)
        .encode(&info, &payload, &mut bytes)
        .unwrap();
    std::fs::write(folder.path("x.tape"), bytes).unwrap();
    assert_eq!(key(&folder, &["--group-by", "function"]), "new");
}

#[test]
fn a_tape_does_not_become_longer_than_it_may() {
    let folder = Folder::new();
    let program = program(&folder, 100);
    let path = folder.path("x.tape");
    tape_of(&run_probed(&program)).write(&path);
    let before = std::fs::read(&path).unwrap();
    let attempt = |limit: u64| {
        let mut results = Vec::new();
        let finished = |_: &Path, result| results.push(result);
        symbolize_tapes(&[&path], Some(limit), |_, _| (), finished);
        results.pop().unwrap()
    };
    let length = before.len() as u64;
    let bytes = match attempt(length) {
        Err(EmbedError::NoRoom { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        attempt(length + bytes - 1),
        Err(EmbedError::NoRoom { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(attempt(length + bytes).unwrap().added > 0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length + bytes);
}

/// Symbolizes `tapes` one by one and together; each must get the same, to the byte.
fn together_as_alone(folder: &Folder, tapes: &[Tape]) -> Vec<Symbolized> {
    let write = |kind: &str| -> Vec<PathBuf> {
        let paths = (0..tapes.len()).map(|at| folder.path(&format!("{kind}{at}.tape")));
        let paths: Vec<PathBuf> = paths.collect();
        for (path, tape) in paths.iter().zip(tapes) {
            tape.write(path);
        }
        paths
    };
    let alone = write("alone");
    let results: Vec<Symbolized> = alone
        .iter()
        .map(|path| symbolize_tape(path, |_, _| ()).unwrap())
        .collect();
    let together = write("together");
    let paths: Vec<&Path> = together.iter().map(PathBuf::as_path).collect();
    let mut finished = 0;
    symbolize_tapes(
        &paths,
        None,
        |_, _| (),
        |path, result| {
            let place = paths.iter().position(|other| *other == path).unwrap();
            assert_eq!(result.unwrap(), results[place], "tape {place}");
            finished += 1;
        },
    );
    assert_eq!(finished, tapes.len());
    for (place, (alone, together)) in alone.iter().zip(&together).enumerate() {
        let [alone, together] = [alone, together].map(|path| std::fs::read(path).unwrap());
        assert!(alone == together, "tape {place}: {results:?}");
    }
    results
}

#[test]
fn another_build_between_two_tapes_names_one_of_them() {
    let folder = Folder::new();
    let old = tape_of(&run_probed(&program(&folder, 100)));
    let new = tape_of(&run_probed(&program(&folder, 200)));
    // A child that has one more place of its own, and other numbers for the same modules.
    let module = &new.modules[1];
    let mut child = Tape::new();
    child.module("/nowhere/else", &[1]);
    let number = child.module(&module.path, &module.build_id);
    let stack = child.stack(0, &[native(number, 0x1001), native(0, 0x77)]);
    child.alloc(0, 5, 0x1000, 10, stack);
    let results = together_as_alone(&folder, &[new.clone(), old, child, new]);
    let notes = |at: usize| results[at].notes.join("\n");
    assert!(notes(1).contains("/make: ") && notes(1).contains("build-id"));
    assert!(!notes(0).contains("/make: "), "{results:?}");
    assert_eq!(notes(2), "", "{results:?}");
    assert!(results[0].named > results[1].named, "{results:?}");
}

#[test]
fn more_places_than_are_taken_together() {
    let folder = Folder::new();
    let program = tape_of(&run_probed(&program(&folder, 100)));
    let large = (0..3u64).map(|at| {
        let mut tape = program.clone();
        for chain in 0..70 {
            let first = at * 100_000 + chain * 1000;
            let frames = (first..first + 1000).map(|place| native(1, place));
            let stack = tape.stack(0, &frames.collect::<Vec<_>>());
            tape.alloc(0, 1000 + chain, chain << 12, 1, stack);
        }
        tape
    });
    let mut tapes: Vec<Tape> = large.collect();
    tapes.insert(1, program);
    let results = together_as_alone(&folder, &tapes);
    assert!(results[0].places > 70_000 && results[1].named == results[3].named);
}

/// What the symbol library makes of a damaged file depends on what else it is asked; the tapes do
/// not depend on each other all the same.
#[test]
fn damaged_debug_information_is_each_tape_s_own() {
    let folder = Folder::new();
    let program = program(&folder, 100);
    let probed = tape_of(&run_probed(&program));
    let module = probed
        .modules
        .iter()
        .find(|module| module.path.ends_with("/make"));
    let (path, build_id) = module
        .map(|module| (module.path.clone(), module.build_id.clone()))
        .unwrap();
    let tapes: Vec<Tape> = (0..4u64)
        .map(|at| {
            let mut tape = Tape::new();
            let number = tape.module(&path, &build_id);
            for place in 0..40 {
                let offset = 0x1000 + (at * 40 + place) * 8;
                let stack = tape.stack(0, &[native(number, offset)]);
                tape.alloc(0, 5 + place, (1 + place) << 12, 10, stack);
            }
            tape
        })
        .chain([probed])
        .collect();
    let whole = std::fs::read(&program).unwrap();
    let note = whole.windows(build_id.len()).position(|at| at == build_id);
    let after_note = note.unwrap() + build_id.len();
    let mut random = 7u64;
    for _ in 0..24 {
        let mut bytes = whole.clone();
        for _ in 0..200 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            let room = bytes.len() - after_note;
            bytes[after_note + (random >> 33) as usize % room] = (random >> 8) as u8;
        }
        std::fs::remove_file(&program).unwrap();
        std::fs::write(&program, bytes).unwrap();
        together_as_alone(&folder, &tapes);
    }
}
