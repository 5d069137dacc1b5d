//! The words of a record: what travels through a ring. Encoding and decoding side by side.
//!
//! Every record is a sequence of 8-byte words. The low byte of the first word is its code: the
//! tape format's operation for an event, or one of [`NODE`], [`CUT`], [`BLOB`], [`PYTHON_NODE`].
//!
//! ```text
//! event     w0 = ticks << 8 | operation
//!   alloc, map      address | sizes | [size] | [extra]
//!   free            address and flag | [stack] | [extra]
//!   realloc         old address | address | sizes | end ticks | [size] | [extra]
//!   unmap           address and flag | length | [stack]
//!   retag           address and flag | [stack]
//!   remap           old address | address | sizes | end ticks | old length | [size]
//! sizes     = stack << 32 | size; a size of 2^32 - 1 says that the word [size] follows
//! flag      = bit 63 of the address: the word [stack] follows
//! extra     = domain << 8 | log2 of the alignment: for aligned and custom operations
//! NODE      w0 = parent << 32 | module << 9 | exact << 8 | NODE,  w1 = offset
//! CUT       w0 = parent << 32 | reason << 8 | CUT
//! PYTHON_NODE  w0 = parent << 32 | PYTHON_NODE,  w1 = code << 32 | instruction
//! BLOB      w0 = bytes << 32 | kind << 8 | BLOB,  w1 = ticks,  then the bytes, zero-padded
//! ```
//! Ticks count from the recording's start and have 56 bits. Nodes are numbered from 1 in the
//! order in which their records stand in the stream (NODE, CUT and PYTHON_NODE alike).
//!
//! Allocations below [`crate::layout::SessionHeader::size_min`] have no record, and neither have
//! those of a paused process; their frees do, and look like frees of unknown blocks. A realloc to
//! such a size is recorded as the end of its old block (operation 36, as a realloc that frees).

pub mod short;

/// Code of a stack node.
pub const NODE: u8 = 0xe0;
/// Code of a stack node that says why a stack ends early.
pub const CUT: u8 = 0xe1;
/// Code of a record of bytes; its kind is one of [`blob`].
pub const BLOB: u8 = 0xe2;
/// Code of a stack node that is a frame of Python.
pub const PYTHON_NODE: u8 = 0xe3;

/// Modules have numbers below this (23 bits).
pub const MODULES_MAX: u32 = 1 << 23;
/// The most bytes of one blob.
pub const BLOB_BYTES_MAX: usize = 15 << 10;
const SIZE_FOLLOWS: u32 = u32::MAX;
const STACK_FOLLOWS: u64 = 1 << 63;

/// Kinds of blobs. Their contents are little-endian and stand with the encoder.
pub mod blob {
    /// u32 index, u64 load bias, u64 start, u64 end, u8 length and bytes of the build-id, path.
    pub const MODULE: u8 = 1;
    /// The executable's path.
    pub const EXECUTABLE: u8 = 2;
    /// The command line, arguments ended by zero bytes.
    pub const COMMAND: u8 = 3;
    /// The working folder.
    pub const WORKING_FOLDER: u8 = 4;
    /// Path of the object that provides the real malloc. This and the three before stand at the
    /// start of the process image's first stream.
    pub const ALLOCATOR: u8 = 5;
    /// Name of a mark.
    pub const MARK: u8 = 6;
    /// u16 domain, name. A forked child repeats those that it has inherited.
    pub const DOMAIN: u8 = 7;
    /// u8 length and text of the reason, then the command: a child that cannot be recorded, or
    /// (after EXEC) the image that takes this one's place. A program that brings an allocator of
    /// its own says so of itself.
    pub const NOT_RECORDED: u8 = 8;
    /// The thread's name.
    pub const THREAD_NAME: u8 = 9;
    /// u32 count, u64 last ticks, u8 reason: lost events, the first at the blob's ticks.
    pub const LOST: u8 = 10;
    /// For each u32 stream, u64 ticks: of an open stream of the parent, the last ticks in the
    /// memory that a forked child got; 0xFFFFFFFF: of all others. When one is behind the fork's own
    /// ticks, or those are not known.
    pub const FORK_CUTS: u8 = 11;
    /// A part of a code object of Python: u32 number (from 1, in the whole process), u32 bytes of
    /// the whole, u32 offset of this part, then the part. The parts follow each other in one
    /// stream, with other records between them, or none. Two streams may both send a number, with
    /// the same contents. The whole: u8 form of the line table (1: `co_lnotab` of CPython up to
    /// 3.9, 2: `co_linetable` of 3.10, 3: location table of 3.11 and later), u32 first line, u32
    /// length and bytes of the file name, u32 length and bytes of the qualified name, the table.
    pub const CODE: u8 = 12;
}

