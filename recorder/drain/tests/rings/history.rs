//! Random histories of one thread: stack nodes and events of every kind.

use heaptape_session::record::{RingEvent, has_extra};

/// One record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    Event(RingEvent),
    /// Parent, module, offset, exact.
    Node(u32, u32, u64, bool),
    /// Parent, code object, instruction.
    Python(u32, u32, u32),
    /// Parent, reason.
    Cut(u32, u8),
}

/// The records of one thread, in order.
#[derive(Debug, Clone)]
pub(crate) struct History(pub(crate) Vec<Item>);

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const OPERATIONS: [u8; 14] = [0, 0, 0, 1, 4, 9, 32, 32, 32, 41, 64, 96, 128, 160];

impl History {
    /// `events` events; the same seed gives the same history.
    pub(crate) fn random(seed: u64, events: usize) -> Self {
        let mut random = Random(seed);
        let mut items = Vec::new();
        let (mut nodes, mut ticks) = (0u32, 1000u64);
        for _ in 0..events {
            while random.below(8) == 0 {
                let parent = random.below(u64::from(nodes) + 1) as u32;
                nodes += 1;
                items.push(if random.below(9) == 0 {
                    Item::Cut(parent, 1 + random.below(2) as u8)
                } else if random.below(3) == 0 {
                    Item::Python(
                        parent,
                        random.below(20) as u32,
                        random.below(1 << 32) as u32,
                    )
                } else {
                    let module = random.below(50) as u32;
                    Item::Node(parent, module, random.below(1 << 40), random.below(2) == 1)
                });
            }
            ticks += random.below(2000);
            let event = event(&mut random, nodes, ticks);
            ticks = event.end_ticks;
            items.push(Item::Event(event));
        }
        Self(items)
    }
}

fn event(random: &mut Random, nodes: u32, ticks: u64) -> RingEvent {
    let operation = OPERATIONS[random.below(OPERATIONS.len() as u64) as usize];
    let (domain, alignment_log2) = match operation {
        4 => (0, 1 + random.below(20) as u8),
        _ if has_extra(operation) => (16 + random.below(5) as u16, 0),
        _ => (0, 0),
    };
    let kind = operation >> 5;
    let address = |random: &mut Random| 0x7f00_0000_0000 + random.below(1 << 16) * 16;
    let size = |random: &mut Random| match random.below(20) {
        0 => 5 << 30 | random.below(1 << 20),
        _ => random.below(5000),
    };
    let begins = matches!(kind, 0 | 2 | 3 | 5);
    let ends = matches!(kind, 1 | 2 | 4 | 5);
    let unmaps = matches!(kind, 4 | 5);
    RingEvent {
        operation,
        ticks,
        end_ticks: ticks
            + if matches!(kind, 2 | 5) {
                random.below(500)
            } else {
                0
            },
        old_address: if ends { address(random) } else { 0 },
        old_size: if unmaps { size(random) } else { 0 },
        address: if begins { address(random) } else { 0 },
        size: if begins { size(random) } else { 0 },
        stack: random.below(u64::from(nodes) + 1) as u32,
        alignment_log2,
        domain,
    }
}
