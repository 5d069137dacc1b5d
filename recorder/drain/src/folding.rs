//! Tapes that stay under a size: their beginnings are folded while they are written.
//!
//! In: how long a tape may become, and a way to start a process that folds the beginning of one
//! into another file (SPEC.md §10.7). Out: tapes that know every event of the last part, and who
//! was alive before. While that process works on the first bytes of a tape the drainer goes on
//! behind them; when it is done, what was written meanwhile is put behind its work, and the new
//! file takes the tape's name at once: at every moment there is a whole tape under it, whoever is
//! killed. A tape that is full before that *holds*: its events wait in the rings, and the program
//! with them. What is alive may need more than the limit: then the tape is full and says so.

use crate::cuts::{Cuts, Moment};
use crate::drainer::Drainer;
use crate::error::binary;
use crate::outcome::LOST;
use crate::process::ProcessState;
use crate::tape::TapeWriter;
use heaptape_session::sync::Ordering;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// A tape holds when less than this part of its limit is left, at least and at most.
const MARGIN_PART: u64 = 4;
const MARGIN_MIN: u64 = 256 << 10;
const MARGIN_MAX: u64 = 1 << 20;
/// How long a tape holds at most without anything that folding could take away.
const HOPELESS: Duration = Duration::from_secs(5);
/// Between two looks at a tape that holds while everything waits for it.
const HOLDING_SLEEP: Duration = Duration::from_millis(1);
/// Bytes of a failed process's last words that are kept.
const WORDS_MAX: u64 = 1000;

/// How long tapes may become, and who folds them.
#[derive(Debug, Clone, Copy)]
pub struct SizeLimit {
    /// Bytes that no tape exceeds, but for a chunk of a thread.
    pub bytes: u64,
    /// Starts the process that does a job, and ends well when it is done.
    pub start: fn(&FoldJob) -> io::Result<Child>,
}

/// What is to be folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldJob {
    /// The tape, which is written on.
    pub tape: PathBuf,
    /// Its first bytes, whole chunks, which hold every event up to `stamp`.
    pub bytes: u64,
    /// The moment.
    pub stamp: u64,
    /// Numbers of its streams that may get more events.
    pub live: Vec<u32>,
    /// The file to write, with zeros in the place of its header: nobody takes it for a tape.
    /// Chunks are numbered so that the last one has the number of the last in `bytes`.
    pub target: PathBuf,
}

impl SizeLimit {
    fn margin(&self) -> u64 {
        (self.bytes / MARGIN_PART).clamp(MARGIN_MIN, MARGIN_MAX)
    }

    /// From so many bytes on a tape holds.
    fn holds_at(&self) -> u64 {
        self.bytes.saturating_sub(self.margin())
    }
}

/// One tape's side of it.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    /// Moments that it can be folded at.
    pub(crate) cuts: Cuts,
    job: Option<Job>,
    /// Bytes that the last fold could not take away.
    fixed: u64,
    /// No fold before the tape has so many bytes.
    not_before: u64,
    /// The last moment that was tried.
    tried: u64,
    /// What went wrong with the last fold.
    failed: Option<String>,
    /// It holds, and nothing could be done about it, since then.
    stuck: Option<Instant>,
    /// Events wait because it holds.
    pub(crate) is_behind: bool,
}

/// A fold that goes on.
#[derive(Debug)]
struct Job {
    child: Child,
    fold: FoldJob,
    /// Bytes of the part that is kept, before.
    kept: u64,
}

impl Job {
    /// How it ended; None: it goes on.
    fn ended(&mut self) -> Option<Result<(), String>> {
        let status = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => status,
            Err(error) => return Some(Err(error.to_string())),
        };
        Some(match status.success() {
            true => Ok(()),
            false => Err(self.last_words(status)),
        })
    }

    fn last_words(&mut self, status: ExitStatus) -> String {
        let mut words = String::new();
        if let Some(pipe) = &mut self.child.stderr {
            let _ = pipe.take(WORDS_MAX).read_to_string(&mut words);
        }
        let line = words.lines().next().unwrap_or_default().trim();
        match line.is_empty() {
            true => status.to_string(),
            false => line.to_owned(),
        }
    }
}

impl Drop for Job {
    /// Nothing is left of it that is not in its place.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.fold.target);
    }
}

impl Folding {
    /// Bytes that folding can do something about.
    fn room(&self, limit: &SizeLimit) -> u64 {
        limit.holds_at().saturating_sub(self.fixed)
    }

