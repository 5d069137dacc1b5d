//! The rules of one return address packed into a word: full rules go in, a `Row` comes out that
//! the walk applies in a few instructions. What does not fit is marked for the interpreter; a row
//! never says less than the rules do.

use super::cfi::Fde;
use super::reader::Section;
use super::rules::{CfaRule, Rule, Rules, Span, register};

/// What a [`Row`] asks the walk to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum RowKind {
    /// CFA = rsp + offset.
    StackPointer = 0,
    /// CFA = rbp + offset.
    FramePointer = 1,
    /// CFA = the word at rbp + offset (a realigned frame), rbp saved at rbp + the other offset.
    Realigned = 2,
    /// The return address is undefined: the outermost frame.
    End = 3,
    /// Anything else that the tables say: run the interpreter.
    Special = 4,
    /// The tables say nothing: follow frame pointers.
    Unknown = 5,
}

/// Bits 0..3 kind, 3 rbp was saved, 4..32 where rbp was saved, 32..64 the CFA's offset.
///
/// Offsets are signed and in bytes; that of rbp counts from the CFA, or from rbp in a realigned
/// frame. In the first two kinds the words that are read lie in `base .. CFA`, where `base` is the
/// register that the CFA counts from: checked here, so that the walk need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Row(u64);

const KIND_MASK: u64 = 7;
const SAVED: u64 = 8;
const RBP_OFFSET_SHIFT: u32 = 4;
const RBP_OFFSET_MAX: i32 = (1 << 27) - 1;

const _: () = assert!(RowKind::StackPointer as u64 == 0 && RowKind::FramePointer as u64 == 1);

impl Row {
    /// A row of a kind that needs no numbers.
    #[must_use]
    pub const fn bare(kind: RowKind) -> Self {
        Self(kind as u64)
    }

    /// Packs rules, or says that they do not fit.
    #[must_use]
    pub fn pack(rules: &Rules, fde: &Fde<'_>, section: &Section<'_>) -> Self {
        let special = Self::bare(RowKind::Special);
        let [.., rbp, rsp, _, _, _, _, _, _, _, _, ra] = rules.registers;
        if fde.cie.is_signal || rsp != Rule::Same {
            return special;
        }
        match ra {
            Rule::Undefined => return Self::bare(RowKind::End),
            Rule::Offset(-8) => {}
            _ => return special,
        }
        let packed = match rules.cfa {
            CfaRule::Register { register, offset } => Self::pack_plain(register, offset, rbp),
            CfaRule::Expression(span) => Self::pack_realigned(span, rbp, section),
            CfaRule::Unset => None,
        };
        packed.unwrap_or(special)
    }

    fn pack_plain(cfa_register: u8, offset: i32, rbp: Rule) -> Option<Self> {
        let kind = match usize::from(cfa_register) {
            register::RSP => RowKind::StackPointer,
            register::RBP => RowKind::FramePointer,
            _ => return None,
        };
        if offset < 8 {
            return None;
        }
        let saved = match rbp {
            // A lost rbp is only ever needed by a frame whose rules are wrong.
            Rule::Same | Rule::Undefined => None,
            // Inside the frame: not below its base, not over the return address.
            Rule::Offset(at) if at <= -16 && at.checked_add(offset)? >= 0 => Some(at),
            _ => return None,
        };
        Self::with_offsets(kind, offset, saved)
    }

    /// `*(rbp + a)` with rbp saved at `rbp + b`: what compilers write for realigned frames.
    fn pack_realigned(cfa: Span, rbp: Rule, section: &Section<'_>) -> Option<Self> {
        const BREG_RBP: u8 = 0x76;
        const DEREF: u8 = 0x06;
        let mut reader = reader_of(cfa, section)?;
        if reader.u8()? != BREG_RBP {
            return None;
        }
        let offset = i32::try_from(reader.sleb()?).ok()?;
        if reader.u8()? != DEREF || !reader.is_empty() {
            return None;
        }
        let Rule::Expression(span) = rbp else {
            return None;
        };
        let mut reader = reader_of(span, section)?;
        if reader.u8()? != BREG_RBP {
            return None;
        }
        let saved = i32::try_from(reader.sleb()?).ok()?;
        if !reader.is_empty() {
            return None;
        }
        Self::with_offsets(RowKind::Realigned, offset, Some(saved))
    }

