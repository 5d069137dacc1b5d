//! The tape header: what a reader must know before the first chunk. SPEC.md §3.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::Cursor;
use crate::{FORMAT_VERSION, FORMAT_VERSION_MINOR};

/// The first eight bytes of every tape.
pub const MAGIC: [u8; 8] = *b"\x89HTAPE\r\n";
/// Length of the header that this version writes, in bytes. Readers accept longer ones.
pub const HEADER_BYTES: usize = 192;
/// Feature that a reader must understand: stacks have frames of an interpreter.
pub const PYTHON_FRAMES: u64 = 1;
/// Feature that a reader must understand: there are events of kind 6 (retag).
pub const RETAGS: u64 = 2;
/// Feature that a reader must understand: the tape does not begin with the first event.
pub const FOLDED: u64 = 4;
/// Features that a reader must understand and that this crate does.
pub const KNOWN_FEATURES: u64 = PYTHON_FRAMES | RETAGS | FOLDED;

/// What the stamps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ClockKind {
    /// The processor's invariant time stamp counter.
    Tsc = 1,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    Monotonic = 2,
}

/// The fixed facts of a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeHeader {
    /// Major and minor version of the format.
    pub version: (u16, u16),
    /// Bits of features that a reader must understand.
    pub must_understand: u64,
    /// Bits of features that a reader may ignore.
    pub may_ignore: u64,
    /// Random identity of this tape.
    pub tape_id: [u8; 16],
    /// Random identity of the recording; the same in all tapes of one process tree.
    pub session_id: [u8; 16],
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Ticks of the clock in one second.
    pub ticks_per_second: u64,
    /// The clock's reading at stamp 0, in ticks.
    pub start_ticks: u64,
    /// `CLOCK_REALTIME` at stamp 0, in nanoseconds since 1970.
    pub start_realtime_ns: u64,
    /// `CLOCK_BOOTTIME` at stamp 0, in nanoseconds.
    pub start_boottime_ns: u64,
    /// Inode of the recorded process's pid namespace, 0 when unknown.
    pub pid_namespace: u64,
    /// Process id of the recorded process, in its namespace.
    pub pid: u32,
    /// Page size in bytes.
    pub page_size: u32,
    /// A stamp is `(ticks - start_ticks) >> stamp_shift`.
    pub stamp_shift: u8,
    /// Width of a pointer in bytes.
    pub pointer_bytes: u8,
    /// 1: x86_64, 2: aarch64.
    pub architecture: u8,
    /// What the ticks are.
    pub clock: ClockKind,
    /// 0: unknown, 1: glibc, 2: musl.
    pub c_library: u8,
}

