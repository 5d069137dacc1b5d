//! Everything in a tape that is not an event, a stack node or a symbol. SPEC.md §8.
//!
//! In and out: see [`Record`]. The order of the fields here is their order in a tape.

use crate::record::record;

pub use crate::record::{Record, put_record, put_records, records};
pub use crate::stack::{CutReason, Frame, StackNode, put_stack_nodes, stack_nodes};

record! {
    /// A user-defined domain.
    Domain in DOMAINS {
        /// Its number, from [`crate::event::DomainId::FIRST_CUSTOM`].
        id: u16,
        /// Its name.
        name: text,
    }
}

record! {
    /// One load of one ELF object.
    Module in MODULES {
        /// Its number in this tape, from 1. Loading the same file again gives another number.
        index: u32,
        /// Added to an ELF virtual address it gives the address in memory.
        load_bias: u64,
        /// The first address that it occupied.
        start: u64,
        /// The address behind the last that it occupied.
        end: u64,
        /// Stamp of the first event that met it.
        stamp: u64,
        /// The GNU build-id, empty when it has none.
        build_id: bytes,
        /// Its path, lossily made UTF-8; `[vdso]` for the kernel's.
        path: text,
    }
}

record! {
    /// A stream: the events of one thread, in the thread's order. A later record with the same
    /// index replaces an earlier one.
    Stream in STREAMS {
        /// Its number in this tape, from 0.
        index: u32,
        /// The thread's id in the process's pid namespace.
        thread_id: u32,
        /// 0: the thread itself; 1: events of signal handlers that interrupted the recorder.
        level: u8,
        /// Stamp of its birth.
        stamp: u64,
        /// The thread's name, empty when unknown.
        name: text,
    }
}

record! {
    /// The recorded process image. A later record replaces an earlier one.
    Process in PROCESS {
        /// Process id in its namespace.
        pid: u32,
        /// Its parent's process id.
        parent_pid: u32,
        /// How this image came to be: 0 started by heaptape, 1 forked, 2 by exec, 3 attached.
        origin: u8,
        /// Number of the image within its process, from 0, counting exec calls.
        image: u32,
        /// Forked: stamp of the fork in the parent. Otherwise the image's start.
        cut_stamp: u64,
        /// File name (without folder) of the parent's tape: forked and exec; else empty.
        parent_tape: text,
        /// Path of the executable.
        executable: text,
        /// The command line. Longer ones than 16 KiB are cut.
        command: texts,
        /// Working folder at the start.
        working_folder: text,
        /// The recorder's version.
        recorder_version: text,
        /// Bits: 1 free stacks, 2 the mmap domain is recorded, 4 no native stacks, 8 lossy.
        options: u32,
        /// Path of the object that provides the real malloc.
        allocator: text,
        /// Deepest stack that is recorded in frames, 0 for no limit.
        depth_max: u32,
        /// Smallest allocation that is recorded in bytes.
        size_min: u64,
    }
}

record! {
    /// The same moment on several clocks.
    ClockPair in CLOCK_PAIRS {
        /// The recording's clock, as a stamp.
        stamp: u64,
        /// `CLOCK_MONOTONIC` in nanoseconds.
        monotonic_ns: u64,
        /// `CLOCK_REALTIME` in nanoseconds since 1970.
        realtime_ns: u64,
        /// `CLOCK_BOOTTIME` in nanoseconds.
        boottime_ns: u64,
    }
}

record! {
    /// Memory that the kernel has given to the process.
    ResidentSample in RESIDENT {
        /// When.
        stamp: u64,
        /// Resident bytes, all kinds.
        resident_bytes: u64,
        /// Of these shared with files and shared memory.
        shared_bytes: u64,
    }
}

record! {
    /// A named moment.
    Mark in MARKS {
        /// When.
        stamp: u64,
        /// Stream of the thread that set it; `u32::MAX`: from outside.
        stream: u32,
        /// Its name.
        name: text,
    }
}

record! {
    /// Events that happened and are not in the tape.
    Lost in LOST {
        /// The stream, `u32::MAX` when unknown.
        stream: u32,
        /// How many.
        count: u64,
        /// Not before this stamp.
        stamp_first: u64,
        /// Not after this stamp.
        stamp_last: u64,
        /// Why: see [`LostReason`].
        reason: u8,
    }
}