/// One event in words' terms; see [`crate::record`] for which fields an operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingEvent {
    /// The tape format's operation code.
    pub operation: u8,
    /// Ticks since the recording's start.
    pub ticks: u64,
    /// Realloc, remap: ticks after. Else equal to `ticks`.
    pub end_ticks: u64,
    /// The address that dies, or of a retag.
    pub old_address: u64,
    /// Unmap, remap: bytes that are unmapped.
    pub old_size: u64,
    /// The address that begins to live.
    pub address: u64,
    /// Requested bytes.
    pub size: u64,
    /// Node of the stack, 0: none.
    pub stack: u32,
    /// log2 of the alignment.
    pub alignment_log2: u8,
    /// Custom operations: the domain.
    pub domain: u16,
}

/// A decoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// An event.
    Event(RingEvent),
    /// A stack node: parent, module, offset, exact.
    Node(u32, u32, u64, bool),
    /// A stack node that ends a stack early: parent, reason.
    Cut(u32, u8),
    /// A stack node that is a frame of Python: parent, number of the code object, index of the
    /// instruction in units of two bytes.
    PythonNode(u32, u32, u32),
    /// Bytes: kind, ticks, how many bytes of the words count, the words.
    Blob(u8, u64, usize, &'a [u64]),
}

/// True for operations that carry the word `extra`.
#[inline]
#[must_use]
pub const fn has_extra(operation: u8) -> bool {
    matches!(operation, 4..=6 | 9 | 41 | 73)
}

/// The first word of an event.
#[inline]
#[must_use]
pub const fn head(operation: u8, ticks: u64) -> u64 {
    ticks << 8 | operation as u64
}

/// The word that holds stack and size; sizes that do not fit say that a word follows.
#[inline]
#[must_use]
pub const fn sizes(stack: u32, size: u64) -> u64 {
    let low = if size < SIZE_FOLLOWS as u64 {
        size
    } else {
        SIZE_FOLLOWS as u64
    };
    (stack as u64) << 32 | low
}

/// True when `size` fits into the word [`sizes`].
#[inline]
#[must_use]
pub const fn is_short(size: u64) -> bool {
    size < SIZE_FOLLOWS as u64
}

/// The words of a stack node.
#[inline]
#[must_use]
pub const fn node(parent: u32, module: u32, offset: u64, exact: bool) -> [u64; 2] {
    let head = (parent as u64) << 32 | (module as u64) << 9 | (exact as u64) << 8 | NODE as u64;
    [head, offset]
}

/// The word of a stack node that ends a stack early.
#[inline]
#[must_use]
pub const fn cut(parent: u32, reason: u8) -> [u64; 1] {
    [(parent as u64) << 32 | (reason as u64) << 8 | CUT as u64]
}

/// The words of a stack node that is a frame of Python: `instruction` is the index of the code
/// unit (two bytes) of the instruction in the code object with the number `code`.
#[inline]
#[must_use]
pub const fn python_node(parent: u32, code: u32, instruction: u32) -> [u64; 2] {
    let head = (parent as u64) << 32 | PYTHON_NODE as u64;
    [head, (code as u64) << 32 | instruction as u64]
}

/// The words of any event, as a fixed array and how many of them count. The hot path of the
/// recorder writes the common forms itself with [`head`] and [`sizes`]; this is for the rest.
#[must_use]
pub fn event(event: &RingEvent) -> ([u64; 8], usize) {
    let mut words = Words {
        words: [0; 8],
        count: 0,
    };
    words.put(head(event.operation, event.ticks));
    let (stack, size) = (event.stack, event.size);
    match event.operation >> 5 {
        0 | 3 => {
            words.put(event.address);
            words.put(sizes(stack, size));
        }
        1 | 4 | 6 => {
            let flag = if stack == 0 { 0 } else { STACK_FOLLOWS };
            words.put(event.old_address | flag);
            if event.operation >> 5 == 4 {
                words.put(event.old_size);
            }
            if stack != 0 {
                words.put(u64::from(stack));
            }
        }
        _ => {
            words.put(event.old_address);
            words.put(event.address);
            words.put(sizes(stack, size));
            words.put(event.end_ticks);
            if event.operation >> 5 == 5 {
                words.put(event.old_size);
            }
        }
    }
    let kind = event.operation >> 5;
    if !matches!(kind, 1 | 4 | 6) && !is_short(size) {
        words.put(size);
    }
    if has_extra(event.operation) {
        words.put(u64::from(event.domain) << 8 | u64::from(event.alignment_log2));
    }
    (words.words, words.count)
}