    /// The next fold of a tape of `bytes` bytes, if it is time for one.
    fn wanted(&self, limit: &SizeLimit, bytes: u64) -> Option<Moment> {
        let room = self.room(limit);
        let holds = bytes >= limit.holds_at();
        let begins_at = (self.fixed + room / 3 * 2).max(self.not_before);
        if self.job.is_some() || bytes < begins_at && !holds {
            return None;
        }
        // Of a tape that holds all the same, everything that is possible.
        let keep = if self.stuck.is_some() { 0 } else { room / 3 };
        self.cuts
            .moment(keep)
            .filter(|moment| moment.stamp > self.tried)
    }

    /// A fold begins, which leaves `kept` of its bytes, unless the tape `is_lost`.
    fn begin(&mut self, limit: &SizeLimit, fold: FoldJob, kept: u64, is_lost: bool) {
        self.tried = fold.stamp;
        self.not_before = fold.bytes + self.room(limit) / 6;
        // Of a fold that somebody killed.
        let _ = fs::remove_file(&fold.target);
        if is_lost {
            self.failed = Some(LOST.to_owned());
            return;
        }
        match (limit.start)(&fold) {
            Ok(child) => {
                self.job = Some(Job { child, fold, kept });
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    /// Puts the work of a job that is done into the place of the tape.
    fn end(&mut self, limit: &SizeLimit, tape: &mut TapeWriter, job: &Job) -> io::Result<()> {
        let fold = &job.fold;
        if tape.path() != Some(&fold.tape) {
            // What was folded may be another image's.
            return Err(io::Error::other("the tape got another name"));
        }
        let folded = fs::symlink_metadata(&fold.target)?.len();
        tape.replace_beginning(fold.bytes, &fold.target)?;
        self.fixed = folded.saturating_sub(job.kept);
        self.cuts.folded(fold.stamp, fold.bytes, folded);
        self.not_before = tape.bytes() + self.room(limit) / 6;
        self.failed = None;
        Ok(())
    }

    /// Why a tape that holds takes nothing more.
    fn full_text(&self, limit: &SizeLimit) -> String {
        let size = binary(limit.bytes);
        let mut text = format!("the tape met its limit of {size} (--limit)");
        let _ = match &self.failed {
            Some(failed) => write!(text, ", and could not be folded: {failed}"),
            None => write!(text, ": what is alive and its stacks need more"),
        };
        text
    }
}

/// The file that the tape `tape_id` at `path` is folded into: in the same folder, under a name that
/// is nobody else's.
fn target_for(path: &Path, tape_id: &[u8; 16]) -> PathBuf {
    let id = u128::from_be_bytes(*tape_id);
    path.with_file_name(format!(".heaptape.{id:032x}.folding"))
}

/// Removes what a fold of the tape `tape_id` at `path` left that somebody killed.
pub(crate) fn remove_left(path: &Path, tape_id: &[u8; 16]) {
    let _ = fs::remove_file(target_for(path, tape_id));
}

impl Drainer {
    /// Keeps every tape under a size from now on.
    pub fn set_limit(&mut self, limit: SizeLimit) {
        let stored = &self.session.map.header().tape_bytes_max;
        // Relaxed: for another drainer, which comes after our death.
        stored.store(limit.bytes, Ordering::Relaxed);
        self.limit = Some(limit);
    }

    /// Ends the folds that go on; others begin when it is time. For whoever hands this on to
    /// another process, which cannot wait for our children.
    pub fn stop_folds(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.folding.job = None;
            process.folding.tried = 0;
        }
    }

    /// True when the image in slot `index` takes no more events for now: its tape holds.
    pub(crate) fn holds(&self, index: u32) -> bool {
        let process = self.processes.get(index as usize).and_then(Option::as_ref);
        process.is_some_and(|process| self.tape_holds(process))
    }

    pub(crate) fn tape_holds(&self, process: &ProcessState) -> bool {
        let (Some(limit), Some(tape)) = (&self.limit, &process.tape) else {
            return false;
        };
        tape.full().is_none() && tape.bytes() >= limit.holds_at()
    }

    /// True when a stream that took everything up to the stamp `taken_until` has to wait until the
    /// tape of its process, in slot `index`, is shorter. A stream that is behind all others may
    /// write for a little while: what comes after it cannot be folded before.
    pub(crate) fn has_to_wait(&self, index: u32, taken_until: u64) -> bool {
        let process = self.processes.get(index as usize).and_then(Option::as_ref);
        let (Some(process), Some(limit)) = (process, &self.limit) else {
            return false;
        };
        let bytes = process.tape.as_ref().map_or(0, TapeWriter::bytes);
        let is_last = taken_until <= process.folding.cuts.last_stamp().saturating_add(1);
        let may_write = is_last && bytes < limit.bytes - limit.margin() / 2;
        self.tape_holds(process) && !may_write
    }

    /// Begins and ends folds.
    pub(crate) fn tend_folds(&mut self) {
        let Some(limit) = self.limit else { return };
        for index in 0..self.processes.len() as u32 {
            self.tend_fold(index, &limit);
        }
    }

    fn tend_fold(&mut self, index: u32, limit: &SizeLimit) {
        let holds = self.holds(index);
        self.note_cut(index, holds);
        let is_idle = !self.is_folding();
        let streams = self.streams.iter().flatten();
        let live = streams.filter(|stream| stream.process == index);
        let live: Vec<u32> = live.map(|stream| stream.index()).collect();
        let process = self.processes.get_mut(index as usize);
        let Some(ProcessState { folding, tape, .. }) = process.and_then(Option::as_deref_mut)
        else {
            return;
        };
        let Some(tape) = tape else { return };
        if let Some(mut job) = folding.job.take() {
            let done = match job.ended() {
                None => {
                    folding.job = Some(job);
                    return;
                }
                Some(Ok(())) => {
                    let put = folding.end(limit, tape, &job);
                    put.map_err(|error| error.to_string())
                }
                Some(Err(error)) => Err(error),
            };
            if let Err(error) = done {
                folding.failed = Some(error);
            }
            return;
        }
        let path = tape.path().map(Path::to_owned);
        if let (true, Some(path)) = (is_idle, path)
            && let Some(moment) = folding.wanted(limit, tape.bytes())
        {
            let fold = FoldJob {
                target: target_for(&path, &tape.header().tape_id),
                tape: path,
                bytes: moment.bytes,
                stamp: moment.stamp,
                live,
            };
            folding.begin(limit, fold, moment.kept, tape.is_lost());
        }
        if !holds || folding.job.is_some() {
            folding.stuck = None;
        } else if is_idle && folding.stuck.get_or_insert_with(Instant::now).elapsed() >= HOPELESS {
            tape.fill_up(folding.full_text(limit));
        }
    }

    /// One at a time: it takes all processors.
    fn is_folding(&self) -> bool {
        let mut processes = self.processes.iter().flatten();
        processes.any(|process| process.folding.job.is_some())
    }

    /// Remembers up to where the tape of slot `index` has everything, when that was a while ago.
    fn note_cut(&mut self, index: u32, holds: bool) {
        let Some(limit) = self.limit else { return };
        let process = self.processes.get(index as usize).and_then(Option::as_ref);
        let Some((process, tape)) = process.and_then(|p| Some((p, p.tape.as_ref()?))) else {
            return;
        };
        let step = process.folding.room(&limit) / 16;
        if !holds && !process.folding.cuts.is_due(tape.bytes(), step) {
            return;
        }
        let bytes = tape.bytes();
        let Some(stamp) = self.everything_until(index) else {
            return;
        };
        if let Some(Some(process)) = self.processes.get_mut(index as usize) {
            process.folding.cuts.add(stamp, bytes);
        }
    }

    /// True when events of the image in slot `index` wait because its tape holds.
    pub(crate) fn waits_for_fold(&mut self, index: u32) -> bool {
        self.holds(index) && self.has_pending(index)
    }

    /// Waits until the tape of slot `index`, whose process is gone, has all its events. The other
    /// processes are drained meanwhile; but where the process has another image already, that one's
    /// tape must not begin before this one's is done.
    pub(crate) fn settle(&mut self, index: u32) {
        if self.limit.is_none() {
            return;
        }
        loop {
            self.discover_streams();
            let process = self.processes.get(index as usize).and_then(Option::as_ref);
            let is_replaced = process.is_some_and(|process| process.is_replaced);
            self.seal_within_limit(true, is_replaced.then_some(index));
            let process = self.processes.get(index as usize).and_then(Option::as_ref);
            let is_awaited = process.is_some_and(|process| {
                let is_gone = process.has_ended || process.is_replaced;
                is_gone && process.folding.is_behind
            });
            if !is_awaited {
                break;
            }
            self.tend_folds();
            // Relaxed: the value alone counts.
            let heartbeat = &self.session.map.header().heartbeat;
            heartbeat.fetch_add(1, Ordering::Relaxed);
            self.tend_pool();
            std::thread::sleep(HOLDING_SLEEP);
        }
    }
}
