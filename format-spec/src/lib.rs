//! The tape format: bytes ↔ values, and nothing else.
//!
//! `SPEC.md` beside this crate is normative; this crate is its implementation, one file a concern:
//!
//! | file | SPEC.md | what |
//! |---|---|---|
//! | [`varint`] | §2 | integers and the cursor |
//! | [`header`] | §3 | the tape header |
//! | [`chunk`] | §4 | the chunk header, checksums, compression |
//! | [`scan`] | §5 | finding chunks, also behind damage |
//! | [`event`] | §6 | event chunks: operations and columns |
//! | [`tables`] | §7 | everything that is not an event: stack nodes, modules, threads, … |
//! | [`symbols`] | §8 | functions, files and lines by module offset |
//!
//! What goes in: values of the recorder, or the bytes of a tape. What comes out: the other of the
//! two. It never opens a file, never panics on any input, never allocates more than a stated limit.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod error;
pub mod event;
pub mod header;
pub mod scan;
pub mod symbols;
pub mod tables;
pub mod varint;

pub use chunk::{ChunkHeader, ChunkKind};
pub use error::{DecodeError, DecodeErrorKind};
pub use event::{Event, Operation, OperationKind};
pub use header::TapeHeader;

/// The major version that this crate writes and the newest it reads. Rises when bytes change.
pub const FORMAT_VERSION: u16 = 1;
/// The minor version: rises when something is added that older readers can skip.
pub const FORMAT_VERSION_MINOR: u16 = 0;

/// Chunks begin at multiples of this many bytes from the start of the tape.
pub const CHUNK_ALIGNMENT: u64 = 8;
/// The most events that one chunk holds.
pub const EVENTS_PER_CHUNK_MAX: u32 = 1 << 20;
/// The most bytes of a payload, before compression.
pub const PAYLOAD_BYTES_MAX: u32 = 64 << 20;
/// Addresses are below this limit (57 bits are the widest that x86_64 user space has).
pub const ADDRESS_MAX: u64 = 1 << 62;
/// Stack node ids of one stream are below this limit.
pub const STACK_NODES_MAX: u32 = u32::MAX - 1;
