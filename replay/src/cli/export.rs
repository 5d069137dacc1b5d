//! `heaptape export`: a moment of a tape in another tool's format.

use super::args::{FilterArgs, OpenArgs, TapeAt, number};
use super::output::{self, Output};
use super::window::{Early, Window};
use super::{Exit, Outcome, open};
use anyhow::bail;
use clap::{Args, ValueEnum};
use heaptape::Recording;
use heaptape::export::Place;
use heaptape::export::tracemalloc::{FILES, FRAMES_MAX, Snapshot, Written};
use heaptape::report::units::{counted, size};
use heaptape::stats::Query;
use heaptape::symbols::Language;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// In place of a file: standard output.
const STANDARD_OUTPUT: &str = "-";
const NATIVE: &str = "native";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// A pickle for tracemalloc.Snapshot.load of Python 3.9 and later.
    Tracemalloc,
}

/// Write a moment of a tape in another tool's format
///
/// tracemalloc: one trace for each block of Python's allocators (raw, mem and obj) that is alive,
/// with the frames of Python alone. Without @T the moment is the peak.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape export --to tracemalloc app.tape@end -o end.pickle\n  \
    heaptape export --to tracemalloc app.tape@90% --from mark:warm --frames 25 -o - > leak.pickle")]
pub(super) struct Export {
    /// The format.
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: To,
    /// The tape, and the moment [default: peak].
    #[arg(value_name = "TAPE[@T]")]
    tape: OsString,
    /// The file to write; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file of this format that is there.
    #[arg(long)]
    force: bool,
    /// Only blocks that were allocated from this moment on, as if tracemalloc.start() had run then.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// Keep so many frames of a traceback, the most recent ones [default: all, up to 65535].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number(1..=FRAMES_MAX, "write how many frames, from 1 to 65535"))]
    frames: Option<u16>,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
    /// native: blocks of the C library too, as tracemalloc's domain 1. Other words, or several,
    /// choose as in heaptape stats [default: raw, mem and obj, which are domain 0].
    #[arg(long, value_name = "NAME", help_heading = "Grouping and choosing")]
    domain: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    open: OpenArgs,
}

impl Export {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let To::Tracemalloc = self.to;
        let tape = TapeAt::parse(&self.tape)?;
        tape.refuse_no_tape(&self.tape)?;
        let place = self.place()?;
        let recording = open::open(&tape.path, &self.open)?;
        let (snapshot, moment) = self.snapshot(&recording, tape.moment.as_deref())?;
        output::notes(&snapshot.notes);
        let Some(place) = place else {
            snapshot.write(output)?;
            return Ok(Exit::DONE);
        };
        let written = place.write(|file| snapshot.write(file))?;
        if !self.quiet {
            let file = self.output.display();
            output.say(&format!("{file}: {}, alive at {moment}", words(&written)))?;
            if written.blocks == 0 {
                output::note("no block is left to export; --domain native adds the C library's");
            }
        }
        Ok(Exit::DONE)
    }

    /// Where it goes; None: to standard output.
    fn place(&self) -> anyhow::Result<Option<Place>> {
        if self.output.as_os_str() == STANDARD_OUTPUT {
            if std::io::stdout().is_terminal() {
                bail!("a pickle is nothing for a terminal; name a file, as in -o x.pickle");
            }
            return Ok(None);
        }
        Ok(Some(Place::new(&self.output, self.force, FILES)?))
    }

    /// The snapshot, and its moment in words.
    fn snapshot(
        &self,
        recording: &Recording,
        moment: Option<&str>,
    ) -> anyhow::Result<(Snapshot, String)> {
        let from = self.from.as_deref();
        let window = Window::new(recording, (from, Early::IsKnown), (moment, "peak"), "@")?;
        let first = from.map_or(0, |_| window.first_stamp());
        // Native blocks beside Python's: what the heap is everywhere else.
        let adds_native = self.domain.iter().all(|name| name == NATIVE);
        let domains = if adds_native {
            &[]
        } else {
            self.domain.as_slice()
        };
        let base = Query {
            language: Some(Language::Python),
            ..Query::default()
        };
        let query = self.filter.choose_in(domains, base);
        let limit = self.frames.unwrap_or(FRAMES_MAX);
        let has_native = !self.domain.is_empty();
        let snapshot = Snapshot::new(&query, first, window.end(), has_native, limit)?;
        Ok((snapshot, window.words().1))
    }
}

fn words(written: &Written) -> String {
    let all = format!(
        "{} in {}",
        size(written.bytes),
        counted(written.blocks, "block")
    );
    match written.without_frames {
        0 => all,
        some => format!("{all} ({some} without a frame of Python)"),
    }
}
