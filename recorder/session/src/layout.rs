//! The structures in shared memory and where they lie.
//!
//! All fields are atomics: both sides read and write them at any time. The memory begins as zero,
//! and zero is a valid value of each field.

use crate::sync::{AtomicU32, AtomicU64};

/// `SessionHeader::magic` of a session: "heaptape" in little-endian ASCII.
pub const SESSION_MAGIC: u64 = u64::from_le_bytes(*b"heaptape");

/// Words of payload in one chunk. A loom model needs a ring that wraps soon.
#[cfg(not(loom))]
pub const CHUNK_WORDS: usize = 2040;
#[cfg(loom)]
#[allow(missing_docs, reason = "documented above")]
pub const CHUNK_WORDS: usize = 4;
/// Bytes of one chunk, its header included.
pub const CHUNK_BYTES: usize = 16384;
/// Chunks that are mapped together: 1 MiB.
pub const SEGMENT_CHUNKS: usize = 64;
/// Bytes of a segment.
pub const SEGMENT_BYTES: usize = SEGMENT_CHUNKS * CHUNK_BYTES;
/// The most segments that a session can have.
pub const SEGMENTS_MAX: usize = 256;
/// Page size of the layout.
const PAGE: usize = 4096;

/// Option bits, [`SessionHeader::options`].
pub mod options {
    /// Frees carry stacks.
    pub const FREE_STACKS: u32 = 1;
    /// mmap, munmap, mremap and sbrk are recorded.
    pub const MMAP: u32 = 2;
    /// No native stacks.
    pub const NO_NATIVE_STACKS: u32 = 4;
    /// Drop events rather than wait when the rings are full.
    pub const LOSSY: u32 = 8;
    /// Processes that a recorded one starts are not recorded.
    pub const NO_FOLLOW: u32 = 16;
    /// Recording begins paused.
    pub const START_PAUSED: u32 = 32;
    /// Static programs pass the recorder's variables on to what they start.
    pub const THROUGH_STATIC: u32 = 64;
    /// Interpreters of Python are programs like others.
    pub const NO_PYTHON: u32 = 128;
    /// Stacks have no frames of Python.
    pub const NO_PYTHON_STACKS: u32 = 256;
    /// Where there are frames of Python, stacks have no others.
    pub const ONLY_PYTHON_STACKS: u32 = 512;
    /// Memory that Python uses again without freeing it is told of.
    pub const PYTHON_REUSES: u32 = 1024;
}

/// Values of [`SessionHeader::state`].
pub mod state {
    /// A drainer empties the rings.
    pub const RUNNING: u32 = 1;
    /// Nobody will empty the rings again: recorders turn themselves off.
    pub const CLOSED: u32 = 2;
}

