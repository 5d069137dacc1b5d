//! Evaluates the DWARF expressions of unwind rules: bytes, known registers and readable memory go
//! in, a word comes out, or `None` where something is unknown. Steps and stack are bounded, so a
//! damaged or hostile expression ends.

use super::reader::Reader;
use super::rules::register;

/// Words of memory, as far as they can be read without a fault.
pub trait Memory {
    /// The word at `address`.
    fn read(&mut self, address: usize) -> Option<usize>;
}

/// What is known of a frame's registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    values: [usize; register::COUNT],
    known: u32,
}

impl Registers {
    /// The value of a register by its DWARF number, when it is known.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<usize> {
        let value = *self.values.get(number)?;
        (self.known >> number & 1 == 1).then_some(value)
    }

    /// Learns the value of a register, or forgets it.
    pub fn set(&mut self, number: usize, value: Option<usize>) {
        let Some(slot) = self.values.get_mut(number) else {
            return;
        };
        *slot = value.unwrap_or(0);
        self.known = self.known & !(1 << number) | u32::from(value.is_some()) << number;
    }
}

/// Operations carried out before an expression is given up.
const STEPS_MAX: usize = 512;
/// Words on an expression's stack.
const DEPTH_MAX: usize = 16;

struct Stack {
    words: [usize; DEPTH_MAX],
    count: usize,
}

impl Stack {
    fn push(&mut self, word: usize) -> Option<()> {
        *self.words.get_mut(self.count)? = word;
        self.count += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        self.words.get(self.count).copied()
    }

    /// The word `depth` below the top.
    fn peek(&self, depth: usize) -> Option<usize> {
        let at = self.count.checked_sub(1)?.checked_sub(depth)?;
        self.words.get(at).copied()
    }

    fn swap(&mut self, depth: usize, other: usize) -> Option<()> {
        let top = self.count.checked_sub(1)?;
        let (one, two) = (top.checked_sub(depth)?, top.checked_sub(other)?);
        let live = self.words.get_mut(..self.count)?;
        live.swap(one, two);
        Some(())
    }
}

/// The value of `expression`; `initial` is pushed first, as rules for registers do with the CFA.
pub fn evaluate(
    expression: &[u8],
    initial: Option<usize>,
    registers: &Registers,
    memory: &mut impl Memory,
) -> Option<usize> {
    let mut stack = Stack {
        words: [0; DEPTH_MAX],
        count: 0,
    };
    if let Some(word) = initial {
        stack.push(word)?;
    }
    let mut reader = Reader::new(expression);
    for _ in 0..STEPS_MAX {
        if reader.is_empty() {
            return stack.pop();
        }
        let code = reader.u8()?;
        match code {
            // Constants: lit0 to lit31, and those that follow in the expression.
            0x30..=0x4f => stack.push(usize::from(code - 0x30))?,
            0x03 | 0x08..=0x11 => stack.push(constant(code, &mut reader)?)?,
            // Registers plus an offset: breg0 to breg31, bregx.
            0x70..=0x8f => {
                let base = registers.get(usize::from(code - 0x70))?;
                stack.push(base.wrapping_add_signed(reader.sleb()? as isize))?;
            }
            0x92 => {
                let base = registers.get(usize::try_from(reader.uleb()?).ok()?)?;
                stack.push(base.wrapping_add_signed(reader.sleb()? as isize))?;
            }
            // Jumps: skip and bra.
            0x2f => {
                let distance = jump_distance(&mut reader)?;
                reader.jump(distance)?;
            }
            0x28 => {
                let distance = jump_distance(&mut reader)?;
                if stack.pop()? != 0 {
                    reader.jump(distance)?;
                }
            }
            0x96 => {}
            0x12..=0x17 => arrange(code, &mut stack, &mut reader)?,
            0x06 | 0x94 | 0x19 | 0x1f | 0x20 | 0x23 => {
                unary(code, &mut stack, &mut reader, memory)?;
            }
            _ => {
                let right = stack.pop()?;
                let left = stack.pop()?;
                stack.push(binary(code, left, right)?)?;
            }
        }
    }
    None
}

fn jump_distance(reader: &mut Reader<'_>) -> Option<isize> {
    reader.u16().map(|word| isize::from(word.cast_signed()))
}

/// DW_OP_addr and DW_OP_const*.
fn constant(code: u8, reader: &mut Reader<'_>) -> Option<usize> {
    Some(match code {
        0x03 | 0x0e | 0x0f => reader.u64()? as usize,
        0x08 => usize::from(reader.u8()?),
        0x09 => isize::from(reader.u8()?.cast_signed()).cast_unsigned(),
        0x0a => usize::from(reader.u16()?),
        0x0b => isize::from(reader.u16()?.cast_signed()).cast_unsigned(),
        0x0c => reader.u32()? as usize,
        0x0d => (reader.i32()? as isize).cast_unsigned(),
        0x10 => reader.uleb()? as usize,
        _ => reader.sleb()? as usize,
    })
}

