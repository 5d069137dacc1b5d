//! Every checksum of a tape, and every chunk decoded.
//!
//! In: a tape. Out: counts. It changes nothing and stops at nothing.

use super::Tape;
use crate::history::transitions;
use heaptape_format::ChunkKind;
use heaptape_format::scan::FoundChunk;
use heaptape_format::symbols::symbols;
use rayon::prelude::*;

/// The state of every checksum of a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verification {
    /// Chunks with a readable header.
    pub chunks: u64,
    /// Chunks and stretches that cannot be read.
    pub damaged: u64,
    /// Events that the recorder itself counted as lost.
    pub lost_events: u64,
    /// Events in readable chunks.
    pub readable_events: u64,
    /// Events in chunks that are damaged or missing, as far as the others tell.
    pub unreadable_events: u64,
    /// Where the first damage begins, in bytes from the start of the tape.
    pub first_damage_offset: Option<u64>,
}

impl Tape {
    /// Checks every checksum and decodes every chunk.
    #[must_use]
    pub fn verify(&self) -> Verification {
        let mut offsets: Vec<u64> = self.damage.iter().map(|damage| damage.offset).collect();
        let symbols: Vec<u64> = self
            .chunks
            .par_iter()
            .filter(|chunk| chunk.header.kind == ChunkKind::SYMBOLS)
            .filter(|chunk| !self.is_readable(chunk))
            .map(|chunk| chunk.offset)
            .collect();
        offsets.extend(symbols);
        let events: Vec<Result<u64, u64>> = self
            .event_streams
            .par_iter()
            .flat_map_iter(|stream| stream.chunks.iter())
            .map(|chunk| match transitions::decode(self, chunk) {
                Ok(_) => Ok(u64::from(chunk.found.header.count)),
                Err(_) => Err(chunk.found.offset),
            })
            .collect();
        let mut readable_events = 0;
        for chunk in events {
            match chunk {
                Ok(count) => readable_events += count,
                Err(offset) => offsets.push(offset),
            }
        }
        // Symbols without their checksum were met twice: when the tape was opened, and here.
        offsets.sort_unstable();
        offsets.dedup();
        Verification {
            chunks: self.chunks.len() as u64,
            damaged: offsets.len() as u64,
            lost_events: self.lost_events(),
            readable_events,
            unreadable_events: self.numbered_events.saturating_sub(readable_events),
            first_damage_offset: offsets.first().copied(),
        }
    }

    fn is_readable(&self, chunk: &FoundChunk) -> bool {
        let mut payload = Vec::new();
        if chunk.payload(&self.bytes, &mut payload).is_err() {
            return false;
        }
        symbols(&payload, chunk.header.count).is_ok()
    }
}
