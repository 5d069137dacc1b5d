//! What a tape adds up to, from the headers of its chunks: for who compares many tapes and wants to
//! open none.
//!
//! In: a file. Out: its session, and the bytes that were allocated when its writer could say so.

use heaptape_format::ChunkKind;
use heaptape_format::TapeHeader;
use heaptape_format::chunk::{CHUNK_HEADER_BYTES, ChunkDecoder, ChunkHeader};
use heaptape_format::header::HEADER_BYTES;
use heaptape_format::tables::{Totals, records};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Larger ones hold more than totals.
const PAYLOAD_BYTES_MAX: u32 = 4096;

/// A tape's header and totals, without the rest of it.
#[derive(Debug)]
pub struct TapeTotals {
    /// All tapes of one run have the same.
    pub session_id: [u8; 16],
    /// A copy of a tape has the same.
    pub tape_id: [u8; 16],
    file: File,
    start: u64,
}

impl TapeTotals {
    /// Of the tape at `path`; `None`: it is none.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (header, length) = TapeHeader::decode(&bytes).ok()?;
        Some(Self {
            session_id: header.session_id,
            tape_id: header.tape_id,
            file,
            start: length as u64,
        })
    }

    /// Sizes of all allocations and reallocations, in bytes; `None` where the tape does not say:
    /// it was cut or damaged, or is older than these totals.
    #[must_use]
    pub fn allocated_bytes(&self) -> Option<u64> {
        let mut last = None;
        let mut at = self.start;
        loop {
            let mut bytes = [0; CHUNK_HEADER_BYTES];
            if self.file.read_exact_at(&mut bytes, at).is_err() {
                return last;
            }
            // What stands behind damage may be missing: then nothing is known.
            let header = ChunkHeader::decode(&bytes).ok()?;
            if header.kind == ChunkKind::TOTALS {
                last = Some(self.totals(&header, at)?.allocated_bytes);
            }
            at = at.checked_add(header.total_bytes())?;
        }
    }

    fn totals(&self, header: &ChunkHeader, at: u64) -> Option<Totals> {
        if header.stored_bytes.max(header.payload_bytes) > PAYLOAD_BYTES_MAX {
            return None;
        }
        let mut stored = vec![0; header.stored_bytes as usize];
        let behind = at.checked_add(CHUNK_HEADER_BYTES as u64)?;
        self.file.read_exact_at(&mut stored, behind).ok()?;
        let mut payload = Vec::new();
        let mut decoder = ChunkDecoder::new();
        decoder.payload(header, &stored, &mut payload).ok()?;
        records::<Totals>(&payload, header.count).ok()?.pop()
    }
}
