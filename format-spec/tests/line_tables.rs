//! Lines of code objects against what interpreters say: `tests/data/line_tables.py` has them tell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

#[path = "../../tests/pythons.rs"]
#[allow(unreachable_pub, reason = "the file is of more than one package")]
mod pythons;

use heaptape_format::line_table::{LineTable, line_of};
use pythons::pythons;
use std::path::{Path, PathBuf};
use std::process::Command;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// A code object, and the line of each instruction as an interpreter reads it.
struct Case {
    form: u8,
    first_line: u32,
    table: Vec<u8>,
    lines: Vec<u32>,
}

impl Case {
    fn new(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap();
        let (form, first_line) = (word().parse().unwrap(), word().parse().unwrap());
        let hex = word().trim_matches(['<', '>']).as_bytes();
        let byte =
            |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        let run = |word: &str| {
            let (count, line) = word.split_once(':').unwrap();
            std::iter::repeat_n(line.parse().unwrap(), count.parse().unwrap())
        };
        Self {
            form,
            first_line,
            table: hex.chunks(2).map(byte).collect(),
            lines: words.flat_map(run).collect(),
        }
    }

    fn check(&self) {
        let read = LineTable::new(self.form, self.first_line, &self.table);
        let instructions = 0..self.lines.len() as u32;
        let lines: Vec<u32> = instructions.clone().map(|place| read.line(place)).collect();
        assert_eq!(lines, self.lines, "{} {:02x?}", self.first_line, self.table);
        // One by one is slow: some of them.
        for place in instructions.step_by(self.lines.len() / 20 + 1) {
            let line = line_of(self.form, self.first_line, &self.table, place);
            assert_eq!(line, read.line(place));
        }
        // Behind the code only the oldest form goes on.
        let behind = self.lines.len() as u32;
        assert!(self.form == 1 || read.line(behind) == 0);
    }
}

/// Checks the cases of a text, and says how many they are and how many instructions they have.
fn check_all(text: &str) -> (usize, usize) {
    let mut counts = (0, 0);
    for case in text.lines().map(Case::new) {
        case.check();
        counts.0 += 1;
        counts.1 += case.lines.len();
    }
    counts
}

#[test]
fn lines_are_those_of_every_interpreter() {
    for (version, form) in [
        ("3.9", 1),
        ("3.10", 2),
        ("3.11", 3),
        ("3.12", 3),
        ("3.13", 3),
    ] {
        let text = std::fs::read_to_string(data(&format!("lines_of_{version}.txt"))).unwrap();
        let cases: Vec<Case> = text.lines().map(Case::new).collect();
        assert!(cases.iter().all(|case| case.form == form), "{version}");
        // The kinds of tables that are easily read wrongly are among them.
        let falls = |case: &Case| case.lines.windows(2).any(|pair| pair[1] < pair[0]);
        assert!(cases.iter().any(falls), "{version}");
        let has_none = |case: &Case| case.lines.contains(&0);
        assert!(form == 1 || cases.iter().any(has_none), "{version}");
        let (count, instructions) = check_all(&text);
        assert!(
            count > 100 && instructions > 4000,
            "{version}: {count}, {instructions}"
        );
    }
}

/// Thousands of code objects of the standard library of each interpreter that is to be asked.
#[test]
fn lines_are_those_of_the_interpreters_that_are_here() {
    for python in pythons() {
        let output = Command::new(&python)
            .arg("-B") // leaves nothing behind in the source tree
            .arg(data("line_tables.py"))
            .arg("all")
            .output()
            .expect("this test needs python3");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{python}: {errors}");
        let (count, instructions) = check_all(&String::from_utf8(output.stdout).unwrap());
        assert!(
            count > 1000 && instructions > 50_000,
            "{python}: {count}, {instructions}"
        );
    }
}
