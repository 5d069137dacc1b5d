//! `heaptape recover`: what a killed `heaptape run` left behind.

use super::output::{Output, complain};
use super::{Exit, Outcome, run};
use anyhow::bail;
use clap::Args;
use heaptape::report::units::counted;
use heaptape_drain::{LeftSession, left_sessions, recover};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write the tape of a recording whose launcher was killed
///
/// Without SESSION the sessions that are left are listed. With it, everything that the recorded
/// processes published is written and the session is removed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  heaptape recover\n  \
                  heaptape recover /dev/shm/heaptape-1000-4711-2f.session -o app.tape")]
pub(super) struct Recover {
    /// The session.
    session: Option<PathBuf>,
    /// The tape [default: where it was begun].
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// Leave the symbols to `heaptape symbolize`.
    #[arg(long)]
    no_symbolize: bool,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
}

impl Recover {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let Some(session) = &self.session else {
            return list(output);
        };
        let path = match &self.output {
            Some(path) => Some(std::path::absolute(path)?),
            None => None,
        };
        let session = std::path::absolute(session)?;
        let outcome = recover(&session, path.as_deref())?;
        let paths: Vec<&Path> = outcome
            .tapes
            .iter()
            .filter_map(|tape| tape.path.as_deref())
            .collect();
        if !self.no_symbolize {
            let with_events = outcome.tapes.iter().filter_map(run::tape_to_symbolize);
            run::symbolize(&with_events.collect::<Vec<&Path>>(), self.quiet);
        }
        if paths.is_empty() {
            bail!("nothing was left in {}; it is removed", session.display());
        }
        for tape in &outcome.tapes {
            if let Some(problem) = &tape.problem {
                complain(&format!("process {}: {problem}", tape.pid));
            }
            if let Some(path) = tape.path.as_deref().filter(|_| !self.quiet) {
                let events = counted(tape.counts.events(), "event");
                output.say(&format!("{}: {events}", path.display()))?;
            }
        }
        Ok(Exit::DONE)
    }
}

fn list(output: &mut Output) -> Outcome {
    let sessions = left_sessions();
    if sessions.is_empty() {
        writeln!(output, "no session is left")?;
    }
    for LeftSession {
        path,
        output: tape,
        live_processes,
        ..
    } in &sessions
    {
        let live = match live_processes.len() {
            0 => "its processes are gone".to_owned(),
            _ => {
                let pids: Vec<String> = live_processes.iter().map(u32::to_string).collect();
                format!("still running: {}", pids.join(", "))
            }
        };
        writeln!(output, "{}", path.display())?;
        writeln!(output, "    tape {}, {live}", tape.display())?;
        writeln!(
            output,
            "    heaptape recover {} -o {}",
            path.display(),
            tape.display()
        )?;
    }
    Ok(Exit::DONE)
}
