//! Symbols: what decodes is encoded again to the same symbols.
#![no_main]

use heaptape_format::symbols::{SYMBOL_TEXT_MAX, put_symbols, symbols};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&count, payload)) = bytes.split_first() else {
        return;
    };
    let Ok(found) = symbols(payload, count.into()) else {
        return;
    };
    assert_eq!(found.len(), usize::from(count));
    // Longer texts than a writer makes are cut by it.
    if payload.len() <= SYMBOL_TEXT_MAX {
        assert_eq!(symbols(&put_symbols(&found), count.into()), Ok(found));
    }
});
