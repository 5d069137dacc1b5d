//! What a folded tape begins with: the blocks that its first moment finds alive, and what
//! happened to those that a forked process inherited (SPEC.md §10.7).
//!
//! In: a folded tape. Out: the heap at its first moment.

use super::heap::{Collector, Heap};
use super::transitions::{Transition, TransitionKind};
use crate::block::{Block, StreamId};
use crate::tape::Tape;
use heaptape_format::event::OperationKind;
use heaptape_format::left::{Left, LeftState};

/// Puts `heap`, in which nothing but inherited blocks live, into the state that `tape` begins with;
/// of a tape that is not folded it is that already. What collectors were told comes back, and the
/// blocks that live.
pub(crate) fn begin<C: Collector>(
    heap: &mut Heap,
    tape: &Tape,
    make: impl Fn() -> C + Sync,
) -> (Vec<C>, Vec<Block>) {
    let seen = heap.apply(&of_inherited(tape), make);
    let left = tape.left();
    let blocks = left.iter().filter(|left| !is_inherited(left));
    let blocks: Vec<Block> = blocks.map(|left| block(left, tape)).collect();
    heap.preload(blocks.iter());
    (seen, blocks)
}

/// What happened to what was inherited, in order: before everything else.
pub(crate) fn of_inherited(tape: &Tape) -> Vec<Transition> {
    let left = tape.left();
    let happened = left.iter().filter(is_inherited);
    let mut happened: Vec<Transition> = happened.map(|left| transition(left, tape)).collect();
    happened.sort_by_key(|transition| (transition.stamp, transition.stream));
    happened
}

fn is_inherited(left: &&Left) -> bool {
    left.state == LeftState::Inherited
}

fn block(left: &Left, tape: &Tape) -> Block {
    Block {
        address: left.address,
        size: left.size,
        stack: tape.stacks.stream(left.stream).get(left.stack),
        stream: StreamId(left.stream),
        operation: left.operation,
        alignment_log2: left.alignment_log2,
        domain: left.domain,
        born: left.stamp,
        allocated: left.allocated,
        is_remainder: left.state == LeftState::Remainder,
    }
}

fn transition(left: &Left, tape: &Tape) -> Transition {
    Transition {
        stamp: left.stamp,
        address: left.address,
        size: left.size,
        allocated: 0,
        stack: tape.stacks.stream(left.stream).get(left.stack),
        stream: StreamId(left.stream),
        kind: match left.operation.kind() {
            OperationKind::Map | OperationKind::Unmap | OperationKind::Remap => {
                TransitionKind::Unmap
            }
            OperationKind::Retag => TransitionKind::Retag,
            _ => TransitionKind::Death,
        },
        operation: left.operation,
        alignment_log2: 0,
        domain: left.domain,
    }
}