/// The first page.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct SessionHeader {
    /// [`SESSION_MAGIC`], written last at creation.
    pub magic: AtomicU64,
    /// [`crate::SESSION_VERSION`].
    pub version: AtomicU32,
    /// See [`state`].
    pub state: AtomicU32,
    /// How many process slots there are.
    pub processes: AtomicU32,
    /// How many stream slots there are.
    pub streams: AtomicU32,
    /// How many chunks the layout has room for.
    pub chunks: AtomicU32,
    /// How many chunks have memory behind them and may be claimed; grows by whole segments.
    pub chunks_ready: AtomicU32,
    /// See [`options`].
    pub options: AtomicU32,
    /// Deepest stack in frames, 0 for no limit.
    pub depth_max: AtomicU32,
    /// Smallest allocation that is recorded, in bytes.
    pub size_min: AtomicU64,
    /// 1: time stamp counter, 2: CLOCK_MONOTONIC in nanoseconds.
    pub clock: AtomicU32,
    /// Process id of the drainer.
    pub drainer_pid: AtomicU32,
    /// Ticks in one second; 0 until the drainer has measured it.
    pub ticks_per_second: AtomicU64,
    /// The clock at the start of the recording, in ticks.
    pub start_ticks: AtomicU64,
    /// CLOCK_REALTIME then.
    pub start_realtime_ns: AtomicU64,
    /// CLOCK_BOOTTIME then.
    pub start_boottime_ns: AtomicU64,
    /// Random identity.
    pub session_id: [AtomicU64; 2],
    /// Start time of the drainer's process (field 22 of /proc/PID/stat).
    pub drainer_start_time: AtomicU64,
    /// Inode of the drainer's pid namespace, 0 when unknown.
    pub drainer_pid_namespace: AtomicU64,
    /// Keeps what changes at run time off the line of what does not.
    _separate: [u64; 8],
    /// The drainer adds one at each pass: a drainer that no longer does is dead or stopped.
    pub heartbeat: AtomicU64,
    /// Producers that wait for a chunk or a slot right now: the drainer hurries. One that is
    /// killed while it waits leaves its one behind, so this is a hint and never a reason to go on
    /// for ever.
    pub waiting: AtomicU32,
    /// Where the next search for a free chunk begins.
    pub chunk_hint: AtomicU32,
    /// All process slots ever claimed have an index below this.
    pub process_high: AtomicU32,
    /// All stream slots ever claimed have an index below this.
    pub stream_high: AtomicU32,
    /// Process images that found no free process slot. One that cannot map the session at all
    /// (another user, another root folder, no address space) runs as if bare and counts nowhere.
    pub refused_images: AtomicU32,
    /// When, in ticks, the producer began to wait for a chunk that waits longest; 0: none is known
    /// to wait. See [`crate::turns`].
    pub longest_wait: AtomicU64,
    /// A mark from outside of the recorded processes: 0 none, `pid << 8 | 1` process `pid` writes
    /// it, `pid << 8 | 2` the drainer may take it and store 0, `pid << 8 | 3` there is no such
    /// process any more, `pid << 8 | 4` its tape takes no more; then the one that asked stores 0.
    pub mark_state: AtomicU64,
    /// When, in ticks since the recording's start.
    pub mark_ticks: AtomicU64,
    /// The process slot that it is for: `generation << 32 | index`.
    pub mark_process: AtomicU64,
    /// Its name, zero-padded.
    pub mark_name: [AtomicU64; MARK_WORDS],
    /// Process id and start time of the process that was started. The drainer's.
    pub root_pid: AtomicU64,
    /// See `root_pid`.
    pub root_start_time: AtomicU64,
    /// Absolute path of the first image's tape, zero-padded: where `heaptape recover` finds what
    /// was written. The drainer's.
    pub output: [AtomicU64; OUTPUT_WORDS],
    /// Bytes that no tape may exceed; 0: there is no limit. The drainer's.
    pub tape_bytes_max: AtomicU64,
}

/// Words of [`SessionHeader::mark_name`].
pub const MARK_WORDS: usize = 32;
/// Words of [`SessionHeader::output`].
pub const OUTPUT_WORDS: usize = 256;

/// Phases of a slot, in the low byte of its owner word.
pub mod phase {
    /// Nobody's.
    pub const FREE: u64 = 0;
    /// Claimed, its fields are being filled in.
    pub const CLAIMED: u64 = 1;
    /// In use.
    pub const RUNNING: u64 = 2;
    /// Process: the image is about to be replaced by exec (goes back to RUNNING when exec fails).
    /// The next image claims a slot of its own, unless it cannot be recorded: then the last thing
    /// that this image wrote is a `NOT_RECORDED` blob. An exec by a raw system call is not seen:
    /// the image stays RUNNING, and is over when a younger image of the process claims a slot.
    pub const EXEC: u64 = 3;
    /// Its owner is done with it: the drainer empties it and gives it back.
    pub const FINISHED: u64 = 4;
}

