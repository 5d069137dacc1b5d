//! Symbols, statistics, reports and the command line, on tapes made on purpose and on the stacks
//! of real programs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod bad_input;
mod containers;
mod embedding;
mod export;
mod languages;
mod numbers;
mod python;
mod tape;
mod texts;
mod unusual;
mod verbs;