    fn with_offsets(kind: RowKind, cfa: i32, rbp: Option<i32>) -> Option<Self> {
        let saved = if rbp.is_some() { SAVED } else { 0 };
        let rbp = rbp.unwrap_or(0);
        if rbp.unsigned_abs() > RBP_OFFSET_MAX.unsigned_abs() {
            return None;
        }
        let rbp_bits = u64::from((rbp << RBP_OFFSET_SHIFT).cast_unsigned());
        let cfa_bits = u64::from(cfa.cast_unsigned()) << 32;
        Some(Self(cfa_bits | rbp_bits | saved | kind as u64))
    }

    /// What to do.
    #[must_use]
    pub fn kind(self) -> RowKind {
        match self.0 & KIND_MASK {
            0 => RowKind::StackPointer,
            1 => RowKind::FramePointer,
            2 => RowKind::Realigned,
            3 => RowKind::End,
            4 => RowKind::Special,
            _ => RowKind::Unknown,
        }
    }

    /// True for the first two kinds.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.0 & KIND_MASK & !1 == 0
    }

    /// True when the CFA counts from rbp; asked of plain rows.
    #[inline(always)]
    #[must_use]
    pub fn counts_from_rbp(self) -> bool {
        self.0 & 1 != 0
    }

    /// Offset of the CFA.
    #[inline(always)]
    #[must_use]
    pub fn cfa_offset(self) -> isize {
        (self.0.cast_signed() >> 32) as isize
    }

    /// True when the caller's rbp is in memory.
    #[inline(always)]
    #[must_use]
    pub fn saves_rbp(self) -> bool {
        self.0 & SAVED != 0
    }

    /// Offset of the caller's rbp.
    #[inline(always)]
    #[must_use]
    pub fn rbp_offset(self) -> isize {
        ((self.0 as u32).cast_signed() >> RBP_OFFSET_SHIFT) as isize
    }
}

fn reader_of<'a>(span: Span, section: &Section<'a>) -> Option<super::reader::Reader<'a>> {
    bytes_of(span, section).map(super::reader::Reader::new)
}

/// The bytes of an expression.
#[must_use]
pub fn bytes_of<'a>(span: Span, section: &Section<'a>) -> Option<&'a [u8]> {
    let start = span.start as usize;
    section
        .bytes
        .get(start..start.checked_add(span.length as usize)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_the_numbers() {
        for cfa in [8, 16, 4096, i32::MAX] {
            let row = Row::pack_plain(7, cfa, Rule::Same).expect("fits");
            assert_eq!(
                (row.kind(), row.cfa_offset()),
                (RowKind::StackPointer, cfa as isize)
            );
            assert!(row.is_plain() && !row.saves_rbp() && !row.counts_from_rbp());
        }
        for saved in [-16, -24, -4096] {
            let row = Row::pack_plain(6, 4096, Rule::Offset(saved)).expect("fits");
            assert_eq!((row.cfa_offset(), row.rbp_offset()), (4096, saved as isize));
            assert!(row.is_plain() && row.saves_rbp() && row.counts_from_rbp());
        }
    }

    #[test]
    fn what_would_read_outside_the_frame_is_refused() {
        assert_eq!(Row::pack_plain(7, 0, Rule::Same), None);
        assert_eq!(Row::pack_plain(7, -8, Rule::Same), None);
        assert_eq!(Row::pack_plain(7, 16, Rule::Offset(-24)), None);
        assert_eq!(Row::pack_plain(7, 16, Rule::Offset(-8)), None);
        assert_eq!(Row::pack_plain(10, 16, Rule::Same), None);
        assert_eq!(Row::pack_plain(7, i32::MAX, Rule::Offset(-(1 << 28))), None);
    }

    #[test]
    fn realigned_frames() {
        let bytes = [0x76, 0x78, 0x06, 0x76, 0x00];
        let section = Section {
            bytes: &bytes,
            address: 0,
        };
        let cfa = Span {
            start: 0,
            length: 3,
        };
        let rbp = Rule::Expression(Span {
            start: 3,
            length: 2,
        });
        let row = Row::pack_realigned(cfa, rbp, &section).expect("fits");
        assert_eq!(row.kind(), RowKind::Realigned);
        assert_eq!((row.cfa_offset(), row.rbp_offset()), (-8, 0));
        assert!(!row.is_plain());
        assert_eq!(Row::pack_realigned(cfa, Rule::Offset(-16), &section), None);
    }
}
