//! Table records of every kind: what decodes is encoded again to the same records.
#![no_main]

use heaptape_format::tables::*;
use libfuzzer_sys::fuzz_target;

fn check<R: Record + PartialEq + std::fmt::Debug>(payload: &[u8], count: u32) {
    let Ok(found) = records::<R>(payload, count) else {
        return;
    };
    assert_eq!(found.len(), count as usize);
    let mut again = Vec::new();
    for record in &found {
        put_record(record, &mut again);
    }
    assert_eq!(records::<R>(&again, count), Ok(found));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let count = u32::from(head[1]);
    match head[0] % 15 {
        0 => check::<Domain>(payload, count),
        1 => check::<Module>(payload, count),
        2 => check::<Stream>(payload, count),
        3 => check::<Process>(payload, count),
        4 => check::<ClockPair>(payload, count),
        5 => check::<ResidentSample>(payload, count),
        6 => check::<Mark>(payload, count),
        7 => check::<Lost>(payload, count),
        8 => check::<Epoch>(payload, count),
        9 => check::<Child>(payload, count),
        10 => check::<Totals>(payload, count),
        11 => check::<ForkCut>(payload, count),
        12 => check::<CodeObject>(payload, count),
        13 => check::<Folded>(payload, count),
        _ => check::<End>(payload, count),
    }
});
