//! Bytes of a tape never decide how much memory a decoder takes: payloads that ask for all there is
//! are answered within the stated limits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use heaptape_format::chunk::{ChunkHeader, ChunkKind, Codec, NO_STREAM};
use heaptape_format::event::EventReader;
use heaptape_format::stack::stack_nodes;
use heaptape_format::symbols::symbols;
use heaptape_format::tables::*;
use heaptape_format::varint::{put_bytes, put_varint};
use heaptape_format::{DECODED_BYTES_MAX, PAYLOAD_BYTES_MAX, TABLE_BYTES_MAX};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count of each thread's bytes.
struct Counted;

fn count(added: usize, taken: usize) {
    let live = (LIVE.get() + added).saturating_sub(taken);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call is passed to `System` unchanged, which upholds the contract; counting touches
// two thread-local cells that need no allocation and no destructor.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: `block` came from `System` with this layout, for all of ours do.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both blocks may exist.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: as in `dealloc`; the caller answers for `size`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The most bytes that were live at once while `work` ran, over what was live before, with what it
/// returned.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (PEAK.get() - before, result)
}

/// Decodes a payload as each kind of table, and drops what it gives.
fn all_tables(payload: &[u8], count: u32, first: u64) -> usize {
    fn one<R: Record>(payload: &[u8], count: u32) -> usize {
        peak(|| records::<R>(payload, count)).0
    }
    [
        peak(|| EventReader::new(payload, count, first).map(Iterator::count)).0,
        peak(|| stack_nodes(payload, count, first)).0,
        peak(|| symbols(payload, count)).0,
        one::<Domain>(payload, count),
        one::<Module>(payload, count),
        one::<Stream>(payload, count),
        one::<Process>(payload, count),
        one::<ClockPair>(payload, count),
        one::<ResidentSample>(payload, count),
        one::<Mark>(payload, count),
        one::<Lost>(payload, count),
        one::<Epoch>(payload, count),
        one::<Child>(payload, count),
        one::<End>(payload, count),
    ]
    .into_iter()
    .max()
    .unwrap_or(0)
}

/// Payloads at their limit in which every byte costs as much memory as a byte can.
#[test]
fn the_largest_bombs_stay_within_the_limit() {
    let size = TABLE_BYTES_MAX as usize;
    let repeated = |part: &[u8]| part.repeat(size / part.len());
    let mut texts = vec![0; 7];
    put_varint(&mut texts, (size - 100) as u64);
    texts.resize(size - 60, 0);
    let mut command = Vec::new();
    put_bytes(&mut command, &texts);
    let mut strings = Vec::new();
    put_varint(&mut strings, (size - 5) as u64);
    strings.resize(size, 0);
    let mut long = vec![1];
    put_bytes(&mut long, &vec![b'x'; size / 2]);
    long.extend(repeated(&[2, 0, 1, 0, 0, 0]).iter().take(size / 2 - 16));
    let mut frames = vec![1, 0, 2, 0];
    put_varint(&mut frames, (size / 3) as u64);
    frames.resize(size, 0);
    let bombs = [
        repeated(&[1, 3]),  // stack nodes
        repeated(&[14, 0]), // records of zeros
        vec![0; size],      // records, symbols and frames of nothing
        repeated(&[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        repeated(&[6, 0, 0, 0, 0, 0, 0]), // children
        repeated(&[2, 0, 0]),             // domains, and symbols without frames
        command,
        strings,
        long,
        frames,
    ];
    for (bomb, number) in bombs.iter().zip(0..) {
        assert!(bomb.len() <= size, "bomb {number}");
        for count in [1, bomb.len() as u32 / 3, u32::MAX] {
            let bytes = all_tables(bomb, count, 1);
            assert!(bytes <= DECODED_BYTES_MAX, "bomb {number}: {bytes}");
        }
    }
    // They are bombs: one takes more than half the limit.
    let worst = peak(|| records::<Process>(&bombs[6], 1).map(|_| ())).0;
    assert!(worst > DECODED_BYTES_MAX / 2, "{worst}");
}

#[test]
fn longer_payloads_than_the_limit_allocate_nothing() {
    let payload = vec![1; TABLE_BYTES_MAX as usize + 1];
    assert_eq!(peak(|| stack_nodes(&payload, 9, 1).is_err()), (0, true));
    assert_eq!(peak(|| symbols(&payload, 9).is_err()), (0, true));
    assert_eq!(peak(|| records::<Mark>(&payload, 9).is_err()), (0, true));
}

/// A frame of 64 MiB and more of zeros, in few bytes.
#[test]
fn decompression_stops_at_the_stated_length() {
    let zeros = vec![0; PAYLOAD_BYTES_MAX as usize + 4096];
    let stored = zstd::bulk::compress(&zeros, 1).unwrap();
    for stated in [0, 1, 1000, 1 << 20, PAYLOAD_BYTES_MAX] {
        let header = ChunkHeader {
            kind: ChunkKind::EVENTS,
            codec: Codec::Zstd,
            flags: 0,
            stored_bytes: stored.len() as u32,
            payload_bytes: stated,
            stream: NO_STREAM,
            count: 0,
            stamp_first: 0,
            stamp_last: 0,
            sequence: 0,
            first: 0,
            payload_checksum: crc32c::crc32c(&stored),
        };
        let mut payload = Vec::new();
        let (bytes, result) = peak(|| header.payload(&stored, &mut payload));
        assert!(result.is_err());
        assert!(bytes <= stated as usize + 4096, "{stated}: {bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes, with any count: no panic, and no more memory than the bytes can justify.
    #[test]
    fn memory_follows_the_payload(
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(0u8..20, 0..300),
            prop::collection::vec(prop_oneof![Just(0u8), Just(0x7f), Just(0xff)], 0..300),
        ],
        count in prop_oneof![0u32..50, any::<u32>()],
        first: u64,
    ) {
        let bytes = all_tables(&payload, count, first);
        prop_assert!(bytes <= payload.len() * 32 + 128, "{} from {}", bytes, payload.len());
    }
}
