//! The executable `heaptape`: hands the command line to [`cli`], nothing else.

mod cli;
mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
