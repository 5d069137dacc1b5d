//! The rules of one return address packed into a few bits: full rules go in, a `Row` comes out that
//! the walk applies in a few instructions. What does not fit (frames of more than 4 MiB) is marked
//! for the interpreter; a row never says less than the rules do.

use super::cfi::Fde;
use super::reader::Section;
use super::rules::{CfaRule, Rule, Rules, Span, register};

/// What a [`Row`] asks the walk to do. Odd numbers are the plain kinds, and no row is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RowKind {
    /// CFA = rsp + offset.
    StackPointer = 1,
    /// CFA = rbp + offset.
    FramePointer = 3,
    /// CFA = the word at rbp + offset (a realigned frame), rbp saved at rbp + the other offset.
    Realigned = 2,
    /// The return address is undefined: the outermost frame.
    End = 4,
    /// Anything else that the tables say: run the interpreter.
    Special = 6,
    /// The tables say nothing: follow frame pointers.
    Unknown = 8,
}

/// Bits 0..3 kind, 3..8 where rbp was saved, 8..28 the CFA's offset.
///
/// Offsets are in words of 8 bytes. That of rbp counts down from the CFA, or from rbp in a
/// realigned frame; in plain rows 0 says that rbp was not saved. That of the CFA is signed. In
/// plain rows the words that are read lie in `base .. CFA`, where `base` is the register that the
/// CFA counts from: checked here, so that the walk need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Row(u32);

/// Bits of a row; those above are zero.
pub(super) const ROW_BITS: u32 = 28;
const KIND_MASK: u32 = 7;
const PLAIN: u32 = 1;
const FROM_RBP: u32 = 2;
/// Where rbp was saved, in bytes: the words are counted from bit 3 on.
const SAVED_MASK: u32 = 0xf8;
const CFA_SHIFT: u32 = 8;
/// The CFA's offset, in words.
const CFA_WORDS_MAX: i32 = (1 << (ROW_BITS - CFA_SHIFT - 1)) - 1;

impl Row {
    /// A row of a kind that needs no numbers.
    #[must_use]
    pub const fn bare(kind: RowKind) -> Self {
        Self(kind as u32)
    }

    /// The row of these bits; 0 is none.
    #[inline(always)]
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    /// Its bits, [`ROW_BITS`] of them.
    pub(super) fn bits(self) -> u32 {
        self.0
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
        let saved = rbp.unwrap_or(0).checked_neg()?;
        let saved = u32::try_from(saved).ok()?;
        let words = cfa / 8;
        if saved & !SAVED_MASK != 0 || cfa % 8 != 0 || words.abs() > CFA_WORDS_MAX {
            return None;
        }
        let words = words.cast_unsigned() << CFA_SHIFT & ((1 << ROW_BITS) - 1);
        Some(Self(words | saved | kind as u32))
    }

    /// What to do.
    #[must_use]
    pub fn kind(self) -> RowKind {
        match self.0 & KIND_MASK {
            1 => RowKind::StackPointer,
            2 => RowKind::Realigned,
            3 => RowKind::FramePointer,
            4 => RowKind::End,
            6 => RowKind::Special,
            _ => RowKind::Unknown,
        }
    }

    /// True for the first two kinds.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.0 & PLAIN != 0
    }

    /// True when the CFA counts from rbp; asked of plain rows.
    #[inline(always)]
    #[must_use]
    pub fn counts_from_rbp(self) -> bool {
        self.0 & FROM_RBP != 0
    }

    /// Offset of the CFA, in bytes.
    #[inline(always)]
    #[must_use]
    pub fn cfa_offset(self) -> isize {
        const UNUSED: u32 = u32::BITS - ROW_BITS;
        let words = (self.0 << UNUSED).cast_signed() >> (UNUSED + CFA_SHIFT);
        words as isize * 8
    }

    /// True when the caller's rbp is in memory; asked of plain rows.
    #[inline(always)]
    #[must_use]
    pub fn saves_rbp(self) -> bool {
        self.0 & SAVED_MASK != 0
    }

    /// Offset of the caller's rbp, in bytes.
    #[inline(always)]
    #[must_use]
    pub fn rbp_offset(self) -> isize {
        -((self.0 & SAVED_MASK) as isize)
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
        for cfa in [8, 16, 4096, CFA_WORDS_MAX * 8] {
            let row = Row::pack_plain(7, cfa, Rule::Same).expect("fits");
            assert_eq!(
                (row.kind(), row.cfa_offset()),
                (RowKind::StackPointer, cfa as isize)
            );
            assert!(row.is_plain() && !row.saves_rbp() && !row.counts_from_rbp());
        }
        for saved in [-16, -24, -248] {
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
    }

    /// It is for the interpreter.
    #[test]
    fn what_does_not_fit_is_refused() {
        for cfa in [i32::MAX, (CFA_WORDS_MAX + 1) * 8, 12] {
            assert_eq!(Row::pack_plain(7, cfa, Rule::Same), None);
        }
        for saved in [-256, -(1 << 28), -20] {
            assert_eq!(Row::pack_plain(7, 4096, Rule::Offset(saved)), None);
        }
        assert_eq!(Row::with_offsets(RowKind::Realigned, -8, Some(8)), None);
        assert_eq!(Row::with_offsets(RowKind::Realigned, i32::MIN, None), None);
        assert_eq!(
            Row::with_offsets(RowKind::Realigned, -8, Some(i32::MIN)),
            None
        );
    }

    #[test]
    fn no_row_is_zero() {
        for kind in [
            RowKind::StackPointer,
            RowKind::FramePointer,
            RowKind::Realigned,
            RowKind::End,
            RowKind::Special,
            RowKind::Unknown,
        ] {
            let row = Row::bare(kind);
            assert_eq!(row.kind(), kind);
            assert_eq!(Row::from_bits(row.bits()), Some(row));
            assert_eq!(
                row.is_plain(),
                matches!(kind, RowKind::StackPointer | RowKind::FramePointer)
            );
        }
        assert_eq!(Row::from_bits(0), None);
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
        assert!(!row.is_plain() && row.bits() >> ROW_BITS == 0);
        assert_eq!(Row::pack_realigned(cfa, Rule::Offset(-16), &section), None);
    }
}
