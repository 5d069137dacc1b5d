//! `heaptape recover`: what a killed `heaptape run` left behind.

use super::args::FactsFormat;
use super::output::{Output, complain};
use super::symbols_of_run::symbolize;
use super::{Exit, Outcome, run, told};
use anyhow::{anyhow, bail};
use clap::Args;
use heaptape::fold::fit;
use heaptape::report::units::{counted, size};
use heaptape_drain::{DrainError, LeftSession, LeftState, TapeOutcome, left_sessions, recover};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write the tape of a recording whose launcher was killed
///
/// Without SESSION the sessions that are left are listed, those of other versions of heaptape and
/// damaged ones too. With it, everything that the recorded processes published is written and the
/// session is removed. Tapes that were begun stay where they are; --output names the others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  heaptape recover\n  \
                  heaptape recover /dev/shm/heaptape-1000-4711-2f.session -o app.tape")]
pub(super) struct Recover {
    /// The session.
    session: Option<PathBuf>,
    /// The tape [default: where it was begun].
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// How to write the list, or which tapes were written.
    #[arg(long, value_enum, default_value_t = FactsFormat::Text)]
    format: FactsFormat,
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
            return list(self.format, output);
        };
        let path = match &self.output {
            Some(path) => Some(std::path::absolute(path)?),
            None => None,
        };
        let session = std::path::absolute(session)?;
        let outcome = recover(&session, path.as_deref()).map_err(|error| match error {
            DrainError::OpenSession { .. } => {
                anyhow!("{error}; heaptape recover lists the sessions that are left")
            }
            other => other.into(),
        })?;
        let paths: Vec<&Path> = outcome
            .tapes
            .iter()
            .filter_map(|tape| tape.path.as_deref())
            .collect();
        if let Some(limit) = outcome.size_limit {
            fit_all(&paths, limit);
        }
        if !self.no_symbolize {
            let with_events = outcome.tapes.iter().filter_map(run::tape_to_symbolize);
            symbolize(
                &with_events.collect::<Vec<&Path>>(),
                outcome.size_limit,
                self.quiet,
            );
        }
        if paths.is_empty() {
            bail!("nothing was left in {}; it is removed", session.display());
        }
        for tape in &outcome.tapes {
            if let Some(problem) = &tape.problem {
                complain(&format!("process {}: {problem}", tape.pid));
            }
            let is_shown = !self.quiet && self.format == FactsFormat::Text;
            if let Some(path) = tape.path.as_deref().filter(|_| is_shown) {
                let events = counted(tape.counts.events(), "event");
                output.say(&format!("{}: {events}", path.display()))?;
            }
        }
        if self.format == FactsFormat::Json {
            let tapes: Vec<Value> = outcome.tapes.iter().filter_map(json_of_tape).collect();
            let session = session.display().to_string();
            let answer = json!({ "session": session, "tapes": tapes });
            serde_json::to_writer(&mut *output, &answer)?;
            writeln!(output)?;
        }
        Ok(Exit::DONE)
    }
}

/// Folds the tapes that are longer than the recording's limit: the rings had more than there was
/// room for.
fn fit_all(paths: &[&Path], limit: u64) {
    for path in paths {
        let name = path.display();
        match fit(path, limit) {
            Ok(true) => {}
            Ok(false) => complain(&format!(
                "{name}: it is longer than its limit of {}: what is alive needs more",
                size(limit)
            )),
            Err(error) => complain(&told(&error.into())),
        }
    }
}

fn json_of_tape(tape: &TapeOutcome) -> Option<Value> {
    Some(json!({
        "tape": tape.path.as_deref()?.display().to_string(),
        "pid": tape.pid,
        "events": tape.counts.events(),
        "problem": tape.problem,
    }))
}

/// Lists the sessions that are left.
fn list(format: FactsFormat, output: &mut Output) -> Outcome {
    let sessions = left_sessions();
    if format == FactsFormat::Json {
        let sessions = sessions.iter().map(json_of).collect::<Vec<Value>>();
        serde_json::to_writer(&mut *output, &json!({ "sessions": sessions }))?;
        writeln!(output)?;
        return Ok(Exit::DONE);
    }
    if sessions.is_empty() {
        writeln!(output, "no session is left")?;
    }
    for session in &sessions {
        let path = session.path.display();
        writeln!(output, "{path}")?;
        match &session.state {
            LeftState::Recoverable { output: tape, .. } => {
                let live = match live(session, "still running: ") {
                    text if text.is_empty() => "its processes are gone".to_owned(),
                    text => text,
                };
                let tape = tape.display();
                writeln!(output, "    tape {tape}, {live}")?;
                writeln!(output, "    heaptape recover {path} -o {tape}")?;
            }
            LeftState::OtherVersion => {
                let line = match live(session, "may be in use by ") {
                    text if text.is_empty() => "read it with that version, or remove it".to_owned(),
                    text => format!("{text}; read it with that version"),
                };
                writeln!(output, "    of another version of heaptape: {line}")?;
            }
            LeftState::Unreadable(reason) => {
                let line = live(session, "; may be in use by ");
                writeln!(output, "    not readable: {reason}{line}")?;
            }
        }
    }
    Ok(Exit::DONE)
}

/// The processes that live, behind `words`; empty when none does.
fn live(session: &LeftSession, words: &str) -> String {
    let pids: Vec<String> = session.live_processes.iter().map(u32::to_string).collect();
    if pids.is_empty() {
        return String::new();
    }
    format!("{words}{}", pids.join(", "))
}

fn json_of(session: &LeftSession) -> Value {
    let (state, reason, tape, started_unix_ns) = match &session.state {
        LeftState::Recoverable {
            output,
            started_unix_ns,
        } => ("left", None, Some(output), Some(started_unix_ns)),
        LeftState::OtherVersion => ("other_version", None, None, None),
        LeftState::Unreadable(reason) => ("unreadable", Some(reason), None, None),
    };
    json!({
        "session": session.path.display().to_string(),
        "state": state,
        "reason": reason,
        "tape": tape.map(|tape| tape.display().to_string()),
        "started_unix_ns": started_unix_ns,
        "live_processes": session.live_processes,
    })
}
