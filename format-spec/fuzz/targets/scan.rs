//! Scans: they end, move forward, and lie within the tape.
#![no_main]

use heaptape_format::chunk::CHUNK_HEADER_BYTES;
use heaptape_format::scan::{Found, Scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tape: &[u8]| {
    let mut scan = Scan::new(tape, 0);
    let (mut end, mut payload) = (0, Vec::new());
    while let Some(found) = scan.next() {
        match found {
            Found::Chunk(chunk) => {
                assert!(chunk.offset >= end);
                end = chunk.offset + chunk.header.unpadded_bytes();
                if chunk.header.payload_bytes < 1 << 20
                    && chunk.payload(tape, &mut payload).is_err()
                {
                    scan.reenter(&chunk);
                    end = chunk.offset + CHUNK_HEADER_BYTES as u64;
                }
            }
            Found::Damage(damage) => {
                assert!(damage.offset >= end && damage.bytes > 0);
                end = damage.offset + damage.bytes;
            }
        }
        assert!(end <= tape.len() as u64);
    }
});
