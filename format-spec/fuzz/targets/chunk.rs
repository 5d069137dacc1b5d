//! Chunks: headers, and payloads under headers of any kind (a checksum keeps a fuzzer out, so it is
//! made good here).
#![no_main]

use heaptape_format::chunk::{CHUNK_HEADER_BYTES, ChunkDecoder, ChunkHeader, Codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ChunkHeader::decode(bytes);
    let Some((head, stored)) = bytes.split_at_checked(CHUNK_HEADER_BYTES) else {
        return;
    };
    let mut head = head.to_vec();
    head[..4].copy_from_slice(b"HTck");
    head[56..60].copy_from_slice(&crc32c::crc32c(stored).to_le_bytes());
    let checksum = crc32c::crc32c(&head[..60]);
    head[60..].copy_from_slice(&checksum.to_le_bytes());
    let Ok(mut header) = ChunkHeader::decode(&head) else {
        return;
    };
    header.stored_bytes = stored.len() as u32;
    header.payload_bytes &= 0xf_ffff;
    if header.codec == Codec::Plain {
        header.payload_bytes = header.stored_bytes;
    }
    let mut payload = vec![1; 100];
    match ChunkDecoder::new().payload(&header, stored, &mut payload) {
        Ok(()) => assert_eq!(payload.len(), header.payload_bytes as usize),
        Err(_) => assert!(payload.is_empty()),
    }
});
