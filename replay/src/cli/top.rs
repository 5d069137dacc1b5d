//! `heaptape top`: a tape that grows, in the terminal or as one answer after another.

use super::args::{ChooseArgs, Format, FormatArgs};
use super::output::{self, Output};
use super::stats::Head;
use super::{Exit, Outcome};
use anyhow::{Context, bail};
use clap::Args;
use heaptape::report::units::{count, size, time};
use heaptape::report::{rows_json, rows_text};
use heaptape::stats::query::Answer;
use heaptape::stats::{Amount, Change, Query, SortBy};
use heaptape::top::{Ended, Facts, Looks, Session, Terminal, View, Worker};
use heaptape::{Error, OpenOptions};
use heaptape_drain::tape_of::tape_of;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a tape that has only just begun is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long that is, between two looks.
const NAP: Duration = Duration::from_millis(20);
/// The shortest interval, in seconds, and the longest.
const INTERVALS: (f64, f64) = (0.1, 3600.0);

/// Watch the heap of a running program
///
/// Shows a tape that is being written, or a finished one: what lives, how much is allocated and
/// freed in a second, the rows that hold most and what changed in them. It reads what is new alone.
/// Keys change the grouping (g), the order (s), the filter (/), hold the moment (space); ? names
/// all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape top app.tape\n  \
    heaptape top 4711 --group-by function --interval 0.5\n  \
    heaptape top app.tape --batch 10 --format json | jq .total")]
pub(super) struct Top {
    /// The tape, or the id of a process that is being recorded.
    #[arg(value_name = "TAPE|PID")]
    what: PathBuf,
    /// Seconds between two looks at the tape. (Recorders write every second.)
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    #[arg(allow_negative_numbers = true)]
    interval: Duration,
    /// Write so many answers as lines, one an interval, in place of a screen; at most up to the end
    /// of the recording. 0: up to its end.
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
    /// Write one answer: --batch 1.
    #[arg(long, conflicts_with = "batch")]
    once: bool,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    choose: ChooseArgs,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let (least, most) = INTERVALS;
    let fitting = seconds.filter(|seconds| (least..=most).contains(seconds));
    fitting
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("write seconds, from {least} to {most}"))
}

/// What stands before the rows of one answer in JSON.
#[derive(Debug, Serialize)]
struct JsonHead<'f> {
    pid: u32,
    command: &'f str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<&'f str>,
    #[serde(flatten)]
    head: Head,
    since_ns: u64,
    heap: Sums,
    peak: Peak,
    rates: Option<JsonRates>,
    notes: &'f [String],
}

#[derive(Debug, Serialize)]
struct Sums {
    bytes: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Peak {
    at_ns: u64,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Serialize)]
struct JsonRates {
    allocations_per_s: f64,
    bytes_per_s: f64,
    frees_per_s: f64,
}

