//! Tape headers: what decodes is written back to the same fields.
#![no_main]

use heaptape_format::TapeHeader;
use heaptape_format::header::HEADER_BYTES;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((header, length)) = TapeHeader::decode(bytes) else {
        return;
    };
    assert!((HEADER_BYTES..=bytes.len()).contains(&length));
    let mut again = Vec::new();
    header.encode(&mut again);
    assert_eq!(TapeHeader::decode(&again), Ok((header, HEADER_BYTES)));
});
