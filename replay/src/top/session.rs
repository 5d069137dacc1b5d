//! What `top` asks of a tape that grows: the state now, and what changed since a moment before.
//!
//! In: a tape. Out: facts and rows of the moment that is shown. It can be held while the tape goes
//! on; rows show what changed since the last moment, or since a baseline.

use crate::error::Error;
use crate::follow::{Advance, Flow, Follower, Stage, Trace};
use crate::gap::INHERITED;
use crate::index::{HeapTotal, Peak};
use crate::recording::OpenOptions;
use crate::report::info::ended_by;
use crate::report::shell::command_line;
use crate::report::units::{counted, time};
use crate::stats::query::Answer;
use crate::stats::{Change, Profile, Query, QueryError};
use crate::symbols::KnownSymbols;
use crate::tape::Tape;
use std::path::Path;
use std::time::{Duration, Instant};

/// Recorders write every second: after so long without news nothing happens any more.
const STALE: Duration = Duration::from_millis(2500);

/// What happened in a second, on average since the moment before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Blocks that began to live.
    pub allocations: f64,
    /// Blocks that died.
    pub frees: f64,
    /// Bytes of those that began to live.
    pub bytes: f64,
}

/// Facts of the moment that is shown.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The tape as it was named.
    pub tape: String,
    /// The command line.
    pub command: String,
    /// The process.
    pub pid: u32,
    /// `recording`, `paused`, `ended` or `cut`.
    pub state: &'static str,
    /// How it ended, as `heaptape info` has it.
    pub ended_by: Option<String>,
    /// The moment.
    pub at_ns: u64,
    /// False while the tape tells of no moment yet.
    pub has_begun: bool,
    /// How much of what is there was read, from 0 to 1.
    pub progress: f64,
    /// The live heap.
    pub total: HeapTotal,
    /// The highest moment so far, and when it was.
    pub peak: Peak,
    /// When that was.
    pub peak_ns: u64,
    /// None: there was no moment before, or nothing is going on any more.
    pub rates: Option<Rates>,
    /// The moment that changes are counted from.
    pub since_ns: u64,
    /// It is a baseline.
    pub has_baseline: bool,
    /// What a reader should know: damage, losses.
    pub notes: Vec<String>,
}

impl Facts {
    /// Of no moment.
    #[must_use]
    pub fn none() -> Self {
        Self {
            tape: String::new(),
            command: String::new(),
            pid: 0,
            state: "recording",
            ended_by: None,
            at_ns: 0,
            has_begun: false,
            progress: 1.0,
            total: HeapTotal::default(),
            peak: Peak::default(),
            peak_ns: 0,
            rates: None,
            since_ns: 0,
            has_baseline: false,
            notes: Vec::new(),
        }
    }
}

/// What is remembered of a moment.
#[derive(Debug, Clone, Default)]
struct Point {
    ns: u64,
    flow: Flow,
    profile: Profile,
}

/// A tape that is watched. See the module.
#[derive(Debug)]
pub struct Session {
    follower: Follower,
    known: KnownSymbols,
    /// The moment that is shown; None: none yet.
    shown: Option<(Point, Facts, Trace)>,
    /// The one before.
    before: Option<Point>,
    baseline: Option<Point>,
    is_held: bool,
    /// When the last news came.
    news: Instant,
}