/// One recorded process image.
///
/// `owner` is `pid << 32 | generation << 8 | phase`; the generation (24 bits) changes each time
/// the slot is given back.
///
/// An image claims its slot at its first allocation or when the library is loaded, whichever comes
/// first, and with it the first stream, which begins with the blobs that say who it is. A forked
/// child claims one at once when the C library made the fork, else at its first event; its first
/// stream comes with that event, so a child that never allocates has none. A child of `vfork` has
/// no slot: it writes to its suspended parent's streams.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct ProcessSlot {
    /// See above.
    pub owner: AtomicU64,
    /// Start time of the process (field 22 of /proc/PID/stat), 0 when unknown.
    pub start_time: AtomicU64,
    /// Inode of its pid namespace, 0 when unknown.
    pub pid_namespace: AtomicU64,
    /// Forked: ticks since the recording's start at the fork, taken in the parent behind all its
    /// preparations when the C library made the fork, else when the child was first seen. What the
    /// parent allocated before is inherited. Not forked: the image's first ticks.
    pub cut_ticks: AtomicU64,
    /// Slot of the parent image + 1, 0: none (the first image).
    pub parent: AtomicU32,
    /// Generation of the parent's slot when this one was claimed.
    pub parent_generation: AtomicU32,
    /// 0 started by heaptape, 1 forked, 2 by exec, 3 attached. By exec: `parent` is the image that
    /// ran in this process before when `image` is not 0, else the one that started the process
    /// (`vfork` or `posix_spawn`, and exec).
    pub origin: AtomicU32,
    /// Number of this image within the process, from 0.
    pub image: AtomicU32,
    /// Number of the next stream.
    pub next_stream: AtomicU32,
    /// 0 unknown, 1: `exit_code` is the code it exits with.
    pub exit_known: AtomicU32,
    /// See `exit_known`. Written by exit handlers, `_exit` and its kin as the process ends, so a
    /// later value is the right one, and a signal may still end the process otherwise.
    pub exit_code: AtomicU32,
    /// Process id of the ancestor, 0: none. The parent's slot may be given back, and a drainer that
    /// comes later knows nothing of who had it: this says whose tape is the parent's.
    ///
    /// Not forked: the ancestor is the parent. Forked: it is the nearest image that was not forked,
    /// or had a stream before the fork that left it. Those between have nothing to hand on but what
    /// they inherited.
    pub ancestor_pid: AtomicU32,
    /// Ticks since the recording's start at the exit or exec that was noted last, 0: none was.
    pub end_ticks: AtomicU64,
    /// See [`paused`]: allocations are not recorded, frees are, and a realloc is the free of its
    /// old block.
    pub paused: AtomicU32,
    /// Not zero: the image began paused. Written once, before the slot's phase says that it runs.
    pub began_paused: AtomicU32,
    /// 0 recording; else the [`turned_off`] reason.
    pub turned_off: AtomicU32,
    /// Events of threads that found no stream slot, or were not ready for a signal handler.
    pub lost: AtomicU32,
    /// Not zero: a thread began that cannot be recorded, because the program forbids itself a
    /// system call that this takes.
    pub threads_forbidden: AtomicU32,
    /// Number of the ancestor within its process.
    pub ancestor_image: AtomicU32,
    /// Identity of the tape that the drainer writes for this image; zero: none yet.
    pub tape_id: [AtomicU64; 2],
    /// Forked: the ancestor's first ticks; 0: it was forked itself.
    pub ancestor_ticks: AtomicU64,
    /// Forked: the `cut_ticks` of the fork that left the ancestor.
    pub left_ticks: AtomicU64,
}

/// Values of [`ProcessSlot::paused`].
pub mod paused {
    /// Everything is recorded.
    pub const NO: u32 = 0;
    /// By an option, because what started the image was paused, or because somebody asked for it.
    pub const YES: u32 = 1;
}

/// Values of [`ProcessSlot::turned_off`].
pub mod turned_off {
    /// The drainer no longer beat.
    pub const DRAINER_SILENT: u32 = 1;
    /// The session was closed.
    pub const CLOSED: u32 = 2;
    /// No memory could be had.
    pub const NO_MEMORY: u32 = 3;
    /// The drainer asked for it: the tape cannot grow.
    pub const TAPE_FULL: u32 = 4;
    /// The program forbids itself the time stamp counter.
    pub const CLOCK_FORBIDDEN: u32 = 5;
    /// The program forbids itself system calls that recording cannot do without.
    pub const CALLS_FORBIDDEN: u32 = 6;
}

