//! `heaptape mark`, `heaptape pause`, `heaptape resume`: asked of a program that is being recorded.

use super::output::{self, Output};
use super::{Exit, Outcome};
use clap::Args;
use heaptape_drain::outside::{self, Marked};

fn process_id(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "write a process id, as ps shows it".to_owned())
}

/// Set a named moment in the tape of a running program
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape mark 4711 loaded")]
pub(super) struct Mark {
    /// The recorded process.
    #[arg(value_parser = process_id)]
    pid: u32,
    /// The moment's name; `mark:` stands for those with an empty one.
    name: String,
}

/// Record no allocations of a running program until heaptape resume
///
/// Frees of blocks that are known are still recorded. The tape gets a mark, `paused`. What the
/// program starts meanwhile is paused, too.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape pause 4711")]
pub(super) struct Pause {
    /// The recorded process.
    #[arg(value_parser = process_id)]
    pid: u32,
}

/// Record a paused program again
///
/// The tape gets a mark, `resumed`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape resume 4711")]
pub(super) struct Resume {
    /// The recorded process.
    #[arg(value_parser = process_id)]
    pid: u32,
}

impl Mark {
    pub(super) fn run(self, _output: &mut Output) -> Outcome {
        outside::mark(self.pid, &self.name)?;
        Ok(Exit::DONE)
    }
}

impl Pause {
    pub(super) fn run(self, _output: &mut Output) -> Outcome {
        pause(self.pid, true, "paused")
    }
}

impl Resume {
    pub(super) fn run(self, _output: &mut Output) -> Outcome {
        pause(self.pid, false, "recorded again")
    }
}

fn pause(pid: u32, wanted: bool, done: &str) -> Outcome {
    if outside::pause(pid, wanted)? == Marked::Later {
        output::note(&format!(
            "process {pid} is {done}; its tape gets the mark when its launcher, which is stopped \
             or busy, goes on"
        ));
    }
    Ok(Exit::DONE)
}
