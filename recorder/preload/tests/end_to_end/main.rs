//! The library as a program meets it: built, preloaded into C programs, and read back from the
//! session with the session crate alone.
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "tests call the C library in passing"
)]

mod calls;
mod drainer;
mod target;