/// One thread's (or nested signal handler's) sequence of records.
///
/// `owner` is `process slot << 40 | generation << 8 | phase` (24, 32 and 8 bits).
#[repr(C, align(128))]
#[derive(Debug)]
pub struct StreamSlot {
    /// See above.
    pub owner: AtomicU64,
    /// Not zero while the thread is inside the recorder: set before a stamp is taken, cleared after
    /// the event is published. Its value is the stack pointer of the call. During a realloc (and
    /// munmap, mremap, a shrinking sbrk) it stays set while the real function works, and while the
    /// thread waits for a chunk.
    pub guard: AtomicU64,
    /// First chunk + 1; 0: none yet.
    pub first_chunk: AtomicU32,
    /// Kernel's id of the thread.
    pub thread_id: AtomicU32,
    /// 0 the thread itself, 1 nested signal handlers. A thread may have several streams of a level,
    /// one after the other: when it allocates after its last destructors (such a stream is never
    /// FINISHED; its thread is gone), and when a signal handler left the recorder by `longjmp`.
    pub level: AtomicU32,
    /// Number of the stream within its process image.
    pub number: AtomicU32,
    /// Birth in ticks since the recording's start.
    pub birth_ticks: AtomicU64,
    /// Events that could not be stored.
    pub lost: AtomicU64,
    /// Ticks of the first and last of them.
    pub lost_first: AtomicU64,
    /// See `lost_first`.
    pub lost_last: AtomicU64,
    /// Why: the format's `LostReason`.
    pub lost_reason: AtomicU32,
    _reserved: u32,
    /// The thread's name, zero-padded; read at birth, when it renames itself, and at its end.
    pub name: [AtomicU64; 2],
    /// The drainer's, as the next two: what is in the tape already, so that another drainer can go
    /// on after its death. Two places, written in turn; see [`crate::ring::Consumer::commit`].
    pub done_place: [AtomicU64; 2],
    /// Events before the place.
    pub done_events: [AtomicU64; 2],
    /// Stack nodes before the place.
    pub done_nodes: [AtomicU32; 2],
}

/// A piece of a ring.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Chunk {
    /// The next chunk of the same stream + 1; 0: none yet.
    pub next: AtomicU32,
    /// Words that the consumer may read.
    pub published: AtomicU32,
    _line: [u64; 7],
    /// The records.
    pub words: [AtomicU64; CHUNK_WORDS],
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<SessionHeader>() <= PAGE);
    assert!(size_of::<ProcessSlot>() == 128);
    assert!(size_of::<StreamSlot>() == 128);
    assert!(size_of::<Chunk>() == CHUNK_BYTES);
    assert!(SEGMENT_BYTES.is_multiple_of(PAGE));
};

/// How large the parts of a session are. Offsets follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Process slots.
    pub processes: usize,
    /// Stream slots.
    pub streams: usize,
    /// Chunks: at most [`SEGMENTS_MAX`] segments. The last segment may be cut short: it is mapped
    /// whole and used as far as there are chunks.
    pub chunks: usize,
}

impl Layout {
    /// Where the process slots begin.
    #[must_use]
    pub const fn processes_offset(&self) -> usize {
        PAGE
    }

    /// Where the stream slots begin.
    #[must_use]
    pub const fn streams_offset(&self) -> usize {
        self.processes_offset() + self.processes * 128
    }

    /// Where the owners of the chunks begin.
    #[must_use]
    pub const fn owners_offset(&self) -> usize {
        self.streams_offset() + self.streams * 128
    }

    /// Where the chunks begin: the end of the control area, which is mapped as a whole.
    #[must_use]
    pub const fn chunks_offset(&self) -> usize {
        (self.owners_offset() + self.chunks * 8).next_multiple_of(PAGE)
    }

    /// Bytes of the whole file.
    #[must_use]
    pub const fn file_bytes(&self) -> usize {
        self.chunks_offset() + self.chunks * CHUNK_BYTES
    }

    /// True when the counts are within what this version handles.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.processes > 0
            && self.processes <= 1 << 20
            && self.streams > 0
            && self.streams <= 1 << 20
            && self.chunks > 0
            && self.chunks <= SEGMENTS_MAX * SEGMENT_CHUNKS
    }
}

impl Chunk {
    /// A chunk as fresh memory has it (models and tests; real ones are zeroed memory).
    #[cfg(any(test, loom))]
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            next: AtomicU32::new(0),
            published: AtomicU32::new(0),
            _line: [0; 7],
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl StreamSlot {
    /// A slot as fresh memory has it (models and tests).
    #[cfg(any(test, loom))]
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            owner: AtomicU64::new(0),
            guard: AtomicU64::new(0),
            first_chunk: AtomicU32::new(0),
            thread_id: AtomicU32::new(0),
            level: AtomicU32::new(0),
            number: AtomicU32::new(0),
            birth_ticks: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lost_first: AtomicU64::new(0),
            lost_last: AtomicU64::new(0),
            lost_reason: AtomicU32::new(0),
            _reserved: 0,
            name: [AtomicU64::new(0), AtomicU64::new(0)],
            done_place: [AtomicU64::new(0), AtomicU64::new(0)],
            done_events: [AtomicU64::new(0), AtomicU64::new(0)],
            done_nodes: [AtomicU32::new(0), AtomicU32::new(0)],
        }
    }
}
