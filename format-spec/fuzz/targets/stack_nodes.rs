//! Stack nodes: what decodes is encoded again to the same nodes, and parents come first.
#![no_main]

use heaptape_format::stack::{put_stack_nodes, stack_nodes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let count = u32::from(head[0]);
    let first = u64::from_le_bytes(*head) >> 8 >> (head[1] & 63);
    let Ok(nodes) = stack_nodes(payload, count, first) else {
        return;
    };
    assert_eq!(nodes.len(), count as usize);
    let first = u32::try_from(first).expect("ids are below 2^32");
    for (node, id) in nodes.iter().zip(first..) {
        assert!(node.parent < id);
    }
    let mut again = Vec::new();
    put_stack_nodes(&nodes, first, &mut again);
    assert_eq!(stack_nodes(&again, count, first.into()), Ok(nodes));
});
