//! Model checks of the ring: loom runs every interleaving (up to a bound of preemptions) of small
//! histories over a heap-backed memory, with chunks of four words.
//!
//! Only built with `--cfg loom`:
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p heaptape-session --test loom
//! --release`. `LOOM_MAX_PREEMPTIONS` widens the search.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a model fails by panicking")]

mod death;
mod heap;
mod ring;