struct Words {
    words: [u64; 8],
    count: usize,
}

impl Words {
    fn put(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = word;
            self.count += 1;
        }
    }
}

/// The words of a blob, for [`crate::ring::Producer::append_long`]. Longer contents than
/// [`BLOB_BYTES_MAX`] are cut.
pub fn blob_words<'a>(
    kind: u8,
    ticks: u64,
    parts: &'a [&'a [u8]],
) -> impl ExactSizeIterator<Item = u64> + Clone + 'a {
    let total = parts
        .iter()
        .map(|part| part.len())
        .sum::<usize>()
        .min(BLOB_BYTES_MAX);
    let mut bytes = parts
        .iter()
        .flat_map(|part| part.iter().copied())
        .take(total);
    let words = 2 + total.div_ceil(8);
    (0..words).map(move |place| match place {
        0 => (total as u64) << 32 | u64::from(kind) << 8 | u64::from(BLOB),
        1 => ticks,
        _ => u64::from_le_bytes(core::array::from_fn(|_| bytes.next().unwrap_or(0))),
    })
}

/// Decodes the record at the start of `words`; returns it with the words that it takes. `None`:
/// the words end inside it or are not a record.
#[must_use]
pub fn decode(words: &[u64]) -> Option<(Record<'_>, usize)> {
    let head = *words.first()?;
    match head as u8 {
        NODE => {
            let (parent, module) = ((head >> 32) as u32, (head >> 9) as u32 & (MODULES_MAX - 1));
            Some((
                Record::Node(parent, module, *words.get(1)?, head >> 8 & 1 == 1),
                2,
            ))
        }
        CUT => Some((Record::Cut((head >> 32) as u32, (head >> 8) as u8), 1)),
        PYTHON_NODE => {
            let place = *words.get(1)?;
            let (code, instruction) = ((place >> 32) as u32, place as u32);
            let parent = (head >> 32) as u32;
            Some((Record::PythonNode(parent, code, instruction), 2))
        }
        BLOB => {
            let bytes = (head >> 32) as usize;
            let end = 2 + bytes.div_ceil(8);
            let content = words.get(2..end)?;
            Some((
                Record::Blob((head >> 8) as u8, *words.get(1)?, bytes, content),
                end,
            ))
        }
        operation if operation >> 5 <= 6 => decode_event(words, operation),
        _ => None,
    }
}

fn decode_event(words: &[u64], operation: u8) -> Option<(Record<'_>, usize)> {
    let mut rest = words.iter().copied();
    let ticks = rest.next()? >> 8;
    let mut event = RingEvent {
        operation,
        ticks,
        end_ticks: ticks,
        ..RingEvent::default()
    };
    let mut size = SizeWord::default();
    match operation >> 5 {
        0 | 3 => {
            event.address = rest.next()?;
            size = SizeWord::new(rest.next()?);
        }
        1 | 4 | 6 => {
            let place = rest.next()?;
            event.old_address = place & !STACK_FOLLOWS;
            if operation >> 5 == 4 {
                event.old_size = rest.next()?;
            }
            if place & STACK_FOLLOWS != 0 {
                event.stack = rest.next()? as u32;
            }
        }
        _ => {
            event.old_address = rest.next()?;
            event.address = rest.next()?;
            size = SizeWord::new(rest.next()?);
            event.end_ticks = rest.next()?;
            if operation >> 5 == 5 {
                event.old_size = rest.next()?;
            }
        }
    }
    if !matches!(operation >> 5, 1 | 4 | 6) {
        event.stack = size.stack;
        event.size = if size.low == SIZE_FOLLOWS {
            rest.next()?
        } else {
            u64::from(size.low)
        };
    }
    if has_extra(operation) {
        let extra = rest.next()?;
        event.alignment_log2 = extra as u8;
        event.domain = (extra >> 8) as u16;
    }
    Some((Record::Event(event), words.len() - rest.len()))
}

