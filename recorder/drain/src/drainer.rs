//! The drainer: one pass after another, it empties a session into tapes.
//!
//! In: the shared memory of a session. Out: one tape for each process image that allocated. It
//! never blocks a target: what a pass cannot do now, the next one does. The parts of a pass stand
//! in `discover`, `seal`, `pool` and `ending`.

use crate::clock::{Clock, clock_ns};
use crate::error::DrainError;
use crate::folding::SizeLimit;
use crate::lineage::Amendment;
use crate::names::Names;
use crate::outcome::{Image, Outcome};
use crate::press::Press;
use crate::process::ProcessState;
use crate::process_info::Stat;
use crate::recovered::Recovered;
use crate::session_file::{Session, Settings};
use crate::stream::StreamState;
use crate::tape_file::TapeFile;
use heaptape_session::ring::Memory;
use heaptape_session::sync::{AtomicU32, Ordering};
use rustc_hash::FxHashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that waits is written at least this often, in nanoseconds.
pub const SEAL_GAP_NS: u64 = 1_000_000_000;
/// How often the resident size is read, in nanoseconds.
pub const SAMPLE_GAP_NS: u64 = 10_000_000;
/// How often the clocks are compared, in nanoseconds.
pub const PAIR_GAP_NS: u64 = 10_000_000_000;
/// How often what can only be found by asking is asked for, in nanoseconds.
pub(crate) const SLOW_GAP_NS: u64 = 500_000_000;
/// Unchanged samples after which a quiet process is looked at less often.
const QUIET_SAMPLES: u32 = 20;
/// So many of the first passes come in short order, until an image is met: it may be a short one.
const STARTING_PASSES: u32 = 50;
/// Shortest and longest sleep between two passes, and the longest while memory is sampled.
const SLEEP_MIN: Duration = Duration::from_millis(1);
const SLEEP_SAMPLED: Duration = Duration::from_millis(10);
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// When something was done last, CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    pub(crate) seal: u64,
    pub(crate) slow: u64,
    pass: u64,
    sample: u64,
    pair: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Drainer {
    pub(crate) session: Session,
    pub(crate) clock: Clock,
    pub(crate) press: Press,
    pub(crate) names: Option<Names>,
    /// How a drainer that died called its tapes.
    pub(crate) begun_names: Option<Names>,
    /// The first process's tape, created before the command starts.
    pub(crate) root_file: Option<TapeFile>,
    pub(crate) root: Root,
    /// By slot, up to the highest that was ever used.
    pub(crate) processes: Vec<Option<Box<ProcessState>>>,
    /// As `processes`.
    pub(crate) streams: Vec<Option<Box<StreamState>>>,
    /// Every image that was met, by slot and generation.
    pub(crate) images: FxHashMap<(u32, u32), Image>,
    pub(crate) outcome: Outcome,
    /// How long tapes may become; None: as long as they like.
    pub(crate) limit: Option<SizeLimit>,
    /// Tapes that another drainer left.
    pub(crate) recovered: Vec<Recovered>,
    pub(crate) moments: Moments,
    /// Records for tapes that are closed already.
    pub(crate) amendments: Vec<Amendment>,
    /// Process id and start time of the launcher that may still write to closed tapes.
    pub(crate) launcher: Option<(u32, u64)>,
    /// Samples in a row that brought nothing new.
    quiet_samples: u32,
    /// Up to [`STARTING_PASSES`].
    passes: u32,
    /// Words wait somewhere.
    pub(crate) busy: bool,
    /// Chunks in use at the end of the last pass.
    pub(crate) chunks_used: u32,
}

/// The process that the launcher started.
#[derive(Debug, Default)]
pub(crate) struct Root {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) status: Option<i32>,
    /// One of its images has a tape.
    pub(crate) has_tape: bool,
    pub(crate) command: Vec<String>,
    /// The launcher will say how it ended.
    pub(crate) is_awaited: bool,
    /// The first process that joins becomes this one.
    pub(crate) adopts_first: bool,
    /// Command and reason, when it runs without being recorded.
    pub(crate) not_recorded: Option<(String, String)>,
}

impl Drainer {
    /// Makes a session for a recording whose first tape is at `output` (absolute).
    ///
    /// # Errors
    /// `NoRoom`.
    pub fn create(settings: &Settings, output: &Path) -> Result<Self, DrainError> {
        let clock = Clock::start();
        let session = Session::create(settings, &clock, output)?;
        Ok(Self::over(session, clock))
    }

