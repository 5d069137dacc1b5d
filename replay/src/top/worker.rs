//! The thread that reads, so that keys are answered while it does.
//!
//! In: wishes. Out: a shot for each change, at most one an interval.

use super::session::{Facts, Session};
use crate::follow::Trace;
use crate::stats::key::place;
use crate::stats::query::Answer;
use crate::stats::{Amount, Change, GroupBy, KeyId, Query};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Rows of a shot: nobody scrolls through more.
const ROWS_MAX: usize = 1000;
/// A part of a long tape is read before the screen shows how far it is.
const BUDGET: Duration = Duration::from_millis(500);

/// What the one at the keys wants.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Other rows.
    Rows(Box<Query>),
    /// To hold the moment that is shown, or to go on.
    Hold(bool),
    /// Changes counted from the moment that is shown on, or from the last one.
    Baseline(bool),
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShotRow {
    /// What lives, and what lived.
    pub change: Change,
    /// What the row stands for.
    pub key: String,
    /// What else is known of it.
    pub aside: String,
}

/// All that a screen shows.
#[derive(Debug, Clone)]
pub struct Shot {
    /// Facts of the moment.
    pub facts: Facts,
    /// Live bytes over time.
    pub trace: Trace,
    /// What rows stand for.
    pub group_by: GroupBy,
    /// The sum of all rows.
    pub total: Change,
    /// The first rows.
    pub rows: Vec<ShotRow>,
    /// How many more there are.
    pub rest: usize,
    /// What the filters leave out since its domain is no part of the heap.
    pub left_out: Amount,
    /// Why modules have no symbols, and the like.
    pub notes: Vec<String>,
    /// Why there are no rows.
    pub problem: Option<String>,
}

/// A session in its thread. See the module.
#[derive(Debug)]
pub struct Worker {
    wishes: Sender<Wish>,
    shots: Receiver<Result<Box<Shot>, String>>,
}

impl Worker {
    /// Starts with the rows of `query`, and looks for news every `interval`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(session: Session, query: Query, interval: Duration) -> io::Result<Self> {
        let (wishes, wished) = channel();
        let (shown, shots) = channel();
        let mut work = Work {
            session,
            query,
            interval,
            wished,
            shown,
        };
        Builder::new()
            .name("heaptape-top".to_owned())
            .spawn(move || work.run())?;
        Ok(Self { wishes, shots })
    }

    /// Says what is wanted.
    pub fn wish(&self, wish: Wish) {
        // A worker that is gone has said why.
        let _gone = self.wishes.send(wish);
    }

    /// The latest shot since the last call, or why there are no more.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub fn latest(&self) -> Result<Option<Box<Shot>>, String> {
        let mut latest = None;
        while let Ok(shot) = self.shots.try_recv() {
            latest = Some(shot?);
        }
        Ok(latest)
    }
}

struct Work {
    session: Session,
    query: Query,
    interval: Duration,
    wished: Receiver<Wish>,
    shown: Sender<Result<Box<Shot>, String>>,
}

impl Work {
    /// Works until nobody listens.
    fn run(&mut self) {
        let mut is_other = true;
        loop {
            let begun = Instant::now();
            let advanced = self.session.advance(BUDGET);
            let shot = match advanced {
                Ok(is_new) => (is_new || is_other).then(|| Ok(self.shot())),
                Err(error) => Some(Err(error.to_string())),
            };
            let has_failed = matches!(shot, Some(Err(_)));
            if shot.is_some_and(|shot| self.shown.send(shot).is_err()) || has_failed {
                return;
            }
            // As much time for others as this took: a large heap is shown less often.
            let pause = match self.session.has_caught_up() {
                true => self.interval.max(begun.elapsed() * 2),
                false => begun.elapsed(),
            };
            match self.wait(pause.saturating_sub(begun.elapsed())) {
                Some(met) => is_other = met,
                None => return,
            }
        }
    }

    /// Waits for `pause`, or for a wish, whatever comes first. Whether there was one; None: nobody
    /// listens any more.
    fn wait(&mut self, pause: Duration) -> Option<bool> {
        let first = match self.wished.recv_timeout(pause) {
            Ok(wish) => wish,
            Err(RecvTimeoutError::Timeout) => return Some(false),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        self.grant(first);
        while let Ok(wish) = self.wished.try_recv() {
            self.grant(wish);
        }
        Some(true)
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Rows(query) => self.query = *query,
            Wish::Hold(wanted) => self.session.hold(wanted),
            Wish::Baseline(wanted) => self.session.set_baseline(wanted),
        }
    }

    fn shot(&mut self) -> Box<Shot> {
        Box::new(Shot::take(&mut self.session, &self.query))
    }
}

impl Shot {
    /// What `session` shows now, with the rows of `query`.
    #[must_use]
    pub fn take(session: &mut Session, query: &Query) -> Self {
        let asked = session.ask(query);
        let (answer, problem) = match asked {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let facts = session.shown().cloned().unwrap_or_else(Facts::none);
        let trace = session.trace().cloned().unwrap_or_default();
        let answer = answer.as_ref();
        let count = answer.map_or(0, |answer| answer.rows.len());
        let left_out = answer.map(|answer| &answer.left_out);
        let mut sum = Amount::default();
        for (_, amount) in left_out.into_iter().flatten() {
            sum += *amount;
        }
        Self {
            facts,
            trace,
            group_by: query.group_by,
            total: answer.map(|answer| answer.total).unwrap_or_default(),
            rows: answer.map(rows).unwrap_or_default(),
            rest: count.saturating_sub(ROWS_MAX),
            left_out: sum,
            notes: answer
                .map(|answer| answer.notes.clone())
                .unwrap_or_default(),
            problem,
        }
    }
}

fn rows(answer: &Answer<Change>) -> Vec<ShotRow> {
    let rows = answer.rows.iter().take(ROWS_MAX);
    rows.map(|(key, change)| ShotRow {
        change: *change,
        key: answer.grouper.text(*key),
        aside: aside(answer, *key),
    })
    .collect()
}

/// The function of a line, the line of a function.
fn aside(answer: &Answer<Change>, key: KeyId) -> String {
    let frames = answer.grouper.frames(key);
    let Some(frame) = frames.first() else {
        return String::new();
    };
    match answer.grouper.group_by() {
        GroupBy::Line if frame.file.is_some() => {
            frame.function.as_deref().unwrap_or_default().to_owned()
        }
        GroupBy::Function => place(frame).unwrap_or_default(),
        _ => String::new(),
    }
}