impl TapeHeader {
    /// Appends the header's [`HEADER_BYTES`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&self.version.1.to_le_bytes());
        out.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        for word in [self.must_understand, self.may_ignore] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for id in [&self.tape_id, &self.session_id, &self.boot_id] {
            out.extend_from_slice(id);
        }
        for word in [
            self.ticks_per_second,
            self.start_ticks,
            self.start_realtime_ns,
            self.start_boottime_ns,
            self.pid_namespace,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.pid.to_le_bytes());
        out.extend_from_slice(&self.page_size.to_le_bytes());
        out.extend_from_slice(&[
            self.stamp_shift,
            self.pointer_bytes,
            self.architecture,
            1, // little-endian: the only byte order that is defined
            self.clock as u8,
            self.c_library,
        ]);
        out.resize(start + HEADER_BYTES - 4, 0);
        let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Decodes a header from the start of a tape; returns it with its length in bytes.
    ///
    /// # Errors
    /// `NotATape`, `NewerVersion`, `UnknownFeature`, `Truncated`, `Checksum`, `Invalid`.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let fail = |offset, kind| Err(DecodeError::new(offset, kind));
        let mut cursor = Cursor::new(bytes);
        match bytes.get(..MAGIC.len()) {
            Some(magic) if magic == MAGIC => {}
            Some(_) => return fail(0, DecodeErrorKind::NotATape),
            None if MAGIC.starts_with(bytes) && !bytes.is_empty() => {
                return fail(bytes.len() as u64, DecodeErrorKind::Truncated);
            }
            None => return fail(0, DecodeErrorKind::NotATape),
        }
        cursor.take(MAGIC.len())?;
        let version = (cursor.u16()?, cursor.u16()?);
        let length = cursor.u32()? as usize;
        if version.0 > FORMAT_VERSION {
            let kind = DecodeErrorKind::NewerVersion {
                found: version.0,
                supported: FORMAT_VERSION,
            };
            return fail(8, kind);
        }
        if !(HEADER_BYTES..=65536).contains(&length) || !length.is_multiple_of(8) || version.0 == 0
        {
            return fail(8, DecodeErrorKind::Invalid("header length or version"));
        }
        let Some(whole) = bytes.get(..length) else {
            return fail(bytes.len() as u64, DecodeErrorKind::Truncated);
        };
        let (body, checksum) = whole.split_at(length - 4);
        if crc32c::crc32c(body).to_le_bytes() != checksum {
            return fail(0, DecodeErrorKind::Checksum("the tape header"));
        }
        let header = Self::fields(version, &mut cursor)?;
        Ok((header, length))
    }

    fn fields(version: (u16, u16), cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let must_understand = cursor.u64()?;
        let unknown = must_understand & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(DecodeError::new(
                16,
                DecodeErrorKind::UnknownFeature(unknown),
            ));
        }
        let mut header = Self {
            version,
            must_understand,
            may_ignore: cursor.u64()?,
            tape_id: cursor.array()?,
            session_id: cursor.array()?,
            boot_id: cursor.array()?,
            ticks_per_second: cursor.u64()?,
            start_ticks: cursor.u64()?,
            start_realtime_ns: cursor.u64()?,
            start_boottime_ns: cursor.u64()?,
            pid_namespace: cursor.u64()?,
            pid: cursor.u32()?,
            page_size: cursor.u32()?,
            stamp_shift: cursor.u8()?,
            pointer_bytes: cursor.u8()?,
            architecture: cursor.u8()?,
            clock: ClockKind::Tsc,
            c_library: 0,
        };
        if cursor.u8()? != 1 {
            return Err(cursor.error(DecodeErrorKind::Invalid("byte order")));
        }
        header.clock = match cursor.u8()? {
            1 => ClockKind::Tsc,
            2 => ClockKind::Monotonic,
            _ => return Err(cursor.error(DecodeErrorKind::Invalid("clock"))),
        };
        header.c_library = cursor.u8()?;
        if header.ticks_per_second == 0 || header.stamp_shift > 32 {
            return Err(cursor.error(DecodeErrorKind::Invalid("clock")));
        }
        Ok(header)
    }

    /// Nanoseconds since the start of the recording that `stamp` stands for, rounded down.
    #[must_use]
    pub fn stamp_to_ns(&self, stamp: u64) -> u64 {
        let ticks = u128::from(stamp) << self.stamp_shift;
        let ns = ticks * 1_000_000_000 / u128::from(self.ticks_per_second.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The largest stamp whose time in nanoseconds is at most `ns`: an event with a stamp up to
    /// it happened at `ns` or before.
    #[must_use]
    pub fn ns_to_stamp(&self, ns: u64) -> u64 {
        // stamp_to_ns(s) <= ns  ⇔  (s << shift) * 1e9 < (ns + 1) * hz
        let limit = (u128::from(ns) + 1) * u128::from(self.ticks_per_second);
        let ticks = limit.saturating_sub(1) / 1_000_000_000;
        u64::try_from(ticks >> self.stamp_shift).unwrap_or(u64::MAX)
    }

    /// A header with the fixed fields of this machine's kind and everything else zero or given.
    #[must_use]
    pub fn new(clock: ClockKind, ticks_per_second: u64, start_ticks: u64) -> Self {
        Self {
            version: (FORMAT_VERSION, FORMAT_VERSION_MINOR),
            must_understand: 0,
            may_ignore: 0,
            tape_id: [0; 16],
            session_id: [0; 16],
            boot_id: [0; 16],
            ticks_per_second,
            start_ticks,
            start_realtime_ns: 0,
            start_boottime_ns: 0,
            pid_namespace: 0,
            pid: 0,
            page_size: 4096,
            stamp_shift: 0,
            pointer_bytes: 8,
            architecture: 1,
            clock,
            c_library: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> TapeHeader {
        let mut header = TapeHeader::new(ClockKind::Tsc, 2_445_427_123, 77);
        header.tape_id = [7; 16];
        header.pid = 4711;
        header.stamp_shift = 6;
        header
    }

    #[test]
    fn a_header_comes_back() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(TapeHeader::decode(&bytes), Ok((sample(), HEADER_BYTES)));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for length in 0..bytes.len() {
            assert!(TapeHeader::decode(&bytes[..length]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(TapeHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut header = sample();
        header.version = (9, 3);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let error = TapeHeader::decode(&bytes).unwrap_err();
        assert_eq!(
            error.kind,
            DecodeErrorKind::NewerVersion {
                found: 9,
                supported: 1
            }
        );
    }

    proptest! {
        #[test]
        fn moments_and_stamps_agree(stamp in 0u64..1 << 48, ns in 0u64..1 << 50) {
            let header = sample();
            prop_assert!(header.ns_to_stamp(header.stamp_to_ns(stamp)) >= stamp);
            let largest = header.ns_to_stamp(ns);
            prop_assert!(header.stamp_to_ns(largest) <= ns);
            prop_assert!(header.stamp_to_ns(largest + 1) > ns);
        }
    }
}
