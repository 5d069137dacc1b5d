//! The two records that almost every stream consists of, in their shortest forms.
//!
//! In: words at the start of a record. Out: a plain allocation of three words or a plain free of
//! two. Every other record is `None` here and left to [`decode`](super::decode), which gives the
//! same for these two; this is the way that takes the fewest instructions.

use super::{SIZE_FOLLOWS, STACK_FOLLOWS, has_extra};

/// A record in its shortest form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// An allocation of fewer than 2^32 - 1 bytes without alignment and domain.
    Allocation {
        /// The tape format's operation code.
        operation: u8,
        /// Ticks since the recording's start.
        ticks: u64,
        /// The address that begins to live.
        address: u64,
        /// Requested bytes.
        size: u32,
        /// Node of the stack, 0: none.
        stack: u32,
    },
    /// A free without stack and domain.
    Free {
        /// The tape format's operation code.
        operation: u8,
        /// Ticks since the recording's start.
        ticks: u64,
        /// The address that dies.
        address: u64,
    },
}

impl Short {
    /// Words of an allocation.
    pub const ALLOCATION_WORDS: usize = 3;
    /// Words of a free.
    pub const FREE_WORDS: usize = 2;
}

/// The addresses of the short records at the start of `words`, one after the other.
#[inline(always)]
pub fn short_addresses(mut words: &[u64]) -> impl Iterator<Item = u64> + '_ {
    core::iter::from_fn(move || {
        let (address, taken) = match decode_short(words)? {
            Short::Allocation { address, .. } => (address, Short::ALLOCATION_WORDS),
            Short::Free { address, .. } => (address, Short::FREE_WORDS),
        };
        words = words.get(taken..)?;
        Some(address)
    })
}

/// The record at the start of `words` when it is one of the two.
#[inline(always)]
#[must_use]
pub fn decode_short(words: &[u64]) -> Option<Short> {
    let &[head, address, ..] = words else {
        return None;
    };
    let (operation, ticks) = (head as u8, head >> 8);
    if has_extra(operation) {
        return None;
    }
    match operation >> 5 {
        0 => {
            let sizes = *words.get(2)?;
            let (stack, size) = ((sizes >> 32) as u32, sizes as u32);
            (size != SIZE_FOLLOWS).then_some(Short::Allocation {
                operation,
                ticks,
                address,
                size,
                stack,
            })
        }
        1 if address & STACK_FOLLOWS == 0 => Some(Short::Free {
            operation,
            ticks,
            address,
        }),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{Record, RingEvent, decode, event};
    use super::*;

    /// What `decode` says of a record that has a short form.
    fn as_event(short: Short) -> (RingEvent, usize) {
        match short {
            Short::Allocation {
                operation,
                ticks,
                address,
                size,
                stack,
            } => {
                let size = u64::from(size);
                let event = RingEvent {
                    operation,
                    ticks,
                    end_ticks: ticks,
                    address,
                    size,
                    stack,
                    ..RingEvent::default()
                };
                (event, Short::ALLOCATION_WORDS)
            }
            Short::Free {
                operation,
                ticks,
                address,
            } => {
                let event = RingEvent {
                    operation,
                    ticks,
                    end_ticks: ticks,
                    old_address: address,
                    ..RingEvent::default()
                };
                (event, Short::FREE_WORDS)
            }
        }
    }

    #[test]
    fn every_code_is_short_or_not_and_never_something_else() {
        let values = [0, 1, 4096, u64::from(u32::MAX), 7 << 32 | 5, 1 << 63, !0];
        let mut shorts = 0;
        for code in 0..=255u8 {
            for first in values {
                for second in values {
                    let words = [u64::from(code) | 77 << 8, first, second, 3, 9, 1, 2, 3];
                    for count in 0..=words.len() {
                        let words = &words[..count];
                        let Some(short) = decode_short(words) else {
                            continue;
                        };
                        let (event, taken) = as_event(short);
                        assert_eq!(decode(words), Some((Record::Event(event), taken)));
                        shorts += 1;
                    }
                }
            }
        }
        assert!(shorts > 10_000, "{shorts}");
    }

    #[test]
    fn plain_allocations_and_frees_are_short() {
        for (operation, size, old_address, is_short) in [
            (0, 24, 0, true),
            (24, u64::from(u32::MAX) - 1, 0, true),
            (0, u64::from(u32::MAX), 0, false),
            (4, 24, 0, false),
            (32, 0, 4096, true),
            (41, 0, 4096, false),
            (64, 24, 4096, false),
            (96, 24, 0, false),
        ] {
            let (words, count) = event(&RingEvent {
                operation,
                size,
                old_address,
                ..RingEvent::default()
            });
            let short = decode_short(&words[..count]);
            assert_eq!(short.is_some(), is_short, "{operation} {size}");
        }
    }
}
