//! What is shown, and what keys do to it.
//!
//! In: keys and shots. Out: what a screen draws, and wishes.

use super::keys::Key;
use super::worker::{Shot, Wish};
use crate::stats::{Cumulative, FilePattern, FrameFilter, GroupBy, Query, SortBy};
use crate::symbols::Language;

/// What rows may stand for, in the order of the digits.
const GROUPINGS: [GroupBy; 9] = [
    GroupBy::Line,
    GroupBy::Function,
    GroupBy::File,
    GroupBy::Module,
    GroupBy::Traceback,
    GroupBy::Thread,
    GroupBy::Size,
    GroupBy::Domain,
    GroupBy::Kind,
];
/// What they may be sorted by.
const ORDERS: [SortBy; 5] = [
    SortBy::LiveBytes,
    SortBy::LiveCount,
    SortBy::Growth,
    SortBy::Average,
    SortBy::Key,
];
/// The longest pattern that can be typed.
const PATTERN_MAX: usize = 1000;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    /// Colours.
    pub colored: bool,
    /// Letters beside those of ASCII.
    pub unicode: bool,
}

/// What a key led to.
#[derive(Debug)]
pub enum Answer {
    /// Nothing, or another picture of the same.
    Drawn,
    /// Something is wanted of the worker.
    Wishes(Vec<Wish>),
    /// To end.
    Quit,
    /// To stop, as programs do at Ctrl-Z.
    Suspend,
    /// To draw everything again.
    Renew,
}

/// See the module.
#[derive(Debug)]
pub struct View {
    /// What the terminal can show.
    pub looks: Looks,
    /// What is asked.
    pub query: Query,
    start: Query,
    /// What is shown; None: nothing yet.
    pub shot: Option<Shot>,
    /// The moment is held.
    pub is_held: bool,
    /// The keys are shown in place of rows.
    pub shows_help: bool,
    /// A pattern that is being typed.
    pub typed: Option<String>,
    /// The pattern that was typed last; empty: none.
    pub pattern: String,
    /// The first row that is shown.
    pub first_row: usize,
    /// Rows that the screen has room for.
    pub page: usize,
    has_baseline: bool,
}

impl View {
    /// Begins with the rows of `query`.
    #[must_use]
    pub fn new(query: Query, looks: Looks) -> Self {
        Self {
            looks,
            start: query.clone(),
            query,
            shot: None,
            is_held: false,
            shows_help: false,
            typed: None,
            pattern: String::new(),
            first_row: 0,
            page: 10,
            has_baseline: false,
        }
    }

    /// Shows `shot`.
    pub fn show(&mut self, shot: Shot) {
        self.has_baseline = shot.facts.has_baseline;
        self.shot = Some(shot);
        self.scroll(0);
    }

    /// Does what `key` says.
    pub fn press(&mut self, key: Key) -> Answer {
        if let Some(typed) = self.typed.take() {
            return self.edit(typed, key);
        }
        match key {
            Key::Ctrl('c') => return Answer::Quit,
            Key::Escape if self.shows_help => self.shows_help = false,
            Key::Letter('q') | Key::Escape => return Answer::Quit,
            Key::Ctrl('z') => return Answer::Suspend,
            Key::Ctrl('l') => return Answer::Renew,
            Key::Letter('?' | 'h') => self.shows_help = !self.shows_help,
            Key::Letter('g') => {
                self.query.group_by = next(&GROUPINGS, self.query.group_by);
                return self.ask();
            }
            Key::Letter('s') => {
                self.query.sort = next(&ORDERS, self.query.sort);
                return self.ask();
            }
            Key::Letter('l') => {
                let languages = [None, Some(Language::Native), Some(Language::Python)];
                self.query.language = next(&languages, self.query.language);
                return self.ask();
            }
            Key::Letter(digit @ '1'..='9') => return self.group_by(digit),
            Key::Letter('/') => self.typed = Some(String::new()),
            Key::Letter(' ' | 'p') => {
                self.is_held = !self.is_held;
                return Answer::Wishes(vec![Wish::Hold(self.is_held)]);
            }
            Key::Letter('b') => {
                self.has_baseline = true;
                return Answer::Wishes(vec![Wish::Baseline(true)]);
            }
            Key::Letter('r') => return self.reset(),
            Key::Up | Key::Letter('k') => self.scroll(-1),
            Key::Down | Key::Letter('j') => self.scroll(1),
            Key::PageUp => self.scroll(-self.page.cast_signed()),
            Key::PageDown => self.scroll(self.page.cast_signed()),
            Key::Home => self.scroll(isize::MIN),
            Key::End => self.scroll(isize::MAX),
            Key::Letter(_) | Key::Ctrl(_) | Key::Enter | Key::Backspace => {}
        }
        Answer::Drawn
    }

