//! Measures encode and decode rates on a synthetic stream: `cargo run --release -p
//! heaptape-format --example rates [CHUNKS]`.
//!
//! The stream is one thread's: log-like sizes, skewed stacks, addresses that are reused last in,
//! first out, half of the events frees. It prints events per second on one core, the best of
//! several passes. It never touches a file.

use heaptape_format::DecodeError;
use heaptape_format::chunk::{ChunkDecoder, ChunkEncoder, ChunkHeader, ChunkInfo, ChunkKind};
use heaptape_format::event::{Event, EventEncoder, EventReader, Operation, OperationKind};
use heaptape_format::scan::{Found, Scan};
use std::error::Error;
use std::time::Instant;

const EVENTS_PER_CHUNK: usize = 32_768;
const PASSES: usize = 7;

/// splitmix64: a seedable generator with no dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Small numbers often, large ones seldom.
    fn skewed(&mut self, bits: u64) -> u64 {
        let width = self.below(bits) + 1;
        self.next() >> (64 - width)
    }
}

/// One thread that keeps up to about 20,000 blocks.
fn stream(events: usize) -> Vec<Event> {
    let mut random = Random(7);
    let mut stamp = 0;
    let mut live: Vec<u64> = Vec::new();
    let mut free: Vec<u64> = Vec::new();
    let mut fresh = 0x5555_5576_0000u64;
    let mut list = Vec::with_capacity(events);
    while list.len() < events {
        stamp += random.skewed(5);
        let dies = !live.is_empty() && random.below(20_000) < 8_000 + live.len() as u64 / 5 * 3;
        if dies {
            // Young blocks die first, most of the time.
            let age = random.skewed(14).min(live.len() as u64 - 1) as usize;
            let address = live.swap_remove(live.len() - 1 - age);
            free.push(address);
            let mut event = Event::new(Operation::FREE, stamp);
            event.old_address = address;
            list.push(event);
        } else {
            let operation = match random.below(20) {
                0 => Operation::CALLOC,
                1 => Operation::REALLOC_NEW,
                _ => Operation::MALLOC,
            };
            let mut event = Event::new(operation, stamp);
            event.size = 8 + random.skewed(12);
            event.address = free.pop().unwrap_or_else(|| {
                fresh += (event.size + 23) & !15;
                fresh
            });
            event.stack = random.skewed(16) as u32 + 1;
            live.push(event.address);
            list.push(event);
        }
    }
    list
}

/// Millions of events per second of the best pass of `work` over `events` events.
fn rate(
    events: usize,
    mut work: impl FnMut() -> Result<(), DecodeError>,
) -> Result<f64, DecodeError> {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(events as f64 / best / 1e6)
}

/// Encodes `events` chunk by chunk into `tape`; without a `compressor` only the columns are made.
fn encode(
    events: &[Event],
    encoder: &mut EventEncoder,
    mut compressor: Option<&mut ChunkEncoder>,
    tape: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut payload = Vec::new();
    for part in events.chunks(EVENTS_PER_CHUNK) {
        payload.clear();
        for event in part {
            encoder.push(event)?;
        }
        let mut info = ChunkInfo::table(ChunkKind::EVENTS, encoder.len(), 0);
        (info.stamp_first, info.stamp_last) = encoder.stamps();
        encoder.finish(&mut payload);
        if let Some(compressor) = compressor.as_deref_mut() {
            compressor.encode(&info, &payload, tape)?;
        }
    }
    Ok(())
}

/// Decodes a payload into a sum, so that nothing is optimised away, and counts references.
fn decode(header: &ChunkHeader, payload: &[u8]) -> Result<(u64, u64), DecodeError> {
    let (mut sum, mut references) = (0u64, 0);
    for event in EventReader::new(payload, header.count, header.stamp_first)? {
        let event = event?;
        references += u64::from(event.reference.is_some());
        sum = sum.wrapping_add(match event.operation.kind() {
            OperationKind::Free => event.old_address,
            _ => event.address ^ event.size ^ u64::from(event.stack),
        });
    }
    Ok((sum, references))
}

fn main() -> Result<(), Box<dyn Error>> {
    let chunks: usize = std::env::args()
        .nth(1)
        .map_or(Ok(64), |text| text.parse())?;
    let events = stream(chunks * EVENTS_PER_CHUNK);
    let (mut encoder, mut compressor) = (EventEncoder::new(), ChunkEncoder::new(1));
    let mut tape = Vec::new();
    let columns = rate(events.len(), || {
        encode(&events, &mut encoder, None, &mut tape)
    })?;
    let all = rate(events.len(), || {
        tape.clear();
        encode(&events, &mut encoder, Some(&mut compressor), &mut tape)
    })?;
    println!("encode, columns only      {columns:7.1} M events/s");
    println!("encode, zstd-1 and crc    {all:7.1} M events/s");

    let mut payloads = Vec::new();
    for found in Scan::new(&tape, 0) {
        if let Found::Chunk(chunk) = found {
            let mut payload = Vec::new();
            chunk.payload(&tape, &mut payload)?;
            payloads.push((chunk, payload));
        }
    }
    let (mut sum, mut references) = (0, 0);
    let columns = rate(events.len(), || {
        (sum, references) = (0, 0);
        for (chunk, payload) in &payloads {
            let (part, found) = decode(&chunk.header, payload)?;
            (sum, references) = (part.wrapping_add(sum), references + found);
        }
        Ok(())
    })?;
    let (mut decoder, mut payload, mut again) = (ChunkDecoder::new(), Vec::new(), 0u64);
    let all = rate(events.len(), || {
        again = 0;
        for (chunk, _) in &payloads {
            chunk.payload_with(&mut decoder, &tape, &mut payload)?;
            again = again.wrapping_add(decode(&chunk.header, &payload)?.0);
        }
        Ok(())
    })?;
    println!("decode, columns only      {columns:7.1} M events/s");
    println!("decode, crc and zstd too  {all:7.1} M events/s");
    let frees = events
        .iter()
        .filter(|event| event.operation == Operation::FREE);
    println!(
        "{:.2} bytes an event, {:.1} % of frees by reference, sums equal: {}",
        tape.len() as f64 / events.len() as f64,
        100.0 * references as f64 / frees.count() as f64,
        sum == again
    );
    Ok(())
}
