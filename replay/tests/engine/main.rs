//! The replay's engine against a naive model, on tapes with everything that can happen to them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by a panic, and nothing uses it but itself"
)]

mod answers;
mod damage;
mod errors;
mod fold_parts;
mod folding;
mod following;
mod harness;
mod independence;
mod index_file;
mod large;
mod lineage;
mod moments;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "benchmarks use other parts of it")]
mod support;
mod timeline;