    /// Takes a key into the pattern `typed`.
    fn edit(&mut self, mut typed: String, key: Key) -> Answer {
        match key {
            Key::Ctrl('c') => return Answer::Quit,
            Key::Ctrl('z') => {
                self.typed = Some(typed);
                return Answer::Suspend;
            }
            Key::Escape => return Answer::Drawn,
            Key::Enter => {
                self.query.frames = self.filter(&typed);
                self.pattern = typed;
                return self.ask();
            }
            Key::Backspace => {
                typed.pop();
            }
            Key::Ctrl('u') => typed.clear(),
            Key::Letter(letter) if typed.len() < PATTERN_MAX => typed.push(letter),
            _ => {}
        }
        self.typed = Some(typed);
        Answer::Drawn
    }

    /// The filter that the command line has, and the pattern; one behind `!` excludes.
    fn filter(&self, typed: &str) -> FrameFilter {
        let mut filter = self.start.frames.clone();
        match typed.strip_prefix('!') {
            Some("") => {}
            Some(excluded) => filter.exclude.push(FilePattern::new(excluded)),
            None if typed.is_empty() => {}
            None => filter.include = vec![FilePattern::new(typed)],
        }
        filter
    }

    fn group_by(&mut self, digit: char) -> Answer {
        let place = digit.to_digit(10).unwrap_or(1) as usize;
        let chosen = place.checked_sub(1).and_then(|place| GROUPINGS.get(place));
        self.query.group_by = chosen.copied().unwrap_or(self.query.group_by);
        self.ask()
    }

    fn ask(&mut self) -> Answer {
        self.first_row = 0;
        if self.query.sort == SortBy::Bytes {
            self.query.sort = SortBy::LiveBytes;
        }
        // Only frames can count for their callers.
        self.query.cumulative = match self.query.group_by.is_by_frame() {
            true => self.start.cumulative,
            false => Cumulative::Off,
        };
        Answer::Wishes(vec![Wish::Rows(Box::new(self.query.clone()))])
    }

    fn reset(&mut self) -> Answer {
        self.query = self.start.clone();
        self.pattern.clear();
        self.first_row = 0;
        self.is_held = false;
        self.has_baseline = false;
        self.shows_help = false;
        let rows = Wish::Rows(Box::new(self.query.clone()));
        Answer::Wishes(vec![rows, Wish::Hold(false), Wish::Baseline(false)])
    }

    fn scroll(&mut self, rows: isize) {
        let count = self.shot.as_ref().map_or(0, |shot| shot.rows.len());
        let last = count.saturating_sub(self.page.max(1));
        self.first_row = self.first_row.saturating_add_signed(rows).min(last);
    }
}

/// What stands behind `now` in `all`, at the end the first.
fn next<T: Copy + PartialEq>(all: &[T], now: T) -> T {
    let place = all.iter().position(|one| *one == now);
    let behind = place.map_or(0, |place| place + 1);
    all.get(behind).or(all.first()).copied().unwrap_or(now)
}
