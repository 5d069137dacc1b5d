//! Stack nodes: the tree of call stacks of one stream. SPEC.md §7.
//!
//! In: nodes in the order of their ids, or a payload. Out: the other. A node names only earlier
//! nodes of its stream, so a tree can be walked without a check for circles.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::varint::{Cursor, put_delta, put_varint};
use crate::{STACK_NODES_MAX, TABLE_BYTES_MAX};

/// Where a stack node stands in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frame {
    /// A native call: the return address (or, for the interrupted frame below a signal handler,
    /// the program counter itself) as an offset from the module's load bias.
    Native {
        /// Number of the module in this tape; 0: no module is known, `offset` is the address.
        module: u32,
        /// ELF virtual address in the module.
        offset: u64,
        /// True when `offset` is the exact program counter and not a return address.
        exact: bool,
    },
    /// A call of a function of Python.
    Python {
        /// Number of the code object in this tape; 0: unknown.
        code: u32,
        /// Index of the instruction's code unit (two bytes), or
        /// [`NOT_BEGUN`](crate::line_table::NOT_BEGUN).
        instruction: u32,
    },
    /// The stack could not be followed further out.
    Cut(CutReason),
}

/// Why a stack is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum CutReason {
    /// The depth limit of the recording was reached.
    Depth = 1,
    /// No rule was found to go on, or memory did not look like a stack.
    Unknown = 2,
}

/// One node of a stream's stack tree: a frame and the node of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StackNode {
    /// The caller's node, 0 for the outermost frame.
    pub parent: u32,
    /// The frame.
    pub frame: Frame,
}

const NODE_NATIVE: u64 = 0;
const NODE_NATIVE_EXACT: u64 = 1;
const NODE_PYTHON: u64 = 2;
const NODE_CUT: u64 = 3;

/// Appends stack nodes; the first has the id that the chunk's header states in `first`. A parent
/// that is not an earlier node is written as 0: one bad node must not cost the chunk.
pub fn put_stack_nodes(nodes: &[StackNode], first_id: u32, out: &mut Vec<u8>) {
    let mut last_offset = 0u64;
    for (id, node) in (u64::from(first_id)..).zip(nodes) {
        let back = id.checked_sub(u64::from(node.parent));
        put_varint(out, back.filter(|&back| back > 0).unwrap_or(id));
        match node.frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => {
                let tag = if exact {
                    NODE_NATIVE_EXACT
                } else {
                    NODE_NATIVE
                };
                put_varint(out, (u64::from(module) << 2) | tag);
                put_delta(out, last_offset, offset);
                last_offset = offset;
            }
            Frame::Python { code, instruction } => {
                put_varint(out, (u64::from(code) << 2) | NODE_PYTHON);
                put_varint(out, instruction.into());
            }
            Frame::Cut(reason) => put_varint(out, ((reason as u64) << 2) | NODE_CUT),
        }
    }
}

/// Reads `count` stack nodes, the first of which has the id `first_id`.
///
/// # Errors
/// When an id is 0 or above [`STACK_NODES_MAX`], a parent is not an earlier node, or the payload
/// is not a sequence of `count` nodes.
pub fn stack_nodes(
    payload: &[u8],
    count: u32,
    first_id: u64,
) -> Result<Vec<StackNode>, DecodeError> {
    let mut cursor = Cursor::new(payload);
    if payload.len() > TABLE_BYTES_MAX as usize {
        return Err(cursor.error(DecodeErrorKind::Limit("payload length")));
    }
    let end = first_id.checked_add(u64::from(count));
    if first_id == 0 || end.is_none_or(|end| end > u64::from(STACK_NODES_MAX) + 1) {
        return Err(cursor.error(DecodeErrorKind::Limit("id of a stack node")));
    }
    // A node takes two bytes at least.
    let mut nodes = Vec::with_capacity((count as usize).min(payload.len() / 2));
    let mut last_offset = 0u64;
    for id in (first_id..).take(count as usize) {
        nodes.push(stack_node(&mut cursor, id, &mut last_offset)?);
    }
    if !cursor.is_empty() {
        return Err(cursor.error(DecodeErrorKind::Invalid("length of stack nodes")));
    }
    Ok(nodes)
}