/// DW_OP_dup, drop, over, pick, swap, rot.
fn arrange(code: u8, stack: &mut Stack, reader: &mut Reader<'_>) -> Option<()> {
    match code {
        0x12 => stack.push(stack.peek(0)?),
        0x13 => stack.pop().map(|_| ()),
        0x14 => stack.push(stack.peek(1)?),
        0x15 => {
            let depth = usize::from(reader.u8()?);
            stack.push(stack.peek(depth)?)
        }
        0x16 => stack.swap(0, 1),
        // The top goes below the next two.
        _ => {
            stack.swap(0, 1)?;
            stack.swap(1, 2)
        }
    }
}

/// DW_OP_deref, deref_size, abs, neg, not, plus_uconst.
fn unary(
    code: u8,
    stack: &mut Stack,
    reader: &mut Reader<'_>,
    memory: &mut impl Memory,
) -> Option<()> {
    let word = stack.pop()?;
    let result = match code {
        0x06 => memory.read(word)?,
        0x94 => {
            let bytes = u32::from(reader.u8()?);
            // Reading a whole word is right but where the last bytes of a page are asked for;
            // no compiler writes such a rule.
            let mask = match bytes {
                1 | 2 | 4 => (1usize << (bytes * 8)) - 1,
                8 => usize::MAX,
                _ => return None,
            };
            memory.read(word)? & mask
        }
        0x19 => word.cast_signed().unsigned_abs(),
        0x1f => word.wrapping_neg(),
        0x20 => !word,
        _ => word.wrapping_add(reader.uleb()? as usize),
    };
    stack.push(result)
}

fn binary(code: u8, left: usize, right: usize) -> Option<usize> {
    let (signed_left, signed_right) = (left.cast_signed(), right.cast_signed());
    let shift = u32::try_from(right).unwrap_or(u32::MAX);
    Some(match code {
        0x1a => left & right,
        0x1b => signed_left.checked_div(signed_right)?.cast_unsigned(),
        0x1c => left.wrapping_sub(right),
        0x1d => left.checked_rem(right)?,
        0x1e => left.wrapping_mul(right),
        0x21 => left | right,
        0x22 => left.wrapping_add(right),
        0x24 => left.checked_shl(shift).unwrap_or(0),
        0x25 => left.checked_shr(shift).unwrap_or(0),
        0x26 => signed_left
            .checked_shr(shift)
            .unwrap_or(signed_left >> 63)
            .cast_unsigned(),
        0x27 => left ^ right,
        0x29 => usize::from(left == right),
        0x2a => usize::from(signed_left >= signed_right),
        0x2b => usize::from(signed_left > signed_right),
        0x2c => usize::from(signed_left <= signed_right),
        0x2d => usize::from(signed_left < signed_right),
        0x2e => usize::from(left != right),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Words;
    impl Memory for Words {
        fn read(&mut self, address: usize) -> Option<usize> {
            (address >= 0x1000).then_some(address ^ 0xff)
        }
    }

    fn value(expression: &[u8], registers: &Registers) -> Option<usize> {
        evaluate(expression, None, registers, &mut Words)
    }

    /// The rule of the procedure linkage table: 8 more once the index was pushed.
    #[test]
    fn rule_of_the_linkage_table() {
        let rule = [
            0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22,
        ];
        let mut registers = Registers::default();
        registers.set(register::RSP, Some(0x7000));
        registers.set(register::RETURN, Some(0x40_1026));
        assert_eq!(value(&rule, &registers), Some(0x7008));
        registers.set(register::RETURN, Some(0x40_102b));
        assert_eq!(value(&rule, &registers), Some(0x7010));
        registers.set(register::RETURN, None);
        assert_eq!(value(&rule, &registers), None);
    }

    #[test]
    fn arithmetic_and_order_of_the_stack() {
        let none = Registers::default();
        // 7 - 2, and the same after a swap.
        assert_eq!(value(&[0x37, 0x32, 0x1c], &none), Some(5));
        assert_eq!(
            value(&[0x37, 0x32, 0x16, 0x1c], &none),
            Some(5usize.wrapping_neg())
        );
        // 1 2 3 rot -> 3 1 2; top 2, then 1, then 3: 3 - (1 - 2) = 4.
        assert_eq!(value(&[0x31, 0x32, 0x33, 0x17, 0x1c, 0x1c], &none), Some(4));
        assert_eq!(value(&[0x31, 0x30, 0x1b], &none), None);
        assert_eq!(value(&[0x0a, 0x00, 0x10, 0x06], &none), Some(0x10ff));
        assert_eq!(value(&[0x30, 0x06], &none), None);
    }

    #[test]
    fn an_endless_loop_ends() {
        assert_eq!(value(&[0x2f, 0xfd, 0xff], &Registers::default()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut registers = Registers::default();
            registers.set(register::RSP, Some(usize::MAX));
            // Whatever comes out, the same comes out twice: nothing outside was read.
            prop_assert_eq!(value(&bytes, &registers), value(&bytes, &registers));
        }
    }
}
