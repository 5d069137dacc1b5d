//! What can be wrong with the bytes of a tape, and where.

use thiserror::Error;

/// Why bytes could not be decoded. Small and `Copy`; the reader adds the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{kind} at offset {offset}")]
pub struct DecodeError {
    /// Where the fault is: bytes from the start of the decoded slice (a tape or a payload).
    pub offset: u64,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// The kinds of faults. Each has one cause and one wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end inside a value.
    #[error("the data ends too early")]
    Truncated,
    /// A tape must begin with [`crate::header::MAGIC`].
    #[error("not a heaptape tape (the magic bytes are missing)")]
    NotATape,
    /// The tape was written by a newer, incompatible version.
    #[error(
        "tape format version {found} is newer than {supported}, the newest this heaptape reads"
    )]
    NewerVersion {
        /// The version that the tape states.
        found: u16,
        /// The newest version that this crate reads.
        supported: u16,
    },
    /// The tape uses a feature that a reader must understand and this one does not.
    #[error("the tape needs features {0:#x} that this heaptape does not know")]
    UnknownFeature(u64),
    /// A checksum does not match.
    #[error("checksum mismatch in {0}")]
    Checksum(&'static str),
    /// A chunk header was expected and its magic is not there.
    #[error("no chunk begins here")]
    NoChunk,
    /// The payload of a chunk could not be decompressed.
    #[error("the payload cannot be decompressed")]
    Decompress,
    /// A stated length or count is above its limit.
    #[error("{0} is above its limit")]
    Limit(&'static str),
    /// A value is not one of those that the format defines.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The numbers of the chunks leave some out.
    #[error("{0} chunks are missing before the one")]
    Missing(u64),
    /// An integer does not fit in 64 bits.
    #[error("integer overflow")]
    Overflow,
    /// Text is not UTF-8 where the format demands it.
    #[error("text is not UTF-8")]
    Utf8,
}

impl DecodeError {
    /// An error of `kind` at `offset`.
    #[must_use]
    pub fn new(offset: u64, kind: DecodeErrorKind) -> Self {
        Self { offset, kind }
    }

    /// The same error seen from a slice that begins `base` bytes earlier.
    #[must_use]
    pub fn at(self, base: u64) -> Self {
        Self {
            offset: self.offset.saturating_add(base),
            kind: self.kind,
        }
    }
}