/// Why events were lost; the values of [`Lost::reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LostReason {
    /// Anything else.
    Other = 0,
    /// The rings were full.
    RingFull = 1,
    /// The tape could not grow (no space, file size limit).
    TapeFull = 2,
    /// Nested too deeply in signal handlers.
    Nested = 3,
    /// Recording was turned off in the process (the drainer died, a limit was reached).
    TurnedOff = 4,
}

impl LostReason {
    /// The reason of a stored value; unknown ones are [`LostReason::Other`].
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::RingFull,
            2 => Self::TapeFull,
            3 => Self::Nested,
            4 => Self::TurnedOff,
            _ => Self::Other,
        }
    }

    /// The reason for a person.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Other => "unknown",
            Self::RingFull => "the rings were full",
            Self::TapeFull => "the tape could not grow",
            Self::Nested => "allocations nested too deeply in signal handlers",
            Self::TurnedOff => "recording was turned off",
        }
    }
}

record! {
    /// A cut through all streams: every event with a stamp below `watermark` stands in a chunk
    /// before this one.
    Epoch in EPOCHS {
        /// Number, from 1.
        number: u32,
        /// The cut.
        watermark: u64,
        /// Streams that could not be cut exactly: their last stamps may lie above or below.
        inexact_streams: u32,
    }
}

record! {
    /// A process image that this one started, or tried to.
    Child in CHILDREN {
        /// When.
        stamp: u64,
        /// Its process id.
        pid: u32,
        /// 1 forked, 2 by exec, 0 unknown.
        origin: u8,
        /// File name (without folder) of its tape, empty when it was not recorded.
        tape: text,
        /// Its executable or command.
        command: text,
        /// Why it was not recorded; empty when it was.
        reason: text,
    }
}

record! {
    /// What the events of the tape add up to. Since version 1.1; a tape may lack it.
    Totals in TOTALS {
        /// Sizes of all allocations and reallocations, in every domain but mmap.
        allocated_bytes: u64,
    }
}

record! {
    /// How far a stream of the parent's tape had come, in the memory that a forked process got.
    /// Since version 1.2.
    ForkCut in FORK_CUTS {
        /// The stream, as the parent's tape numbers it; `u32::MAX`: all that no record names.
        stream: u32,
        /// Events up to this stamp had happened.
        stamp: u64,
    }
}

record! {
    /// A code object of an interpreter: what a frame of Python runs. A later record with the same
    /// number replaces an earlier one. Since version 1.3.
    CodeObject in CODE_OBJECTS {
        /// Its number in this tape, from 1.
        number: u32,
        /// Form of the line table: see [`crate::line_table`].
        form: u8,
        /// Its first line.
        first_line: u32,
        /// The source file.
        file: text,
        /// Its qualified name.
        name: text,
        /// From instructions to lines.
        line_table: bytes,
    }
}

record! {
    /// The events up to a moment are not in the tape any more: what they left is in chunks of kind
    /// 21 ([`crate::left`]), and what they added up to stands here. Since version 1.5.
    Folded in FOLDED {
        /// The moment: every event up to this stamp is gone, and no later one.
        stamp: u64,
        /// Number of the tape's first chunk.
        sequence: u64,
        /// How many events are gone.
        events: u64,
        /// Of these, allocations.
        allocs: u64,
        /// Frees of known blocks.
        frees: u64,
        /// Reallocations of known blocks.
        reallocs: u64,
        /// Maps, unmaps and remaps.
        maps: u64,
        /// Retags.
        reuses: u64,
        /// Frees of unknown blocks.
        unknown_frees: u64,
        /// Frees that were lost.
        implied_frees: u64,
        /// Sizes of all allocations and reallocations, in every domain but mmap.
        allocated_bytes: u64,
        /// The first moment of the most live bytes among those that are gone.
        high_stamp: u64,
        /// Live bytes at that moment, without blocks of the parent process.
        high_bytes: u64,
        /// Live blocks at that moment.
        high_count: u64,
    }
}

record! {
    /// The end of the recording. A tape without one was cut.
    End in END {
        /// When.
        stamp: u64,
        /// 0 unknown, 1 exited, 2 killed by a signal, 3 replaced by exec.
        how: u8,
        /// Exit code or signal number.
        code: u32,
        /// Events written: allocations.
        allocs: u64,
        /// Events written: frees.
        frees: u64,
        /// Events written: reallocations.
        reallocs: u64,
        /// Events written: maps, unmaps, remaps and retags.
        maps: u64,
        /// Events lost.
        lost: u64,
        /// What went wrong, for a person; empty when nothing did.
        message: text,
    }
}
