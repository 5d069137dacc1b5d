//! Tapes whose payloads were changed and whose checksums are good: what a defective or hostile
//! writer makes. Deterministic, so that a difference between two decoders stays to be looked at.

use crate::build::Tape;
use heaptape_format::TapeHeader;
use heaptape_format::chunk::FLAG_MUST_UNDERSTAND;
use heaptape_format::scan::{Found, FoundChunk, Scan};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(value) * limit as u128) >> 64) as usize
    }
}

/// `count` tapes, each with up to eight changed chunks of the valid vectors.
pub(crate) fn mutations(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x5eed);
    let mut chunks: Vec<(FoundChunk, Vec<u8>)> = Vec::new();
    for (_, tape) in crate::valid::vectors() {
        let (_, length) = TapeHeader::decode(&tape).unwrap();
        for found in Scan::new(&tape, length) {
            if let Found::Chunk(chunk) = found {
                let mut payload = Vec::new();
                chunk.payload(&tape, &mut payload).unwrap();
                payload.truncate(4096);
                chunks.push((chunk, payload));
            }
        }
    }
    (0..count).map(|_| one(&mut random, &chunks)).collect()
}

fn one(random: &mut Random, chunks: &[(FoundChunk, Vec<u8>)]) -> Vec<u8> {
    let mut tape = Tape::new();
    for _ in 0..=random.below(3) {
        let (chunk, payload) = &chunks[random.below(chunks.len())];
        let mut payload = payload.clone();
        for _ in 0..random.below(3) {
            change(random, &mut payload);
        }
        let mut count = chunk.header.count;
        if random.below(16) == 0 {
            count = count.wrapping_add(random.below(3) as u32).wrapping_sub(1);
        }
        tape.raw(chunk.header.kind, count, &payload, |header| {
            header.stream = chunk.header.stream;
            header.first = chunk.header.first;
            header.stamp_first = chunk.header.stamp_first;
            header.flags = random.below(8) as u8 & FLAG_MUST_UNDERSTAND;
        });
    }
    tape.bytes
}

fn change(random: &mut Random, payload: &mut Vec<u8>) {
    let place = random.below(payload.len() + 1);
    match random.below(6) {
        0 => payload.insert(place, random.below(256) as u8),
        1 => payload.truncate(place),
        2 if place < payload.len() => drop(payload.remove(place)),
        3 if place < payload.len() => payload[place] = [0, 0x7f, 0x80, 0xff][random.below(4)],
        _ if place < payload.len() => payload[place] ^= 1 << random.below(8),
        _ => {}
    }
}
