//! The recorder that is preloaded into the target: hooks, threads, stacks, rings.
//!
//! It lives inside other people's processes: it never allocates through the hooks, takes no lock
//! on the event path, never panics, never sets `errno` and prints nothing.
#![cfg_attr(not(test), no_std)]

pub mod arena;
pub mod modules;
pub mod stack;
pub mod syscall;
