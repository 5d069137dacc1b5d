//! The executable `heaptape`: hands the command line to [`cli`], nothing else.

mod cli;
mod launch;

use launch::last_words::Allocator;
use std::process::ExitCode;

/// Memory that is used up ends a verb in an orderly way.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::main()
}
