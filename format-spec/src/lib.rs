//! The tape format: bytes ↔ values, and nothing else.
//!
//! `SPEC.md` beside this crate is normative; this crate is its implementation, one file a concern:
//!
//! | file | SPEC.md | what |
//! |---|---|---|
//! | [`varint`] | §2 | integers and the cursor |
//! | [`text`] | §2 | paths and arguments that are not UTF-8 |
//! | [`header`] | §3 | the tape header |
//! | [`chunk`] | §4 | the chunk header, checksums, compression |
//! | [`scan`] | §5 | finding chunks, also behind damage |
//! | [`event`], [`operation`] | §6 | event chunks: columns, operations, references |
//! | [`stack`] | §7 | stack nodes |
//! | [`tables`] | §8 | everything else: modules, streams, marks, … |
//! | [`line_table`] | §8.15 | lines of the code objects of interpreters |
//! | [`left`] | §8.17 | what folded events left behind |
//! | [`symbols`] | §9 | functions, files and lines by module offset |
//!
//! What goes in: values of the recorder, or the bytes of a tape. What comes out: the other of the
//! two. It never opens a file, never panics on any input, and never allocates more for a chunk than
//! [`DECODED_BYTES_MAX`].
#![forbid(unsafe_code)]

pub mod chunk;
mod column;
pub mod error;
pub mod event;
mod event_reader;
mod frame;
pub mod header;
mod kind;
pub mod left;
pub mod line_table;
pub mod operation;
mod recent;
mod record;
pub mod scan;
pub mod stack;
pub mod symbols;
pub mod tables;
pub mod text;
pub mod varint;
mod varint_batch;

pub use chunk::{ChunkHeader, ChunkKind};
pub use error::{DecodeError, DecodeErrorKind};
pub use event::{Event, Operation, OperationKind};
pub use header::TapeHeader;

/// The major version that this crate writes and the newest it reads. Rises when bytes change.
pub const FORMAT_VERSION: u16 = 1;
/// The minor version: rises when something is added that older readers can skip.
pub const FORMAT_VERSION_MINOR: u16 = 5;

/// Chunks begin at multiples of this many bytes from the start of the tape.
pub const CHUNK_ALIGNMENT: u64 = 8;
/// The most events that one chunk holds.
pub const EVENTS_PER_CHUNK_MAX: u32 = 1_000_000;
/// The most bytes that one event takes in all columns together (a remap with extreme values).
pub const EVENT_BYTES_MAX: u32 = 66;
/// The most bytes of an event chunk's payload, before compression. Also the limit of kinds that
/// this version does not know.
pub const PAYLOAD_BYTES_MAX: u32 = 64 << 20;
/// The most bytes of the payload of any other chunk, before compression.
pub const TABLE_BYTES_MAX: u32 = 8 << 20;
/// The most bytes that decoding one chunk allocates, its payload not counted: 32 for each byte of
/// the payload, and the texts of symbols.
pub const DECODED_BYTES_MAX: usize = 32 * TABLE_BYTES_MAX as usize + symbols::SYMBOL_TEXTS_MAX;
/// Addresses are below this limit (57 bits are the widest that x86_64 user space has).
pub const ADDRESS_MAX: u64 = 1 << 62;
/// The largest log2 of an alignment.
pub const ALIGNMENT_LOG2_MAX: u8 = 63;
/// The largest stack node id. Ids count from 1 in each stream.
pub const STACK_NODES_MAX: u32 = u32::MAX - 1;

// A full event chunk of the widest events and its column table fit in a payload.
const _: () = assert!(EVENTS_PER_CHUNK_MAX * EVENT_BYTES_MAX + 1024 <= PAYLOAD_BYTES_MAX);
