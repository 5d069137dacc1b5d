//! End-to-end tests: programs are recorded by the executable and its answers are compared with
//! what is known of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod allocators;
mod ancestry;
mod attribution;
mod bad_input;
mod beginnings;
mod control;
mod counts;
mod cpp_names;
mod crowd;
mod debug_files;
mod deep_stacks;
mod domains;
mod faults;
mod folding;
mod forbidden;
mod gates;
mod harmless;
mod harmless_ways;
mod holes;
mod images;
mod inheritance;
mod interrupted;
mod job_control;
mod libraries;
mod lineage;
mod linked;
mod live;
mod loader;
mod messages;
mod models;
mod names;
mod nested;
mod not_recorded;
mod odd_names;
mod processes;
mod python;
mod python_module;
mod questions;
mod readme;
mod real_programs;
mod recovery;
mod repack;
mod shells;
mod suites;
mod symbols;
mod terminals;
mod tidy;
mod tight_memory;
mod top;
mod top_screen;
mod tree_notes;
mod truth;
mod unpacking;
mod usage;
mod widths;

use heaptape_tests::answers::rows;
use heaptape_tests::{Room, wait_for};

/// (bytes, blocks) that `function` has alive at the end of `tape`.
fn truth_of(room: &Room, tape: &str, function: &str) -> (u64, u64) {
    let stats = room.json(&["stats", tape, "--at", "end", "--group-by", "function"]);
    rows(&stats).get(function).copied().unwrap_or_default()
}

/// Waits until process `pid` is gone or a zombie. So is one whose first thread has left, though it
/// goes on.
fn wait_for_zombie(pid: u32) {
    wait_for("a zombie", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}
