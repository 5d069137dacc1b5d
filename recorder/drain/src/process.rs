//! One recorded process image: its tape, its notes, its memory samples, its end.
//!
//! In: a process slot and what the kernel says. Out: table records and the tape's last chunk.

use crate::clock::Clock;
use crate::folding::Folding;
use crate::notes::Notes;
use crate::press::Press;
use crate::process_info::{self, MemoryProbe, ProcessHandle, ResidentProbe, Stat, path_text};
use crate::recovered::Written;
use crate::stream::StreamState;
use crate::tape::TapeWriter;
use heaptape_format::tables::{ClockPair, Process, ResidentSample};
use heaptape_session::layout::{ProcessSlot, SessionHeader, options, phase};
use heaptape_session::slots::{self, ProcessOwner};
use heaptape_session::sync::Ordering;
use rustc_hash::FxHashMap;
use std::time::Duration;

/// Samples that are kept for a tape that does not exist yet.
const SAMPLES_WITHOUT_TAPE_MAX: usize = 8192;
/// How often memory that outlives its process is looked at in one pass, and the gap between.
const MEMORY_LOOKS: u32 = 4;
const MEMORY_LOOK_GAP: Duration = Duration::from_millis(1);
/// A sample that equals the last one is only kept this long after it, in nanoseconds.
const SAMPLE_GAP_NS: u64 = 1_000_000_000;

/// How an image ended: the tape's `End::how` and `End::code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody can tell.
    Unknown,
    /// It exited with a code.
    Exit(u32),
    /// A signal killed it.
    Signal(u32),
    /// Another image replaced it.
    Exec,
}

impl Ending {
    /// From what `waitpid` says.
    #[must_use]
    pub fn from_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Exit(libc::WEXITSTATUS(status) as u32)
        } else if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status) as u32)
        } else {
            Self::Unknown
        }
    }

    /// The tape's `how` and `code`.
    #[must_use]
    pub fn codes(self) -> (u8, u32) {
        match self {
            Self::Unknown => (0, 0),
            Self::Exit(code) => (1, code),
            Self::Signal(signal) => (2, signal),
            Self::Exec => (3, 0),
        }
    }

    /// As `info` shows it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Unknown => "unknown".into(),
            Self::Exit(code) => format!("exit:{code}"),
            Self::Signal(signal) => format!("signal:{signal}"),
            Self::Exec => "exec".into(),
        }
    }
}

/// The drainer's side of one process slot.
#[derive(Debug)]
pub struct ProcessState {
    /// Slot and its generation.
    pub slot: u32,
    /// See `slot`.
    pub generation: u32,
    /// The id that the process knows itself by.
    pub pid: u32,
    /// With the id: which process it is.
    pub start_time: u64,
    /// Number of the image within its process.
    pub image: u32,
    /// Slot and generation of the parent image.
    pub parent: Option<(u32, u32)>,
    /// It is (an image of) the process that the launcher started.
    pub is_root: bool,
    /// What is to be written between the events.
    pub notes: Notes,
    /// A dead drainer began its tape and did not come to name its parent.
    pub(crate) is_unlinked: bool,
    /// Its tape; None: nothing was to be written yet.
    pub tape: Option<TapeWriter>,
    /// The process has ended.
    pub has_ended: bool,
    /// Stamp at which that was seen.
    pub end_seen: Option<u64>,
    /// Another image of the same process has begun.
    pub is_replaced: bool,
    /// Records that could not be understood.
    pub faults: u64,
    /// What the tape had of each stream when it was continued.
    pub written: FxHashMap<u32, Written>,
    /// Epochs written, and the events in the tape then.
    pub epochs: (u32, u64),
    /// How the tape is kept under a size.
    pub(crate) folding: Folding,
    /// None: hidden from us, or gone.
    pub handle: Option<ProcessHandle>,
    probe: Option<ResidentProbe>,
    memory: Vec<MemoryProbe>,
    resident: Vec<ResidentSample>,
    last_sample: Option<ResidentSample>,
    last_sample_ns: u64,
    pairs: Vec<ClockPair>,
}

impl ProcessState {
    /// The image in `slot`, whose owner is `owner`.
    pub fn new(
        index: u32,
        slot: &ProcessSlot,
        owner: ProcessOwner,
        header: &SessionHeader,
        clock: &Clock,
    ) -> Self {
        let start_time = slot.start_time.load(Ordering::Relaxed);
        let namespace = slot.pid_namespace.load(Ordering::Relaxed);
        let known = process_info::host_pid(owner.pid, namespace);
        let handle = known.and_then(|pid| ProcessHandle::open(pid, start_time));
        let live = handle.as_ref().and(known);
        let parent = slot.parent.load(Ordering::Relaxed).checked_sub(1);
        let mut state = Self {
            slot: index,
            generation: owner.generation,
            pid: owner.pid,
            start_time,
            image: slot.image.load(Ordering::Relaxed),
            parent: parent.map(|parent| (parent, slot.parent_generation.load(Ordering::Relaxed))),
            is_root: false,
            notes: Notes::default(),
            is_unlinked: false,
            tape: None,
            // Without a handle it is hidden or gone; hidden ones are found out by their phase.
            has_ended: handle.is_none() && known.is_some(),
            end_seen: None,
            is_replaced: false,
            faults: 0,
            written: FxHashMap::default(),
            epochs: (0, 0),
            folding: Folding::default(),
            probe: live.and_then(ResidentProbe::open),
            memory: live.and_then(MemoryProbe::open).into_iter().collect(),
            handle,
            resident: Vec::new(),
            last_sample: None,
            last_sample_ns: 0,
            pairs: vec![clock.start_pair(), clock.pair()],
        };
        // An exec meanwhile: what was opened may be the next image's memory.
        if slots::process_owner(slot) != owner {
            state.memory.clear();
        }
        state.notes.process = first_facts(&state, slot, header, clock, live);
        state.notes.process_changed = true;
        state
    }

