//! The golden vectors: tapes that never change while the format has its version.
//!
//! Each tape in `vectors/` is made again and compared, decoded by the crate, and decoded by
//! `reference/decode.py`. `HEAPTAPE_WRITE_VECTORS=1` writes what is missing; a vector that is there
//! is never changed: a different tape needs another `FORMAT_VERSION`, or its file deleted by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

mod build;
mod content;
mod damaged;
mod defects;
mod dump;
mod later;
mod mutations;
mod valid;

use dump::dump;
use heaptape_format::TapeHeader;
use heaptape_format::scan::{Found, Scan};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name)
}

/// Every vector: its folder, name and bytes.
fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let valid = valid::vectors().into_iter();
    let damaged = damaged::vectors().into_iter();
    valid
        .map(|(name, tape)| ("valid", name, tape))
        .chain(damaged.map(|(name, tape)| ("damaged", name, tape)))
        .collect()
}

/// What must not change: the bytes of a tape, with compressed payloads in the place of what a
/// release of the compressor makes of them. A part that cannot be read is its bytes.
fn canonical(tape: &[u8]) -> Vec<Vec<u8>> {
    let Ok((_, length)) = TapeHeader::decode(tape) else {
        return vec![tape.to_vec()];
    };
    let mut parts = vec![tape[..length].to_vec()];
    for found in Scan::new(tape, length) {
        let Found::Chunk(chunk) = found else {
            return vec![tape.to_vec()];
        };
        let mut payload = Vec::new();
        if chunk.payload(tape, &mut payload).is_err() {
            return vec![tape.to_vec()];
        }
        let mut header = chunk.header;
        (header.stored_bytes, header.payload_checksum) = (0, 0);
        parts.push(format!("{header:?}").into_bytes());
        parts.push(payload);
    }
    parts
}

#[test]
fn vectors_are_made_again_to_the_byte() {
    let write = std::env::var_os("HEAPTAPE_WRITE_VECTORS").is_some();
    let mut names = BTreeSet::new();
    for (kind, name, tape) in all() {
        let path = folder(kind).join(name).with_extension("tape");
        assert!(names.insert(path.clone()), "two vectors are called {name}");
        if write && !path.exists() {
            fs::create_dir_all(folder(kind)).unwrap();
            fs::write(&path, &tape).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            canonical(&stored) == canonical(&tape),
            "{}: the format changed (see the top of this test)",
            path.display()
        );
    }
    for kind in ["valid", "damaged"] {
        for entry in fs::read_dir(folder(kind)).unwrap() {
            let path = entry.unwrap().path();
            let tape = path.with_extension("tape");
            assert!(names.contains(&tape), "{}: made by no test", path.display());
        }
    }
}

#[test]
fn every_vector_says_what_its_text_says() {
    let write = std::env::var_os("HEAPTAPE_WRITE_VECTORS").is_some();
    for (kind, name, made) in all() {
        let path = folder(kind).join(name).with_extension("txt");
        // The stored tape: offsets behind a compressed chunk depend on the compressor.
        let text = dump(&fs::read(path.with_extension("tape")).unwrap_or(made));
        if write && !path.exists() {
            fs::create_dir_all(folder(kind)).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path);
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, expected, "{}", path.display());
        let complains = ["refused:", "damage at", "unreadable:", "must be understood"];
        let is_bad = complains.iter().any(|word| text.contains(word));
        // What only a comparison of chunks shows: a stream that falls back, chunks that are gone.
        let is_bad = is_bad || ["event_order", "chunks_missing"].contains(&name);
        assert_eq!(is_bad, kind == "damaged", "{name}");
    }
}

/// What `reference/decode.py` prints for `tapes`, one text each.
fn python(tapes: &[PathBuf]) -> Vec<String> {
    let decoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/decode.py");
    let output = Command::new("python3")
        .arg("-B") // leaves nothing behind in the source tree
        .arg(decoder)
        .arg("--separate")
        .args(tapes)
        .output()
        .expect("this test needs python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "decode.py: {errors}");
    let texts = String::from_utf8(output.stdout).unwrap();
    let texts: Vec<String> = texts.split_terminator('\0').map(str::to_owned).collect();
    assert_eq!(texts.len(), tapes.len(), "decode.py: {errors}");
    texts
}

#[test]
fn the_second_decoder_reads_every_vector_alike() {
    let paths: Vec<PathBuf> = all()
        .iter()
        .map(|(kind, name, _)| folder(kind).join(name).with_extension("tape"))
        .collect();
    for (path, text) in paths.iter().zip(python(&paths)) {
        let tape = fs::read(path).unwrap();
        assert_eq!(text, dump(&tape), "{}", path.display());
    }
}

/// Vectors with bytes changed and checksums made good again: both decoders must name the same
/// values and the same faults, also where the bytes make no sense.
#[test]
fn the_second_decoder_reads_every_mutation_alike() {
    let folder = tempfile::tempdir().unwrap();
    let mut tapes = Vec::new();
    let mut paths = Vec::new();
    for (number, tape) in mutations::mutations(1200).into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.tape"));
        fs::write(&path, &tape).unwrap();
        tapes.push(tape);
        paths.push(path);
    }
    let mut unreadable = 0;
    for ((tape, text), number) in tapes.iter().zip(python(&paths)).zip(0..) {
        let expected = dump(tape);
        unreadable += usize::from(expected.contains("unreadable"));
        assert_eq!(text, expected, "mutation {number}");
    }
    // Mutations that change nothing, or only break, would compare little.
    assert!(
        (200..1000).contains(&unreadable),
        "{unreadable} of 1200 unreadable"
    );
}
