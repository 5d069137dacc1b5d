//! What folded events left: what decodes is encoded again to the same.
#![no_main]

use heaptape_format::left::{left, put_left};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&count, payload)) = bytes.split_first() else {
        return;
    };
    let count = u32::from(count);
    let Ok(all) = left(payload, count) else {
        return;
    };
    assert_eq!(all.len(), count as usize);
    let mut again = Vec::new();
    put_left(&all, &mut again);
    assert_eq!(left(&again, count), Ok(all));
});
