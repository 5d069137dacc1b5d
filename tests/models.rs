//! The loom models of the ring, which need a build of their own (`--cfg loom`): so that the one
//! test command of the README runs them too.

use heaptape_tests::{build, repository};
use std::process::Command;

#[test]
fn the_ring_holds_in_every_interleaving() {
    let mut command = Command::new(repository().join(".ci/models"));
    command
        .arg("test")
        .env("CARGO", env!("CARGO"))
        .env("CARGO_TARGET_DIR", build::target_folder());
    let output = command.output().expect("bash runs");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let passed = stdout
        .lines()
        .find(|line| line.starts_with("test result: ok."));
    let count: u32 = passed
        .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .unwrap_or_else(|| panic!("no result in {stdout}"));
    assert!(count >= 10, "only {count} models ran");
}
