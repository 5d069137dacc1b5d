//! Line tables: both ways to a line agree, whatever the bytes are.
#![no_main]

use heaptape_format::line_table::{LineTable, NOT_BEGUN, line_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, table)) = bytes.split_first_chunk::<9>() else {
        return;
    };
    let [form, numbers @ ..] = *head;
    let numbers = u64::from_le_bytes(numbers);
    let (first_line, near) = ((numbers >> 32) as u32, numbers as u32);
    let read = LineTable::new(form % 5, first_line, table);
    let ends = read.ranges().iter().map(|&(end, _)| end).take(100);
    let near_ends = ends.flat_map(|end| [end.wrapping_sub(1), end]);
    for instruction in near_ends.chain([0, near, NOT_BEGUN, NOT_BEGUN - 1]) {
        let line = line_of(form % 5, first_line, table, instruction);
        assert_eq!(read.line(instruction), line);
    }
});
