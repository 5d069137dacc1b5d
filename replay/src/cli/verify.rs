//! `heaptape verify`: check every checksum of a tape.

use super::args::FactsFormat;
use super::output::Output;
use super::{Exit, Outcome};
use clap::Args;
use heaptape::report::units::{count, counted};
use heaptape::{Gap, Tape};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Check every checksum of a tape and count what is damaged
///
/// Exit 1 when anything is damaged.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heaptape verify app.tape --format json")]
pub(super) struct Verify {
    /// The tape.
    tape: PathBuf,
    /// How to write the answer.
    #[arg(long, value_enum, default_value_t = FactsFormat::Text)]
    format: FactsFormat,
}

#[derive(Debug, Serialize)]
struct Json {
    tape: String,
    chunks: u64,
    damaged: u64,
    lost_events: u64,
    readable_events: u64,
    unreadable_events: u64,
    first_damage_offset: Option<u64>,
    has_end: bool,
}

/// How many events cannot be read. Without the tape's end none is known of behind the last chunk.
fn lost_words(events: u64, has_end: bool) -> String {
    match (events, has_end) {
        (0, true) => ", none is lost".to_owned(),
        (0, false) => String::new(),
        (events, true) => format!(", {} cannot", count(events)),
        (events, false) => format!(", at least {} cannot", count(events)),
    }
}

impl Verify {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let opened = Tape::open(&self.tape)?;
        let found = opened.verify();
        let tape = self.tape.display().to_string();
        if self.format == FactsFormat::Json {
            let json = Json {
                tape,
                chunks: found.chunks,
                damaged: found.damaged,
                lost_events: found.lost_events,
                readable_events: found.readable_events,
                unreadable_events: found.unreadable_events,
                first_damage_offset: found.first_damage_offset,
                has_end: opened.end.is_some(),
            };
            serde_json::to_writer(&mut *output, &json)?;
            writeln!(output)?;
        } else {
            let (chunks, events) = (
                counted(found.chunks, "chunk"),
                counted(found.readable_events, "event"),
            );
            let state = match found.first_damage_offset {
                Some(offset) if found.damaged > 0 => format!(
                    "{} damaged or missing, the first at offset {offset}; {events} can be read{}",
                    count(found.damaged),
                    lost_words(found.unreadable_events, opened.end.is_some())
                ),
                _ if found.damaged > 0 => format!("{} damaged", count(found.damaged)),
                _ if found.chunks == 1 => format!("{chunks} with {events} is whole"),
                _ => format!("{chunks} with {events} are whole"),
            };
            output.say(&format!("{tape}: {state}"))?;
            if opened.end.is_none() {
                output.say(&format!("{tape}: {}", Gap::NoEnd))?;
            }
            if found.lost_events > 0 {
                let lost = counted(found.lost_events, "event");
                output.say(&format!("{tape}: {lost} lost while recording"))?;
            }
        }
        Ok(if found.damaged > 0 {
            Exit::GATE_NOT_MET
        } else {
            Exit::DONE
        })
    }
}
