//! The library as a program meets it: built, preloaded into C programs, and read back from the
//! session with the session crate alone.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing test fails by panicking, also in what the tests share"
)]

mod allocators;
mod calls;
mod children;
mod drainer;
mod faults;
mod images;
mod library;
mod options;
mod signals;
mod stacks;
mod target;
mod threads;