impl Top {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let batch = if self.once { Some(1) } else { self.batch };
        if self.format.format == Format::Csv {
            bail!("top has no --format csv; use text or json");
        }
        if batch.is_none() {
            self.refuse_no_screen()?;
        }
        let path = self.path()?;
        let session = open(&path)?;
        let query = query(&self.choose);
        match batch {
            Some(count) => self.lines(session, &query, count, output),
            None => self.screen(session, query, output),
        }
    }

    /// Fails where no screen can be shown.
    fn refuse_no_screen(&self) -> anyhow::Result<()> {
        if !io::stdout().is_terminal() {
            bail!("standard output is no terminal; --batch N or --once write lines");
        }
        if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            bail!("this terminal (TERM=dumb) shows no screen; --batch N or --once write lines");
        }
        if self.format.format == Format::Json {
            bail!("--format json goes with --batch N or --once");
        }
        Ok(())
    }

    /// The tape. A number is a process, unless a file is called so.
    fn path(&self) -> anyhow::Result<PathBuf> {
        let pid = self.what.to_str().and_then(|text| text.parse().ok());
        match pid {
            Some(pid) if !self.what.exists() => Ok(tape_of(pid)?),
            _ => Ok(self.what.clone()),
        }
    }

    fn screen(&self, session: Session, query: Query, output: &Output) -> Outcome {
        let mut session = session;
        session.advance(Duration::ZERO)?;
        // What can never be answered is said before there is a screen.
        session.ask(&query)?;
        let looks = Looks {
            colored: output.style.colored,
            unicode: is_unicode(),
        };
        let mut view = View::new(query.clone(), looks);
        let worker = Worker::start(session, query, self.interval).context("cannot start")?;
        let mut terminal = Terminal::take().context("cannot take the terminal")?;
        let ended = terminal.run(&mut view, &worker);
        drop(terminal);
        match ended? {
            Ended::Quit => Ok(Exit::DONE),
            Ended::Failed(reason) => bail!(reason),
        }
    }

    /// One answer after another.
    fn lines(
        &self,
        mut session: Session,
        query: &Query,
        wanted: u64,
        output: &mut Output,
    ) -> Outcome {
        let mut written = 0;
        loop {
            let begun = Instant::now();
            catch_up(&mut session, written == 0)?;
            // Asked first: what is written then is all that there is.
            let is_over = session.is_over();
            let answer = session.ask(query)?;
            if let Some(facts) = session.shown() {
                self.write(facts, answer, written > 0, output)?;
            }
            output.flush()?;
            written += 1;
            if is_over || written == wanted {
                return Ok(Exit::DONE);
            }
            sleep(self.interval.saturating_sub(begun.elapsed()));
        }
    }

    fn write(
        &self,
        facts: &Facts,
        mut answer: Answer<Change>,
        is_next: bool,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        // As in `stats`, rows of which nothing lives are none.
        answer.rows.retain(|(_, change)| change.to.count > 0);
        if self.format.format == Format::Json {
            return self.write_json(facts, &answer, output);
        }
        if is_next {
            writeln!(output)?;
        } else {
            output::notes(&answer.notes);
        }
        let answer = live(answer);
        let title = format!(
            "{}: live heap at {}: {}",
            facts.tape,
            time(facts.at_ns),
            self.words(&answer.total)
        );
        output.say(&state_words(facts))?;
        let options = self.choose.text_options(output.style, &self.format);
        rows_text::write(&title, &answer, &options, output)?;
        Ok(())
    }

    fn words(&self, total: &Amount) -> String {
        use heaptape::report::rows::Shown;
        total.words(self.format.sizes())
    }

    /// One object, in one line.
    fn write_json(
        &self,
        facts: &Facts,
        answer: &Answer<Change>,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        let sums = |bytes, count| Sums { bytes, count };
        let head = JsonHead {
            pid: facts.pid,
            command: &facts.command,
            state: facts.state,
            ended_by: facts.ended_by.as_deref(),
            head: Head::of_change(&facts.tape, facts.at_ns, answer),
            since_ns: facts.since_ns,
            heap: sums(facts.total.bytes, facts.total.count),
            peak: Peak {
                at_ns: facts.peak_ns,
                sums: sums(facts.peak.bytes, facts.peak.count),
            },
            rates: facts.rates.map(|rates| JsonRates {
                allocations_per_s: rates.allocations,
                bytes_per_s: rates.bytes,
                frees_per_s: rates.frees,
            }),
            notes: &facts.notes,
        };
        let mut text = Vec::new();
        rows_json::write(&head, answer, self.choose.top(Format::Json), &mut text)?;
        // Within strings there are none.
        text.retain(|byte| *byte != b'\n');
        text.push(b'\n');
        output.write_all(&text)?;
        Ok(())
    }
}

/// Opens the tape; one that its program has only just begun is waited for.
fn open(path: &Path) -> Result<Session, Error> {
    let begun = Instant::now();
    loop {
        match Session::open(path, &OpenOptions::default()) {
            Err(Error::NotBegun { .. }) if begun.elapsed() < PATIENCE => sleep(NAP),
            opened => return opened,
        }
    }
}

/// Reads all that is there; at `first` until there is something.
fn catch_up(session: &mut Session, first: bool) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        session.advance(Duration::MAX)?;
        let has_begun = session.shown().is_some_and(|facts| facts.has_begun);
        let waits = first && !has_begun && !session.is_over();
        if !waits || begun.elapsed() > PATIENCE {
            return Ok(());
        }
        sleep(NAP);
    }
}

/// What is asked: `--sort bytes` means what lives, not what changed.
fn query(choose: &ChooseArgs) -> Query {
    let query = choose.query();
    let sort = match query.sort {
        SortBy::Bytes => SortBy::LiveBytes,
        SortBy::Count => SortBy::LiveCount,
        other => other,
    };
    Query { sort, ..query }
}

/// What lives, without what changed.
fn live(answer: Answer<Change>) -> Answer<Amount> {
    let rows = answer.rows.into_iter();
    Answer {
        total: answer.total.to,
        rows: rows.map(|(key, change)| (key, change.to)).collect(),
        grouper: answer.grouper,
        left_out: answer.left_out,
        notes: answer.notes,
    }
}

/// What stands above the rows: process, state, peak, rates.
fn state_words(facts: &Facts) -> String {
    let mut words = format!("{} ({}): {}", facts.command, facts.pid, facts.state);
    if let Some(end) = &facts.ended_by {
        words.push_str(&format!(" ({end})"));
    }
    words.push_str(&format!(
        "; peak {} at {}",
        size(facts.peak.bytes),
        time(facts.peak_ns)
    ));
    if let Some(rates) = facts.rates {
        words.push_str(&format!(
            "; {} allocations/s, {}/s, {} frees/s",
            count(rates.allocations as u64),
            size(rates.bytes as u64),
            count(rates.frees as u64)
        ));
    }
    for note in &facts.notes {
        words.push_str(&format!("; {note}"));
    }
    words
}

/// True when the user's letters are more than those of ASCII.
fn is_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
