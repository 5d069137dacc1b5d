//! Everything in a tape that is not an event. SPEC.md §7.
//!
//! A table chunk is a sequence of records, each behind its length, so that a later version can
//! append fields that this one skips. Stack nodes are the exception: they are many, small and
//! numbered, and have a form of their own.

use crate::chunk::ChunkKind;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_bytes, put_delta, put_varint};

/// One kind of record in table chunks.
pub trait Record: Sized {
    /// The kind of chunk that holds such records.
    const KIND: ChunkKind;
    /// Appends the record's fields.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads the fields back.
    ///
    /// # Errors
    /// When the bytes are not such a record.
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError>;
}

/// Appends `record` behind its length: one record of a payload.
pub fn put_record<R: Record>(record: &R, out: &mut Vec<u8>) {
    let mut fields = Vec::new();
    record.encode(&mut fields);
    put_bytes(out, &fields);
}

/// Reads the records of a payload.
///
/// # Errors
/// When the payload is not a sequence of `count` such records.
pub fn records<R: Record>(payload: &[u8], count: u32) -> Result<Vec<R>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let mut records = Vec::new();
    for _ in 0..count {
        let fields = cursor.bytes()?;
        let start = (cursor.position() - fields.len()) as u64;
        let record = R::decode(&mut Cursor::new(fields)).map_err(|error| error.at(start))?;
        records.push(record);
    }
    Ok(records)
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    let bytes = cursor.bytes()?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(cursor.error(DecodeErrorKind::Utf8)),
    }
}

/// Where a stack node stands in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frame {
    /// A native call: the return address (or, for the interrupted frame below a signal handler,
    /// the program counter itself) as an offset from the module's load bias.
    Native {
        /// Number of the module in this tape; 0: no module is known, `offset` is the address.
        module: u32,
        /// ELF virtual address in the module.
        offset: u64,
        /// True when `offset` is the exact program counter and not a return address.
        exact: bool,
    },
    /// The stack could not be followed further out.
    Cut(CutReason),
}

/// Why a stack is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum CutReason {
    /// The depth limit of the recording was reached.
    Depth = 1,
    /// No rule was found to go on, or memory did not look like a stack.
    Unknown = 2,
}

/// One node of a stream's stack tree: a frame and the node of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StackNode {
    /// The caller's node, 0 for the outermost frame.
    pub parent: u32,
    /// The frame.
    pub frame: Frame,
}

const NODE_NATIVE: u64 = 0;
const NODE_NATIVE_EXACT: u64 = 1;
const NODE_CUT: u64 = 3;

/// Appends stack nodes; the first has the id that the chunk's header states in `first`.
pub fn put_stack_nodes(nodes: &[StackNode], first_id: u32, out: &mut Vec<u8>) {
    let mut last_offset = 0u64;
    for (id, node) in (u64::from(first_id)..).zip(nodes) {
        put_varint(out, id.saturating_sub(u64::from(node.parent)));
        match node.frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => {
                let tag = if exact {
                    NODE_NATIVE_EXACT
                } else {
                    NODE_NATIVE
                };
                put_varint(out, (u64::from(module) << 2) | tag);
                put_delta(out, last_offset, offset);
                last_offset = offset;
            }
            Frame::Cut(reason) => put_varint(out, ((reason as u64) << 2) | NODE_CUT),
        }
    }
}

/// Reads `count` stack nodes, the first of which has the id `first_id`.
///
/// # Errors
/// When a parent is not an earlier node, or the bytes are not nodes.
pub fn stack_nodes(
    payload: &[u8],
    count: u32,
    first_id: u64,
) -> Result<Vec<StackNode>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let mut nodes = Vec::new();
    let mut last_offset = 0u64;
    for id in (first_id..).take(count as usize) {
        let back = cursor.varint()?;
        let parent = id
            .checked_sub(back)
            .filter(|&parent| parent < id || id == 0);
        let parent = parent
            .and_then(|parent| u32::try_from(parent).ok())
            .ok_or_else(|| cursor.error(DecodeErrorKind::Invalid("parent of a stack node")))?;
        let tagged = cursor.varint()?;
        let module = u32::try_from(tagged >> 2)
            .map_err(|_| cursor.error(DecodeErrorKind::Limit("module number")))?;
        let frame = match tagged & 3 {
            NODE_CUT => match tagged >> 2 {
                1 => Frame::Cut(CutReason::Depth),
                _ => Frame::Cut(CutReason::Unknown),
            },
            tag @ (NODE_NATIVE | NODE_NATIVE_EXACT) => {
                last_offset = cursor.delta(last_offset)?;
                Frame::Native {
                    module,
                    offset: last_offset,
                    exact: tag == NODE_NATIVE_EXACT,
                }
            }
            _ => return Err(cursor.error(DecodeErrorKind::Invalid("frame"))),
        };
        nodes.push(StackNode { parent, frame });
    }
    Ok(nodes)
}