fn stack_node(
    cursor: &mut Cursor<'_>,
    id: u64,
    last_offset: &mut u64,
) -> Result<StackNode, DecodeError> {
    let back = cursor.varint()?;
    let parent = id.checked_sub(back).filter(|&parent| parent < id);
    let parent = parent
        .and_then(|parent| u32::try_from(parent).ok())
        .ok_or_else(|| cursor.error(DecodeErrorKind::Invalid("parent of a stack node")))?;
    let tagged = cursor.varint()?;
    let value = u32::try_from(tagged >> 2)
        .map_err(|_| cursor.error(DecodeErrorKind::Limit("number in a stack node")))?;
    let frame = match tagged & 3 {
        NODE_PYTHON => Frame::Python {
            code: value,
            instruction: u32::try_from(cursor.varint()?)
                .map_err(|_| cursor.error(DecodeErrorKind::Limit("instruction")))?,
        },
        NODE_CUT if value == CutReason::Depth as u32 => Frame::Cut(CutReason::Depth),
        NODE_CUT => Frame::Cut(CutReason::Unknown),
        tag => {
            *last_offset = cursor.delta(*last_offset)?;
            Frame::Native {
                module: value,
                offset: *last_offset,
                exact: tag == NODE_NATIVE_EXACT,
            }
        }
    };
    Ok(StackNode { parent, frame })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(parent: u32, module: u32, offset: u64, exact: bool) -> StackNode {
        let frame = Frame::Native {
            module,
            offset,
            exact,
        };
        StackNode { parent, frame }
    }

    fn cut(parent: u32, reason: CutReason) -> StackNode {
        let frame = Frame::Cut(reason);
        StackNode { parent, frame }
    }

    fn python(parent: u32, code: u32, instruction: u32) -> StackNode {
        let frame = Frame::Python { code, instruction };
        StackNode { parent, frame }
    }

    #[test]
    fn stack_nodes_come_back() {
        let nodes = [
            cut(0, CutReason::Depth),
            native(7, 1, 99, false),
            native(8, 0, 5, true),
            native(1, u32::MAX, u64::MAX, false),
            cut(10, CutReason::Unknown),
            python(11, 1, 0),
            python(12, u32::MAX, u32::MAX),
            native(13, 1, 98, false),
        ];
        let mut payload = Vec::new();
        put_stack_nodes(&nodes, 7, &mut payload);
        assert_eq!(stack_nodes(&payload, 8, 7).unwrap(), nodes);
        let first = stack_nodes(&payload, 8, 1);
        assert!(first.is_err(), "a parent before the first node");
        for count in [0, 7, 9, u32::MAX] {
            assert!(stack_nodes(&payload, count, 7).is_err(), "{count}");
        }
        for length in 0..payload.len() {
            assert!(stack_nodes(&payload[..length], 8, 7).is_err());
        }
    }

    #[test]
    fn ids_at_the_limits_do_not_overflow() {
        let nodes = [
            native(STACK_NODES_MAX - 2, 1, 99, false),
            native(0, 1, 9, true),
        ];
        let mut payload = Vec::new();
        put_stack_nodes(&nodes, STACK_NODES_MAX - 1, &mut payload);
        let first = u64::from(STACK_NODES_MAX) - 1;
        assert_eq!(stack_nodes(&payload, 2, first).unwrap(), nodes);
        for first in [0, first + 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let error = stack_nodes(&payload, 2, first).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Limit("id of a stack node"));
        }
    }

    #[test]
    fn a_bad_parent_becomes_the_outermost() {
        let mut payload = Vec::new();
        let nodes = [native(5, 1, 9, false), native(9, 1, 9, false)];
        put_stack_nodes(&nodes, 5, &mut payload);
        let expected = [native(0, 1, 9, false), native(0, 1, 9, false)];
        assert_eq!(stack_nodes(&payload, 2, 5).unwrap(), expected);
    }
}