#[derive(Default)]
struct SizeWord {
    stack: u32,
    low: u32,
}

impl SizeWord {
    fn new(word: u64) -> Self {
        Self {
            stack: (word >> 32) as u32,
            low: word as u32,
        }
    }
}

/// The bytes of a blob's words.
pub fn blob_bytes(words: &[u64], bytes: usize) -> impl Iterator<Item = u8> + '_ {
    words.iter().flat_map(|word| word.to_le_bytes()).take(bytes)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn comes_back(event_in: RingEvent) {
        let (words, count) = event(&event_in);
        assert_eq!(
            decode(&words[..count]),
            Some((Record::Event(event_in), count))
        );
        for short in 0..count {
            assert_eq!(decode(&words[..short]), None, "{event_in:?} cut at {short}");
        }
    }

    #[test]
    fn events_come_back() {
        let size_or_more = [0, 7, u64::from(u32::MAX) - 1, u64::from(u32::MAX), 5 << 30];
        for size in size_or_more {
            for stack in [0, 1, u32::MAX] {
                let base = RingEvent {
                    ticks: 9,
                    end_ticks: 9,
                    stack,
                    ..RingEvent::default()
                };
                for operation in [0, 1, 4, 9, 16, 96] {
                    let (domain, alignment_log2) = if has_extra(operation) {
                        (17, 12)
                    } else {
                        (0, 0)
                    };
                    let address = 1 << 56;
                    comes_back(RingEvent {
                        operation,
                        address,
                        size,
                        domain,
                        alignment_log2,
                        ..base
                    });
                }
                for operation in [32, 192] {
                    comes_back(RingEvent {
                        operation,
                        old_address: 48,
                        ..base
                    });
                }
                comes_back(RingEvent {
                    operation: 41,
                    old_address: 48,
                    domain: 20,
                    ..base
                });
                comes_back(RingEvent {
                    operation: 128,
                    old_address: 4096,
                    old_size: size,
                    ..base
                });
                for operation in [64, 73, 160] {
                    let old_size = if operation == 160 { 4096 } else { 0 };
                    let (old_address, address, end_ticks) = (16, 32, 11);
                    comes_back(RingEvent {
                        operation,
                        old_address,
                        address,
                        size,
                        end_ticks,
                        old_size,
                        ..base
                    });
                }
            }
        }
    }

    #[test]
    fn the_short_forms_of_the_hot_path_are_the_same_words() {
        let alloc = RingEvent {
            operation: 0,
            ticks: 5,
            end_ticks: 5,
            address: 64,
            size: 3,
            stack: 8,
            ..RingEvent::default()
        };
        assert_eq!(event(&alloc).0[..3], [head(0, 5), 64, sizes(8, 3)]);
        let free = RingEvent {
            operation: 32,
            ticks: 5,
            end_ticks: 5,
            old_address: 64,
            ..RingEvent::default()
        };
        assert_eq!(event(&free).0[..2], [head(32, 5), 64]);
    }

    #[test]
    fn nodes_and_blobs_come_back() {
        let words = node(7, MODULES_MAX - 1, u64::MAX, true);
        assert_eq!(
            decode(&words),
            Some((Record::Node(7, MODULES_MAX - 1, u64::MAX, true), 2))
        );
        assert_eq!(decode(&cut(9, 2)), Some((Record::Cut(9, 2), 1)));
        for (parent, code, instruction) in [(0, 1, 0), (u32::MAX, u32::MAX, u32::MAX), (7, 3, 9)] {
            let words = python_node(parent, code, instruction);
            let record = Record::PythonNode(parent, code, instruction);
            assert_eq!(decode(&words), Some((record, 2)));
            assert_eq!(decode(&words[..1]), None);
        }
        let words: Vec<u64> = blob_words(blob::MARK, 77, &[b"half ", b"way there"]).collect();
        let Some((Record::Blob(kind, ticks, bytes, content), taken)) = decode(&words) else {
            panic!("not a blob")
        };
        assert_eq!((kind, ticks, taken), (blob::MARK, 77, words.len()));
        assert_eq!(
            blob_bytes(content, bytes).collect::<Vec<u8>>(),
            b"half way there"
        );
        assert_eq!(decode(&words[..words.len() - 1]), None);
    }
}