    pub(crate) fn over(session: Session, clock: Clock) -> Self {
        Self {
            session,
            clock,
            press: Press::new(),
            names: None,
            begun_names: None,
            root_file: None,
            root: Root::default(),
            processes: Vec::new(),
            streams: Vec::new(),
            images: FxHashMap::default(),
            outcome: Outcome::default(),
            limit: None,
            recovered: Vec::new(),
            moments: Moments::default(),
            amendments: Vec::new(),
            launcher: None,
            quiet_samples: 0,
            passes: 0,
            busy: false,
            chunks_used: 0,
        }
    }

    /// Fixes the names of the tapes and creates the first one.
    ///
    /// # Errors
    /// `CreateTape`.
    pub fn create_tape(&mut self, mut names: Names) -> Result<(), DrainError> {
        let created = names.create_root().and_then(|file| {
            let probed = file.probe_room();
            if probed.is_err() {
                // An empty file is no tape.
                let _ = std::fs::remove_file(file.path());
            }
            probed.map(|()| file)
        });
        let file = created.map_err(|source| {
            let path = names.root().to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    DrainError::NoRoomForTape { path }
                }
                _ => DrainError::CreateTape { path, source },
            }
        })?;
        self.session.store_output(names.root());
        self.root_file = Some(file);
        self.names = Some(names);
        Ok(())
    }

    /// Says which process was started, with which command.
    pub fn set_root(&mut self, pid: u32, start_time: u64, command: Vec<String>) {
        self.store_root(pid, start_time);
        self.root = Root {
            pid,
            start_time,
            command,
            is_awaited: true,
            ..Root::default()
        };
    }

    /// For another drainer, which comes after our death.
    pub(crate) fn store_root(&self, pid: u32, start_time: u64) {
        let header = self.session.map.header();
        // Relaxed: nobody reads them while we live.
        header.root_pid.store(u64::from(pid), Ordering::Relaxed);
        header.root_start_time.store(start_time, Ordering::Relaxed);
    }

    /// The first process that joins is the one that was started (nobody waits for it here).
    pub fn adopt_first_process(&mut self) {
        self.root.adopts_first = true;
    }

    /// True when the process that was started is known, also when it has ended since.
    #[must_use]
    pub fn has_first_process(&self) -> bool {
        !self.root.adopts_first
    }

    /// Says that the started command runs without being recorded, and why.
    pub fn root_not_recorded(&mut self, command: String, reason: String) {
        self.root.not_recorded = Some((command, reason));
    }

    /// Says how the started process ended, as `waitpid` tells it.
    pub fn root_ended(&mut self, status: i32) {
        self.root.status = Some(status);
        self.root.is_awaited = false;
        for process in self.processes.iter_mut().flatten() {
            process.has_ended |= process.is_root;
            if process.is_root {
                process.end_seen.get_or_insert(self.clock.now());
            }
        }
    }

    /// Path of the session's file.
    #[must_use]
    pub fn session_path(&self) -> PathBuf {
        self.session.path().to_owned()
    }

    /// Where the session says whether it is open: for whoever must close it when this process can
    /// do nothing else any more. Valid as long as this lives.
    #[must_use]
    pub fn session_state(&self) -> *const AtomicU32 {
        &raw const self.session.map.header().state
    }

    /// One round over the whole session; how long to sleep before the next.
    pub fn pass(&mut self) -> Duration {
        let header = self.session.map.header();
        // Relaxed: the value alone counts.
        header.heartbeat.fetch_add(1, Ordering::Relaxed);
        self.passes = self.passes.saturating_add(1);
        let now = clock_ns(libc::CLOCK_MONOTONIC);
        let claimed = self.count_used().saturating_sub(self.chunks_used);
        let since = now - std::mem::replace(&mut self.moments.pass, now);
        self.discover(now);
        self.seal(now);
        self.tend_folds();
        self.tend_pool();
        self.sample(now);
        self.end_processes();
        self.sleep(claimed, since)
    }

    /// Reads memory sizes and compares clocks when it is time to.
    fn sample(&mut self, now: u64) {
        let is_due = now - self.moments.sample >= SAMPLE_GAP_NS;
        let mut changed = false;
        // The first of a process as soon as it is met: it may not live much longer.
        let processes = self.processes.iter_mut().flatten();
        for process in processes.filter(|process| is_due || !process.is_sampled()) {
            changed |= process.sample(&self.clock, now);
        }
        if is_due {
            self.moments.sample = now;
            self.quiet_samples = if changed {
                0
            } else {
                self.quiet_samples.saturating_add(1)
            };
        }
        if now - self.moments.pair >= PAIR_GAP_NS {
            self.moments.pair = now;
            let pair = self.clock.pair();
            for process in self.processes.iter_mut().flatten() {
                process.add_pair(pair.clone());
            }
        }
    }

    /// How long the pool surely lasts, when `claimed` chunks were claimed in the last `since_ns`.
    fn sleep(&self, claimed: u32, since_ns: u64) -> Duration {
        let free = self
            .session
            .map
            .chunks_ready()
            .saturating_sub(self.chunks_used);
        if self.is_awaited(self.chunks_used) {
            return if self.busy { Duration::ZERO } else { SLEEP_MIN };
        }
        let lasts_ns = match claimed {
            0 => u64::MAX,
            claimed => (since_ns / u64::from(claimed)).saturating_mul(u64::from(free / 4)),
        };
        let is_first_awaited = self.images.is_empty() && self.passes < STARTING_PASSES;
        let longest = if is_first_awaited {
            SLEEP_MIN
        } else if self.busy || self.quiet_samples < QUIET_SAMPLES {
            SLEEP_SAMPLED
        } else {
            SLEEP_MAX
        };
        Duration::from_nanos(lasts_ns).clamp(SLEEP_MIN, longest)
    }

    /// Sleeps, but not past the end of a recorded process or an event on one of `others`
    /// (descriptors that become readable); true when one of those did.
    pub fn wait(&mut self, sleep: Duration, others: &[std::os::fd::RawFd]) -> bool {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut polled: Vec<libc::pollfd> = others.iter().map(|&fd| entry(fd)).collect();
        let mut slots = Vec::new();
        for process in self.processes.iter().flatten() {
            if let Some(handle) = process.handle.as_ref().filter(|_| !process.has_ended) {
                polled.push(entry(handle.raw()));
                slots.push(process.slot);
            }
        }
        let time = libc::timespec {
            tv_sec: sleep.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(sleep.subsec_nanos()),
        };
        // SAFETY: the entries and the time are valid for the call; no signal mask is changed.
        unsafe {
            libc::ppoll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                &raw const time,
                std::ptr::null(),
            )
        };
        let (other, handles) = polled.split_at(others.len());
        for (poll, &slot) in handles.iter().zip(&slots) {
            if poll.revents != 0
                && let Some(Some(process)) = self.processes.get_mut(slot as usize)
            {
                process.has_ended = true;
                process.end_seen.get_or_insert(self.clock.now());
            }
        }
        other.iter().any(|poll| poll.revents != 0)
    }

    /// One round in which everything is asked for that is only asked for now and then: processes
    /// without a handle (hidden, or of another pid namespace) that have ended are found out.
    pub fn pass_with_questions(&mut self) {
        self.moments.slow = 0;
        self.pass();
    }

    /// True when no recorded process is left, as far as the session knows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.iter().all(Option::is_none)
    }

    /// Live processes that were told of this session, recorded or not yet.
    #[must_use]
    pub fn members(&self) -> Vec<u32> {
        let entry = self.session.environment_entry();
        let look = || crate::process_info::processes_with_environment(&entry, self.root.start_time);
        let found = look();
        // A process that forked and ended while we looked may have hidden its child.
        if found.is_empty() { look() } else { found }
    }

    /// What became of the recording so far.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Goes on in a process that the launcher, process `launcher`, forked for it: the recording is
    /// this process's now, but tapes that are closed already are the launcher's while it lives.
    pub fn take_over(&mut self, launcher: u32) {
        self.session.take_over();
        self.outcome = Outcome::default();
        let start_time = Stat::of(launcher).map_or(0, |stat| stat.start_time);
        self.launcher = Some((launcher, start_time));
    }

    /// Ends the recording: writes what is left, closes every tape, removes the session.
    pub fn finish(mut self) -> Outcome {
        self.pass();
        self.end_everything();
        self.write_amendments();
        self.session.close();
        self.outcome
    }

    /// Nothing was started: removes the session and the tape that was created.
    pub fn abandon(mut self) {
        if let Some(file) = self.root_file.take() {
            let _ = std::fs::remove_file(file.path());
        }
        self.session.close();
    }

    /// Leaves the recording to a forked copy of this process: nothing is written or removed.
    #[must_use]
    pub fn leave(self) -> Outcome {
        self.outcome
    }
}
