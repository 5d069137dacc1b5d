//! Event payloads: what decodes is encoded again to the same events.
#![no_main]

use heaptape_format::event::{Event, EventEncoder, EventReader};
use libfuzzer_sys::fuzz_target;

fn decode(payload: &[u8], count: u32, first: u64) -> Option<Vec<Event>> {
    let reader = EventReader::new(payload, count, first).ok()?;
    reader.collect::<Result<Vec<Event>, _>>().ok()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<10>() else {
        return;
    };
    let count = u32::from(u16::from_le_bytes([head[0], head[1]]));
    let first = u64::from_le_bytes([
        head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9],
    ]);
    let Some(mut events) = decode(payload, count, first) else {
        return;
    };
    assert_eq!(events.len(), count as usize);
    let mut encoder = EventEncoder::new();
    for event in &events {
        encoder.push(event).expect("what decodes can be encoded");
    }
    let first = encoder.stamps().0;
    let mut again = Vec::new();
    encoder.finish(&mut again);
    let mut found = decode(&again, count, first).expect("what was encoded decodes");
    // Which allocation is named may differ; the address may not.
    for event in events.iter_mut().chain(&mut found) {
        event.reference = None;
    }
    assert_eq!(events, found);
});