macro_rules! record {
    (
        $(#[$docs:meta])* $name:ident in $kind:ident {
            $($(#[$field_docs:meta])* $field:ident: $form:ident,)*
        }
    ) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$field_docs])* pub $field: record!(@type $form),)*
        }

        impl Record for $name {
            const KIND: ChunkKind = ChunkKind::$kind;

            fn encode(&self, out: &mut Vec<u8>) {
                $(record!(@put $form, out, self.$field);)*
            }

            fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
                Ok(Self { $($field: record!(@take $form, cursor),)* })
            }
        }
    };
    (@type u8) => { u8 };
    (@type u16) => { u16 };
    (@type u32) => { u32 };
    (@type u64) => { u64 };
    (@type text) => { String };
    (@type bytes) => { Vec<u8> };
    (@type texts) => { Vec<String> };
    (@put text, $out:ident, $value:expr) => { put_bytes($out, $value.as_bytes()) };
    (@put bytes, $out:ident, $value:expr) => { put_bytes($out, &$value) };
    (@put texts, $out:ident, $value:expr) => {{
        put_varint($out, $value.len() as u64);
        for text in &$value {
            put_bytes($out, text.as_bytes());
        }
    }};
    (@put $integer:ident, $out:ident, $value:expr) => { put_varint($out, u64::from($value)) };
    (@take u64, $cursor:ident) => { $cursor.varint()? };
    (@take text, $cursor:ident) => { text($cursor)? };
    (@take bytes, $cursor:ident) => { $cursor.bytes()?.to_vec() };
    (@take texts, $cursor:ident) => {{
        let count = $cursor.varint()?;
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(text($cursor)?);
        }
        texts
    }};
    (@take $integer:ident, $cursor:ident) => {
        $integer::try_from($cursor.varint()?)
            .map_err(|_| $cursor.error(DecodeErrorKind::Limit(stringify!($integer))))?
    };
}

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
        /// Events written: maps, unmaps and remaps.
        maps: u64,
        /// Events lost.
        lost: u64,
        /// What went wrong, for a person; empty when nothing did.
        message: text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        let mut payload = Vec::new();
        put_record(record, &mut payload);
        put_record(record, &mut payload);
        let found = records::<R>(&payload, 2).unwrap();
        assert_eq!(&found[0], record);
        assert_eq!(&found[1], record);
        for length in 0..payload.len() {
            assert!(
                records::<R>(&payload[..length], 2).is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        check(&Module {
            index: 3,
            load_bias: 0x5555_0000_0000,
            start: 1,
            end: 2,
            stamp: 9,
            build_id: vec![1, 2, 3],
            path: "/usr/lib/libc.so.6".into(),
        });
        check(&Process {
            command: vec!["a".into(), "b c".into()],
            ..Process::default()
        });
        check(&Lost {
            stream: u32::MAX,
            count: 1 << 40,
            ..Lost::default()
        });
        check(&End {
            how: 2,
            code: 9,
            message: "disk full".into(),
            ..End::default()
        });
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let mut fields = Vec::new();
        let mark = Mark {
            stamp: 5,
            stream: 1,
            name: "half".into(),
        };
        mark.encode(&mut fields);
        fields.extend_from_slice(b"more");
        let mut payload = Vec::new();
        put_bytes(&mut payload, &fields);
        assert_eq!(records::<Mark>(&payload, 1), Ok(vec![mark]));
    }

    #[test]
    fn stack_nodes_come_back() {
        let nodes = [
            StackNode {
                parent: 0,
                frame: Frame::Cut(CutReason::Depth),
            },
            StackNode {
                parent: 7,
                frame: Frame::Native {
                    module: 1,
                    offset: 99,
                    exact: false,
                },
            },
            StackNode {
                parent: 8,
                frame: Frame::Native {
                    module: 0,
                    offset: 5,
                    exact: true,
                },
            },
        ];
        let mut payload = Vec::new();
        put_stack_nodes(&nodes, 7, &mut payload);
        assert_eq!(stack_nodes(&payload, 3, 7).unwrap(), nodes);
        assert!(
            stack_nodes(&payload, 3, 1).is_err(),
            "a parent before the first node"
        );
        assert!(stack_nodes(&payload, 4, 7).is_err());
    }
}
