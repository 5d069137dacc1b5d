//! Damage of every kind at every place: what is intact is found, what is not is never believed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use heaptape_format::CHUNK_ALIGNMENT;
use heaptape_format::chunk::{CHUNK_HEADER_BYTES, ChunkDecoder, ChunkEncoder, ChunkHeader};
use heaptape_format::chunk::{ChunkInfo, ChunkKind, Codec};
use heaptape_format::error::DecodeErrorKind;
use heaptape_format::scan::{Found, FoundChunk, Scan};
use proptest::prelude::*;

/// A chunk with a good payload: where it was found, its header, its payload.
type Good = (u64, ChunkHeader, Vec<u8>);

/// Chunks of marks, some plain and some compressed, with zero to seven bytes of padding.
fn tape() -> Vec<u8> {
    let mut encoder = ChunkEncoder::new(1);
    let mut tape = Vec::new();
    for number in 0..9u64 {
        let mut info = ChunkInfo::table(ChunkKind(900 + number as u16), 1, number);
        (info.stamp_first, info.stamp_last) = (number, number * 9);
        let payload = match number % 3 {
            0 => vec![number as u8; 90 + number as usize],
            1 => (0..number + 3)
                .map(|byte| (byte as u8).wrapping_mul(37))
                .collect(),
            _ => format!("payload {number} ").repeat(9).into_bytes(),
        };
        encoder.encode(&info, &payload, &mut tape).unwrap();
    }
    tape
}

/// Reads a tape as SPEC.md §5 says: the good chunks, and how many bytes are reported as damage.
fn read(tape: &[u8]) -> (Vec<Good>, u64) {
    let mut scan = Scan::new(tape, 0);
    let mut decoder = ChunkDecoder::new();
    let (mut good, mut damaged, mut end) = (Vec::new(), 0, 0);
    while let Some(found) = scan.next() {
        match found {
            Found::Chunk(chunk) => {
                assert!(chunk.offset >= end && chunk.offset.is_multiple_of(CHUNK_ALIGNMENT));
                end = chunk.offset + CHUNK_HEADER_BYTES as u64;
                let mut payload = Vec::new();
                match chunk.payload_with(&mut decoder, tape, &mut payload) {
                    Ok(()) => {
                        end = chunk.offset + chunk.header.unpadded_bytes();
                        good.push((chunk.offset, chunk.header, payload));
                    }
                    Err(error) => {
                        assert_eq!(error.kind, DecodeErrorKind::Checksum("a chunk's payload"));
                        assert!(error.offset >= end && error.offset <= tape.len() as u64);
                        assert!(payload.is_empty());
                        scan.reenter(&chunk);
                    }
                }
            }
            Found::Damage(damage) => {
                assert!(damage.offset >= end && damage.bytes > 0);
                assert!(damage.error.offset >= damage.offset);
                end = damage.offset + damage.bytes;
                damaged += damage.bytes;
            }
        }
        assert!(end <= tape.len() as u64);
    }
    (good, damaged)
}

fn bytes_of(good: &Good) -> std::ops::Range<u64> {
    good.0..good.0 + good.1.unpadded_bytes()
}

#[test]
fn a_tape_without_damage_is_read_whole() {
    let tape = tape();
    let (good, damaged) = read(&tape);
    assert_eq!((good.len(), damaged), (9, 0));
    let codec = |wanted| {
        good.iter()
            .filter(|(_, header, _)| header.codec == wanted)
            .count()
    };
    assert_eq!((codec(Codec::Plain), codec(Codec::Zstd)), (3, 6));
    let padded = good
        .iter()
        .filter(|(_, header, _)| header.stored_bytes % 8 != 0);
    assert!(padded.count() >= 4);
}

#[test]
fn cut_at_every_byte_it_keeps_every_whole_chunk() {
    let tape = tape();
    let (all, _) = read(&tape);
    for length in 0..tape.len() {
        let (good, damaged) = read(&tape[..length]);
        let whole = all
            .iter()
            .filter(|chunk| bytes_of(chunk).end <= length as u64);
        let whole: Vec<Good> = whole.cloned().collect();
        let behind = whole
            .last()
            .map_or(0, |(offset, header, _)| offset + header.total_bytes());
        assert_eq!(good, whole, "cut at {length}");
        // All that is behind the last whole chunk is one stretch of damage (but for zeros at its
        // end, which could as well be unwritten).
        let rest = (length as u64).saturating_sub(behind);
        assert!(
            damaged <= rest && (damaged > 0) == (rest > 0),
            "cut at {length}"
        );
    }
}

