//! One run of a module of CPython's tests, and what became of each test.

use super::LIMIT;
use heaptape_tests::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// What hangs on some machines, bare as well: it needs a host for virtual machines' sockets.
const LEFT_OUT: &str = "*.ThreadedVSOCKSocketStreamTest.*";

/// Test → outcome.
pub(super) type Outcomes = BTreeMap<String, String>;

/// A module of tests, and where Python gets its objects from: `pymalloc`, or `malloc`; `default`
/// leaves that to the interpreter.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) python: PathBuf,
    pub(super) module: &'static str,
    pub(super) allocator: &'static str,
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let python = self.python.display();
        write!(formatter, "{python}, {}, {}", self.module, self.allocator)
    }
}

impl Run {
    /// Exit code and outcomes. `only`: these tests, if any are named.
    pub(super) fn outcomes(
        &self,
        room: &Room,
        tape: Option<&str>,
        only: &[&str],
    ) -> (i32, Outcomes) {
        let report = room.path("outcomes.xml");
        let _ = std::fs::remove_file(&report);
        let work = room.path("work");
        let python = self.python.to_str().unwrap();
        let mut argv = vec![python, "-m", "test", "--verbose", "--timeout", "900"];
        argv.extend(["--junit-xml", report.to_str().unwrap()]);
        argv.extend(["--tempdir", work.to_str().unwrap(), "--ignore", LEFT_OUT]);
        argv.extend(only.iter().flat_map(|name| ["--match", *name]));
        argv.push(self.module);
        let mut command = match tape {
            Some(tape) => room.record_command(tape, &["--force"], &argv),
            None => {
                let mut command = room.command(python);
                command.args(&argv[1..]);
                command
            }
        };
        match self.allocator {
            "default" => command.env_remove("PYTHONMALLOC"),
            allocator => command.env("PYTHONMALLOC", allocator),
        };
        let outcome = room.start(&mut command).finish_within(LIMIT);
        let report = std::fs::read_to_string(&report).unwrap_or_else(|error| {
            let (code, stderr) = (outcome.code, &outcome.stderr);
            panic!("{self}: no report: {error}; exit code {code}, {stderr}")
        });
        let mut found = in_report(&report);
        // Subtests that fail, and what goes wrong around the tests, are in the text alone.
        let lines = outcome.stdout.lines().chain(outcome.stderr.lines());
        for name in lines.filter_map(failed_in) {
            found.insert(name, "failed".to_owned());
        }
        (outcome.code, found)
    }
}

/// The test of a line `FAIL: test_name (test.test_module.Class.test_name) (subtest)`; before 3.11
/// the parentheses have the class alone.
fn failed_in(line: &str) -> Option<String> {
    let text = line
        .strip_prefix("FAIL: ")
        .or_else(|| line.strip_prefix("ERROR: "))?;
    let Some((name, rest)) = text.split_once(" (") else {
        return Some(line.to_owned());
    };
    let whole = rest.split(')').next().unwrap_or(rest);
    let is_whole = whole.rsplit('.').next() == Some(name) || name.contains(' ');
    Some(if is_whole {
        whole.to_owned()
    } else {
        format!("{whole}.{name}")
    })
}

/// Reads what `--junit-xml` wrote.
fn in_report(report: &str) -> Outcomes {
    let mut found = Outcomes::new();
    for case in report.split("<testcase ").skip(1) {
        let name = case.split("name=\"").nth(1).unwrap();
        let name = name.split('"').next().unwrap().to_owned();
        let outcome = if case.contains("<failure") || case.contains("<error") {
            "failed"
        } else if case.contains("<skipped") {
            "skipped"
        } else {
            "passed"
        };
        let all = found.entry(name).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(outcome);
    }
    found
}

/// The names whose outcomes differ.
pub(super) fn differing<'a>(one: &'a Outcomes, other: &'a Outcomes) -> Vec<&'a str> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = names.into_iter().filter(|n| one.get(*n) != other.get(*n));
    differing.map(String::as_str).collect()
}
