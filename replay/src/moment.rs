//! Moments as users write them, and the stamps that they stand for in a tape.

use crate::error::Error;
use crate::tape::Tape;
use heaptape_format::tables::Mark;

/// A moment of a run, not yet tied to a tape. The forms are those of the command line.
#[derive(Debug, Clone, PartialEq)]
pub enum Moment {
    /// Nanoseconds since the start of the recording: `12.5s`, `900ms`, `1500000000`.
    Ns(u64),
    /// A part of the run's duration, 0 to 100: `37%`.
    Percent(f64),
    /// The first moment of the run.
    Start,
    /// The last moment of the run.
    End,
    /// The k-th highest separate peak, from 1: `peak`, `peak:2`.
    Peak(usize),
    /// The first highest sample of resident memory: `rss-peak`.
    ResidentPeak,
    /// What stands behind `mark:`, a mark's name (perhaps an empty one) that may end in `:K`.
    Mark(String),
}

/// A moment of one tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolvedMoment {
    /// The state at this moment includes every event whose stamp is at most this.
    pub stamp: u64,
    /// The moment in nanoseconds since the start of the recording.
    pub ns: u64,
}

impl Moment {
    /// Reads a moment in any of its forms.
    ///
    /// # Errors
    /// [`Error::Moment`], which lists the forms.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Moment {
            text: text.to_owned(),
            reason,
        };
        match text {
            "start" => return Ok(Self::Start),
            "end" => return Ok(Self::End),
            "peak" => return Ok(Self::Peak(1)),
            "rss-peak" => return Ok(Self::ResidentPeak),
            "" => return Err(refuse("it is empty")),
            _ => {}
        }
        if let Some(place) = text.strip_prefix("peak:") {
            let place = place.parse().ok().filter(|&place| place > 0);
            return place
                .map(Self::Peak)
                .ok_or_else(|| refuse("peaks are numbered from 1"));
        }
        if let Some(name) = text.strip_prefix("mark:") {
            return Ok(Self::Mark(name.to_owned()));
        }
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = plain_number(number)
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| refuse("the percentage is not a number"))?;
            if percent > 100.0 {
                return Err(refuse("more than 100% lies behind the end"));
            }
            return Ok(Self::Percent(percent));
        }
        Self::parse_time(text, &refuse)
    }

    fn parse_time(text: &str, refuse: &dyn Fn(&'static str) -> Error) -> Result<Self, Error> {
        let unit_at = text
            .find(|letter: char| letter.is_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(unit_at).unwrap_or((text, ""));
        let (unit_ns, digits) = match unit {
            "" | "ns" => (1, 0),
            "us" | "µs" | "μs" => (1_000, 3),
            "ms" => (1_000_000, 6),
            "s" => (1_000_000_000, 9),
            "m" | "min" => (60_000_000_000, 9),
            "h" => (3_600_000_000_000, 9),
            _ if number.is_empty() => return Err(refuse("it is no word that is known")),
            _ => return Err(refuse("the unit is not one of ns, us, ms, s, m, h")),
        };
        let number = plain_number(number)
            .ok_or_else(|| refuse("digits, and a point among them, do not stand there alone"))?;
        decimal(number, unit_ns, digits)
            .map(Self::Ns)
            .ok_or_else(|| refuse("the number is too large or finer than a nanosecond"))
    }
}

impl Moment {
    /// What this moment, which is no peak of the heap, stands for in `tape`.
    pub(crate) fn resolve_in(&self, tape: &Tape) -> Result<ResolvedMoment, Error> {
        Ok(match self {
            Self::Ns(ns) => ResolvedMoment {
                stamp: tape.header.ns_to_stamp(*ns),
                ns: *ns,
            },
            Self::Percent(percent) => {
                let start = tape.header.stamp_to_ns(tape.start_stamp);
                let end = tape.header.stamp_to_ns(tape.end_stamp);
                let passed = (end.saturating_sub(start)) as f64 * percent / 100.0;
                let ns = start.saturating_add(passed as u64).min(end);
                ResolvedMoment {
                    stamp: tape.header.ns_to_stamp(ns),
                    ns,
                }
            }
            Self::Start => tape.moment_of_stamp(tape.start_stamp),
            Self::End => tape.moment_of_stamp(tape.end_stamp),
            // Peaks come from the index; without one a peak is at the start.
            Self::Peak(_) => tape.moment_of_stamp(tape.start_stamp),
            Self::ResidentPeak => {
                let highest = tape.resident.iter().reduce(|highest, sample| {
                    match sample.resident_bytes > highest.resident_bytes {
                        true => sample,
                        false => highest,
                    }
                });
                let highest = highest.ok_or_else(|| Error::NoResident {
                    path: tape.path.clone(),
                })?;
                tape.moment_of_stamp(highest.stamp)
            }
            Self::Mark(text) => tape.moment_of_stamp(find_mark(tape, text)?.stamp),
        })
    }
}

impl Tape {
    /// The moment of a stamp.
    #[must_use]
    pub fn moment_of_stamp(&self, stamp: u64) -> ResolvedMoment {
        ResolvedMoment {
            stamp,
            ns: self.header.stamp_to_ns(stamp),
        }
    }
}

/// The mark that `text` names: `NAME` for the first of that name, `NAME:K` for the K-th. A name
/// may itself end in `:K`: where the tape has both marks, neither is guessed.
fn find_mark<'t>(tape: &'t Tape, text: &str) -> Result<&'t Mark, Error> {
    let nth = |name: &str, place: usize| {
        let mut marks = tape.marks.iter().filter(|mark| mark.name == name);
        marks.nth(place)
    };
    let numbered = || {
        let (name, number) = text.rsplit_once(':')?;
        let place = number.parse::<usize>().ok()?.checked_sub(1)?;
        nth(name, place)
    };
    let (named, numbered) = (nth(text, 0), numbered());
    if let (Some(named), Some(numbered)) = (named, numbered) {
        return Err(Error::AmbiguousMark {
            path: tape.path.clone(),
            name: text.to_owned(),
            named_ns: tape.header.stamp_to_ns(named.stamp),
            numbered: numbered.name.clone(),
            numbered_ns: tape.header.stamp_to_ns(numbered.stamp),
        });
    }
    named.or(numbered).ok_or_else(|| {
        let mut known: Vec<(String, u64)> = Vec::new();
        for mark in &tape.marks {
            match known.iter_mut().find(|(name, _)| *name == mark.name) {
                Some((_, count)) => *count += 1,
                None => known.push((mark.name.clone(), 1)),
            }
        }
        Error::UnknownMark {
            path: tape.path.clone(),
            name: text.to_owned(),
            known,
        }
    })
}

/// `text` when it is digits with at most one point among them.
fn plain_number(text: &str) -> Option<&str> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let points = text.bytes().filter(|&byte| byte == b'.').count();
    (digits > 0 && points <= 1 && digits + points == text.len()).then_some(text)
}

/// `text` times `unit_ns` without rounding; at most `digits` digits behind the point count.
fn decimal(text: &str, unit_ns: u64, digits: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(unit_ns)?;
    if !fraction.is_empty() {
        let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit_ns);
        let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(u64::try_from(parts / scale).ok()?)?;
    }
    Some(total)
}
