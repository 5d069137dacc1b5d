//! The encoder of events: any values, and what it accepts decodes.
#![no_main]

use heaptape_format::event::{DomainId, Event, EventEncoder, EventReader, Operation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut encoder = EventEncoder::new();
    let mut accepted = Vec::new();
    for part in bytes.chunks_exact(32) {
        let word = |at: usize| {
            let bytes = [part[at], part[at + 1], part[at + 2], part[at + 3]];
            u64::from(u32::from_le_bytes(bytes)) << (part[31] & 31)
        };
        let mut event = Event::new(Operation(part[0]), word(1));
        event.end_stamp = word(5);
        (event.old_address, event.old_size) = (word(9), word(13));
        (event.address, event.size) = (word(17), word(21));
        (event.stack, event.alignment_log2) = (word(25) as u32, part[29]);
        event.domain = DomainId(u16::from(part[30]) << 8);
        if encoder.push(&event).is_ok() {
            accepted.push(event.operation);
        }
    }
    let (count, first) = (encoder.len(), encoder.stamps().0);
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    let reader = EventReader::new(&payload, count, first).expect("a table of columns");
    let found: Result<Vec<Event>, _> = reader.collect();
    let found = found.expect("what was accepted decodes");
    assert!(found.iter().map(|event| event.operation).eq(accepted));
});