#[test]
fn with_any_bit_flipped_it_keeps_every_other_chunk() {
    let tape = tape();
    let (all, _) = read(&tape);
    for bit in 0..tape.len() * 8 {
        let at = (bit / 8) as u64;
        let mut flipped = tape.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (good, damaged) = read(&flipped);
        let untouched = all.iter().filter(|chunk| !bytes_of(chunk).contains(&at));
        let untouched: Vec<Good> = untouched.cloned().collect();
        assert_eq!(good, untouched, "bit {bit}");
        assert_eq!(damaged > 0, untouched.len() < all.len(), "bit {bit}");
    }
}

#[test]
fn reserved_zeros_are_no_damage() {
    let mut tape = tape();
    let (all, _) = read(&tape);
    let end = tape.len();
    for zeros in [1, 7, 8, 63, 64, 65, 1000, 100_000] {
        tape.resize(end + zeros, 0);
        assert_eq!(read(&tape), (all.clone(), 0), "{zeros}");
        tape.truncate(end);
    }
    tape.resize(end + 1000, 0);
    tape.push(1);
    tape.resize(end + 5000, 0);
    assert_eq!(
        read(&tape),
        (all, 1001),
        "damage ends behind its last byte that is not zero"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A part is cut out of the middle: chunks before and behind it stay, when what is missing is a
    /// multiple of the alignment.
    #[test]
    fn with_a_part_missing_it_keeps_the_rest(from: prop::sample::Index, words in 1usize..60) {
        let tape = tape();
        let (all, _) = read(&tape);
        let from = from.index(tape.len()) / 8 * 8;
        let to = (from + words * 8).min(tape.len());
        let short = [&tape[..from], &tape[to..]].concat();
        let (good, _) = read(&short);
        let (from, to) = (from as u64, to as u64);
        let kept = |chunk: &&Good| bytes_of(chunk).end <= from || chunk.0 >= to;
        let found: Vec<u64> = good.iter().map(|chunk| chunk.1.sequence).collect();
        for (_, header, _) in all.iter().filter(kept) {
            prop_assert!(found.contains(&header.sequence), "{} of {:?}", header.sequence, found);
        }
        // More may be found: what stands behind the gap can equal what is missing. Whatever is
        // found is a chunk of the tape, to the byte.
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        for (_, header, payload) in good {
            let (_, expected, bytes) = &all[header.sequence as usize];
            prop_assert_eq!((&header, &payload), (expected, bytes));
        }
    }

    /// Bytes written over a part: chunks that do not touch it stay.
    #[test]
    fn overwritten_it_keeps_the_rest(
        at: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 1..300)
    ) {
        let mut tape = tape();
        let (all, _) = read(&tape);
        let from = at.index(tape.len());
        let to = (from + noise.len()).min(tape.len());
        tape[from..to].copy_from_slice(&noise[..to - from]);
        let (good, _) = read(&tape);
        let apart = |chunk: &&Good| {
            let bytes = bytes_of(chunk);
            bytes.end <= from as u64 || bytes.start >= to as u64
        };
        for chunk in all.iter().filter(apart) {
            prop_assert!(good.contains(chunk));
        }
        // What else is found was there before (the noise may have written the same bytes).
        prop_assert!(good.iter().all(|chunk| all.contains(chunk)));
    }

    /// Bytes of no tape: no chunk is made up.
    #[test]
    fn in_noise_it_finds_nothing(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (good, damaged) = read(&noise);
        prop_assert!(good.is_empty());
        let end = noise.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        prop_assert_eq!(damaged, end as u64);
    }
}

/// Offsets that no tape has come from the outside, too.
#[test]
fn impossible_places_are_errors() {
    let tape = tape();
    let Some(Found::Chunk(chunk)) = Scan::new(&tape, 0).next() else {
        panic!("the tape begins with a chunk");
    };
    for offset in [tape.len() as u64, u64::MAX, u64::MAX - 64] {
        let far = FoundChunk { offset, ..chunk };
        let error = far.payload(&tape, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Truncated);
        let mut scan = Scan::new(&tape, 0);
        scan.reenter(&far);
        assert_eq!(scan.next(), None);
    }
    assert_eq!(Scan::new(&tape, usize::MAX).next(), None);
    assert_eq!(Scan::new(&[], 0).next(), None);
}
