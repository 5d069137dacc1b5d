//! Symbols in a tape: it answers the same without the recorded program.

use crate::containers::{compile_cpp, run_probed, tape_of};
use crate::tape::Folder;
use heaptape::symbols::symbolize_tape;
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo};
use heaptape_format::{ChunkKind, TapeHeader};
use std::path::PathBuf;

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