impl Session {
    /// Watches the tape at `path`.
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        Ok(Self {
            follower: Follower::open(path, options)?,
            known: KnownSymbols::default(),
            shown: None,
            before: None,
            baseline: None,
            is_held: false,
            news: Instant::now(),
        })
    }

    /// Looks for news, for about `budget`. True when the facts or rows are others than before.
    ///
    /// # Errors
    /// As [`Follower::advance`].
    pub fn advance(&mut self, budget: Duration) -> Result<bool, Error> {
        let stage = self.follower.stage();
        let advance = self.follower.advance(budget)?;
        if advance == Advance::Anew {
            self.known = KnownSymbols::default();
            (self.shown, self.before, self.baseline) = (None, None, None);
        }
        let was_stale = self.is_stale();
        if advance != Advance::Same {
            self.news = Instant::now();
        }
        let is_new = advance != Advance::Same || stage != self.follower.stage();
        if self.is_held && self.shown.is_some() {
            return Ok(false);
        }
        if is_new || self.shown.is_none() {
            self.show();
        } else if was_stale != self.is_stale() {
            self.renew_facts();
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn is_stale(&self) -> bool {
        self.news.elapsed() > STALE
    }

    /// Shows the follower's moment.
    fn show(&mut self) {
        let point = Point {
            ns: self.follower.moment().ns,
            flow: self.follower.flow(),
            profile: self.follower.profile(),
        };
        let has_begun = self.shown.as_ref().is_some_and(|shown| shown.1.has_begun);
        let last = self.shown.take().map(|(point, ..)| point);
        let is_later = last.as_ref().is_some_and(|last| last.ns < point.ns);
        if is_later && has_begun {
            self.before = last;
        } else if self.before.is_none() && self.follower.has_begun() {
            self.before = Some(point.clone());
        }
        let facts = self.facts(&point);
        self.shown = Some((point, facts, self.follower.trace().clone()));
    }

    fn renew_facts(&mut self) {
        if let Some((point, _, trace)) = self.shown.take() {
            let facts = self.facts(&point);
            self.shown = Some((point, facts, trace));
        }
    }

    fn facts(&self, point: &Point) -> Facts {
        let follower = &self.follower;
        let tape = follower.tape();
        let is_over = follower.stage() != Stage::Recording && follower.has_caught_up();
        let state = match follower.stage() {
            Stage::Ended => "ended",
            Stage::Cut => "cut",
            Stage::Recording if is_paused(tape) => "paused",
            Stage::Recording => "recording",
        };
        let peak = follower.peak();
        let origin = self.baseline.as_ref().or(self.before.as_ref());
        Facts {
            tape: tape.path.display().to_string(),
            command: command_line(&tape.process.command),
            pid: match tape.process.pid {
                0 => tape.header.pid,
                pid => pid,
            },
            state,
            ended_by: tape.end.as_ref().map(|end| ended_by(Some(end))),
            at_ns: point.ns,
            has_begun: follower.has_begun(),
            progress: follower.progress(),
            total: follower.total(),
            peak_ns: tape.header.stamp_to_ns(peak.stamp),
            peak,
            rates: self.rates(point).filter(|_| !is_over),
            since_ns: origin.map_or(point.ns, |origin| origin.ns),
            has_baseline: self.baseline.is_some(),
            notes: self.notes(),
        }
    }

    fn rates(&self, now: &Point) -> Option<Rates> {
        let before = self.before.as_ref()?;
        if self.is_stale() {
            return Some(Rates::default());
        }
        let passed = now.ns.checked_sub(before.ns).filter(|&ns| ns > 0)?;
        let seconds = passed as f64 / 1e9;
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Some(Rates {
            allocations: rate(now.flow.allocations, before.flow.allocations),
            frees: rate(now.flow.frees, before.flow.frees),
            bytes: rate(now.flow.bytes, before.flow.bytes),
        })
    }

    fn notes(&self) -> Vec<String> {
        let tape = self.follower.tape();
        let mut notes = Vec::new();
        let damaged = self.follower.damaged();
        if damaged > 0 {
            let places = counted(damaged, "place");
            notes.push(format!(
                "the tape is damaged in {places}: this is what can be read"
            ));
        }
        let lost = tape.lost_events();
        if lost > 0 {
            notes.push(format!("{} lost while recording", counted(lost, "event")));
        }
        if let Some(message) = tape.end.as_ref().map(|end| end.message.as_str()) {
            notes.extend((!message.is_empty()).then(|| message.to_owned()));
        }
        if let Some(folded) = &tape.folded {
            let from = time(tape.header.stamp_to_ns(folded.stamp));
            notes.push(format!("folded up to {from}: what died before is gone"));
        }
        notes
    }

    /// The facts of the moment that is shown; None before there was any.
    #[must_use]
    pub fn shown(&self) -> Option<&Facts> {
        self.shown.as_ref().map(|(_, facts, _)| facts)
    }

    /// Live bytes over time up to the moment that is shown.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.shown.as_ref().map(|(.., trace)| trace)
    }

    /// True when nothing can change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.follower.is_over()
    }

    /// True when all that is there is shown.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        self.follower.has_caught_up()
    }

    /// Holds the moment that is shown, or goes on to the present one.
    pub fn hold(&mut self, wanted: bool) {
        if self.is_held && !wanted {
            self.is_held = false;
            self.show();
        }
        self.is_held = wanted;
    }

    /// Counts changes from the moment that is shown on, or again from the last moment.
    pub fn set_baseline(&mut self, wanted: bool) {
        let shown = self.shown.as_ref().map(|(point, ..)| point.clone());
        self.baseline = shown.filter(|_| wanted);
        let origin = self.baseline.as_ref().or(self.before.as_ref());
        if let Some((point, facts, _)) = &mut self.shown {
            facts.since_ns = origin.map_or(point.ns, |origin| origin.ns);
            facts.has_baseline = wanted;
        }
    }

    /// The rows of the moment that is shown, and what changed.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn ask(&mut self, query: &Query) -> Result<Answer<Change>, QueryError> {
        let empty = Profile::default();
        let now = self.shown.as_ref().map(|(point, ..)| &point.profile);
        let now = now.unwrap_or(&empty);
        let origin = self.baseline.as_ref().or(self.before.as_ref());
        let from = origin.map_or(now, |origin| &origin.profile);
        let tape = self.follower.tape();
        let mut answer = query.standing(tape, &mut self.known, from, now)?;
        if query.inherited && !self.follower.knows_inherited() {
            let path = tape.path.display();
            answer.notes.push(format!("{path}: {INHERITED}"));
        }
        Ok(answer)
    }
}

/// True when the last mark from outside says so.
fn is_paused(tape: &Tape) -> bool {
    let mut marks = tape.marks.iter().rev();
    let last = marks.find(|mark| mark.stream == u32::MAX && is_switch(&mark.name));
    last.is_some_and(|mark| mark.name == "paused")
}

fn is_switch(name: &str) -> bool {
    ["paused", "resumed"].contains(&name)
}