    /// True when both are images of one process.
    #[must_use]
    pub fn is_same_process(&self, other: &Self) -> bool {
        self.pid == other.pid && self.start_time == other.start_time
    }

    /// True when the image was killed before it was met: who else uses its memory must be found.
    #[must_use]
    pub fn was_killed_unseen(&self, slot: &ProcessSlot) -> bool {
        // Acquire: pairs with Release of whoever notes its own exit.
        let is_noted = slot.exit_known.load(Ordering::Acquire) != 0
            || slots::process_owner(slot).phase != phase::RUNNING;
        !is_noted && !self.memory.iter().any(MemoryProbe::is_in_use)
    }

    /// Takes it that one of `heirs` may be a child of the image's `vfork`.
    pub fn watch_heirs(&mut self, heirs: Vec<MemoryProbe>) {
        self.memory = heirs;
    }

    /// True when the process is gone and a child of its `vfork` or `posix_spawn` still works on its
    /// memory: it writes to the streams of its parent.
    #[must_use]
    pub fn is_survived(&self) -> bool {
        // Whoever looks at a process through /proc may hold its memory for a moment longer.
        self.has_ended
            && (0..MEMORY_LOOKS).all(|look| {
                if look > 0 {
                    std::thread::sleep(MEMORY_LOOK_GAP);
                }
                self.memory.iter().any(MemoryProbe::is_in_use)
            })
    }

    /// True when the resident size was read before.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.last_sample.is_some()
    }

    /// Reads the resident size at `now_ns` (CLOCK_MONOTONIC). A size that did not change is kept
    /// once a second. False when it did not change.
    pub fn sample(&mut self, clock: &Clock, now_ns: u64) -> bool {
        let Some((resident_bytes, shared_bytes)) =
            self.probe.as_mut().and_then(ResidentProbe::read)
        else {
            return false;
        };
        let stamp = clock.now();
        let sample = ResidentSample {
            stamp,
            resident_bytes,
            shared_bytes,
        };
        let same = self.last_sample.as_ref().is_some_and(|last| {
            (last.resident_bytes, last.shared_bytes) == (resident_bytes, shared_bytes)
        });
        let recent = now_ns - self.last_sample_ns < SAMPLE_GAP_NS;
        if same && recent {
            return false;
        }
        if self.tape.is_some() || self.resident.len() < SAMPLES_WITHOUT_TAPE_MAX {
            self.resident.push(sample.clone());
        }
        self.last_sample = Some(sample);
        self.last_sample_ns = now_ns;
        !same
    }

    /// A stream of a tape that is continued does not write again what the tape has.
    pub fn continue_stream(&self, stream: &mut StreamState) {
        if let Some(written) = self.written.get(&stream.index()) {
            stream.skip_written(written);
        }
    }

    /// Adds the same moment on all clocks.
    pub fn add_pair(&mut self, pair: ClockPair) {
        self.pairs.push(pair);
    }

    /// Writes what waits, when there is a tape.
    pub fn write_waiting(&mut self, press: &mut Press) {
        self.write_samples(press);
        if let Some(tape) = &mut self.tape {
            self.notes.write_first(press, tape);
            self.notes.write_last(press, tape);
        }
    }

    /// Writes samples and clock pairs that wait.
    pub fn write_samples(&mut self, press: &mut Press) {
        let Some(tape) = &mut self.tape else { return };
        if let (Some(first), Some(last)) = (self.resident.first(), self.resident.last()) {
            let stamps = (first.stamp, last.stamp);
            tape.table(press, &self.resident, stamps);
            self.resident.clear();
        }
        if let (Some(first), Some(last)) = (self.pairs.first(), self.pairs.last()) {
            let stamps = (first.stamp, last.stamp);
            tape.table(press, &self.pairs, stamps);
            self.pairs.clear();
        }
    }
}

/// What is known of an image before its own records arrive.
fn first_facts(
    state: &ProcessState,
    slot: &ProcessSlot,
    header: &SessionHeader,
    clock: &Clock,
    live: Option<u32>,
) -> Process {
    let option_bits = header.options.load(Ordering::Relaxed);
    let mut kept = 0;
    for (option, bit) in [
        (options::FREE_STACKS, 1),
        (options::MMAP, 2),
        (options::NO_NATIVE_STACKS, 4),
        (options::LOSSY, 8),
    ] {
        if option_bits & option != 0 {
            kept |= bit;
        }
    }
    let path = |name| {
        let found = live.and_then(|pid| process_info::link(pid, name));
        found.map(|path| path_text(&path)).unwrap_or_default()
    };
    Process {
        pid: state.pid,
        parent_pid: live.and_then(Stat::of).map_or(0, |stat| stat.parent),
        origin: slot.origin.load(Ordering::Relaxed).min(255) as u8,
        image: state.image,
        cut_stamp: clock.stamp(slot.cut_ticks.load(Ordering::Relaxed)),
        parent_tape: String::new(),
        executable: path("exe"),
        command: live.map(process_info::command_line).unwrap_or_default(),
        working_folder: path("cwd"),
        recorder_version: env!("CARGO_PKG_VERSION").into(),
        options: kept,
        allocator: String::new(),
        depth_max: header.depth_max.load(Ordering::Relaxed),
        size_min: header.size_min.load(Ordering::Relaxed),
    }
}
