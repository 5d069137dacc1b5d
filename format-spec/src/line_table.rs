//! Line tables of code objects: from an instruction to its line. SPEC.md §8.15.1.
//!
//! In: what a [`CodeObject`](crate::tables::CodeObject) says. Out: lines. Any bytes are a table:
//! what no compiler writes has the lines that SPEC.md defines for it. Time and memory are bounded
//! by the table's length.

/// No line is known of any instruction.
pub const FORM_NONE: u8 = 0;
/// `co_lnotab` of CPython up to 3.9.
pub const FORM_LNOTAB: u8 = 1;
/// `co_linetable` of CPython 3.10.
pub const FORM_LINETABLE: u8 = 2;
/// The location table (`co_linetable`) of CPython 3.11 and later.
pub const FORM_LOCATIONS: u8 = 3;
/// The frame has not begun its first instruction: the line is the code object's first one.
pub const NOT_BEGUN: u32 = u32::MAX;
/// The most bytes of a line table that a writer puts into a tape.
pub const LINE_TABLE_BYTES_MAX: usize = 1 << 20;

/// Line of `instruction` (index of a code unit of two bytes), 0 when none is known. For several
/// instructions of one code object a [`LineTable`] reads the table only once.
#[must_use]
pub fn line_of(form: u8, first_line: u32, table: &[u8], instruction: u32) -> u32 {
    if instruction == NOT_BEGUN && is_known(form) {
        return as_line(first_line);
    }
    let ends = |range: &Range| u64::from(instruction) * 2 < range.end;
    let found = Ranges::new(form, first_line, table).find(ends);
    found.map_or(0, |range| range.line)
}

/// The lines of one code object, read once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineTable {
    /// Line of [`NOT_BEGUN`].
    first_line: u32,
    /// Instructions below the first number and behind the entry before have the second as line.
    ranges: Vec<(u32, u32)>,
}

impl LineTable {
    /// Reads a table.
    #[must_use]
    pub fn new(form: u8, first_line: u32, table: &[u8]) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for range in Ranges::new(form, first_line, table) {
            let end = u32::try_from(range.end.div_ceil(2)).unwrap_or(u32::MAX);
            match ranges.last_mut() {
                Some(last) if last.1 == range.line || last.0 == end => last.0 = end,
                _ if end == 0 => {}
                _ => ranges.push((end, range.line)),
            }
        }
        let is_known = is_known(form);
        Self {
            first_line: if is_known { as_line(first_line) } else { 0 },
            ranges,
        }
    }

    /// Line of `instruction`, 0 when none is known: as [`line_of`].
    #[must_use]
    pub fn line(&self, instruction: u32) -> u32 {
        if instruction == NOT_BEGUN {
            return self.first_line;
        }
        let place = self.ranges.partition_point(|&(end, _)| end <= instruction);
        self.ranges.get(place).map_or(0, |&(_, line)| line)
    }

    /// The ranges of equal lines, in order: the instruction behind each, and its line.
    #[must_use]
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }
}

fn is_known(form: u8) -> bool {
    matches!(form, FORM_LNOTAB | FORM_LINETABLE | FORM_LOCATIONS)
}

/// A running line as the line of an instruction: only positive ones are lines.
fn as_line(running: u32) -> u32 {
    if running <= i32::MAX as u32 {
        running
    } else {
        0
    }
}

/// Code from the end of the range before up to `end`, in bytes.
struct Range {
    end: u64,
    line: u32,
}

/// Reads a table range by range.
struct Ranges<'a> {
    form: u8,
    rest: &'a [u8],
    /// The running line, modulo 2^32.
    line: u32,
    /// Where the next range starts, in bytes of code.
    start: u64,
}

impl<'a> Ranges<'a> {
    fn new(form: u8, first_line: u32, table: &'a [u8]) -> Self {
        Self {
            form,
            rest: table,
            line: first_line,
            start: 0,
        }
    }

    fn pair(&mut self) -> Option<(u8, i8)> {
        let (&[bytes, lines], rest) = self.rest.split_first_chunk::<2>()?;
        self.rest = rest;
        Some((bytes, lines as i8))
    }

    fn range(&mut self, bytes: u64, line: u32) -> Range {
        self.start = self.start.saturating_add(bytes);
        Range {
            end: self.start,
            line: as_line(line),
        }
    }

    /// The pairs say where a line ends and by how much the next one differs; the last never ends.
    fn lnotab(&mut self) -> Option<Range> {
        if self.start == u64::MAX {
            return None;
        }
        let line = self.line;
        match self.pair() {
            Some((bytes, lines)) => {
                self.line = line.wrapping_add_signed(lines.into());
                Some(self.range(bytes.into(), line))
            }
            None => Some(self.range(u64::MAX, line)),
        }
    }

    fn linetable(&mut self) -> Option<Range> {
        let (bytes, lines) = self.pair()?;
        if lines == i8::MIN {
            return Some(self.range(bytes.into(), 0));
        }
        self.line = self.line.wrapping_add_signed(lines.into());
        Some(self.range(bytes.into(), self.line))
    }

    fn locations(&mut self) -> Option<Range> {
        let is_start = |&byte: &u8| byte & 0x80 != 0;
        let start = self.rest.iter().position(is_start)?;
        let (&head, rest) = self.rest.get(start..)?.split_first()?;
        let length = rest.iter().position(is_start).unwrap_or(rest.len());
        let (content, rest) = rest.split_at(length);
        self.rest = rest;
        let bytes = u64::from(head & 7) * 2 + 2;
        let by = match head >> 3 & 15 {
            15 => return Some(self.range(bytes, 0)),
            13 | 14 => signed(content),
            code @ 10..=12 => i32::from(code) - 10,
            _ => 0,
        };
        self.line = self.line.wrapping_add_signed(by);
        Some(self.range(bytes, self.line))
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        match self.form {
            FORM_LNOTAB => self.lnotab(),
            FORM_LINETABLE => self.linetable(),
            FORM_LOCATIONS => self.locations(),
            _ => None,
        }
    }
}

/// The signed number at the start of `bytes`: six bits a byte, the least significant first; the
/// lowest bit of all is the sign.
fn signed(bytes: &[u8]) -> i32 {
    let mut value = 0u32;
    for (&byte, shift) in bytes.iter().zip((0u32..).step_by(6)) {
        value |= u32::from(byte & 63).checked_shl(shift).unwrap_or(0);
        if byte & 64 == 0 {
            break;
        }
    }
    let magnitude = (value >> 1) as i32;
    if value & 1 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of the first instructions, read in both ways.
    fn lines(form: u8, first_line: u32, table: &[u8], count: u32) -> Vec<u32> {
        let read = LineTable::new(form, first_line, table);
        let line = |instruction| {
            let line = line_of(form, first_line, table, instruction);
            assert_eq!(read.line(instruction), line, "{instruction}");
            line
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn each_form_has_its_lines() {
        assert_eq!(lines(1, 7, &[], 2), [7, 7]);
        let lnotab = [2, 1, 0, 127, 4, 0xff, 0, 0];
        assert_eq!(lines(1, 7, &lnotab, 5), [7, 135, 135, 134, 134]);
        assert_eq!(lines(1, 7, &[4, 1, 9], 4), [7, 7, 8, 8], "half a pair");
        let linetable = [2, 0, 4, 0x80, 2, 0xfe, 0, 3, 2, 1];
        assert_eq!(lines(2, 7, &linetable, 6), [7, 0, 0, 5, 9, 0]);
        let locations = [0x80 | 12 << 3 | 1, 1, 2, 0x80 | 15 << 3, 0x80, 5, 0xe8, 3];
        assert_eq!(lines(3, 7, &locations, 6), [9, 9, 0, 9, 8, 0]);
        for form in [0, 4, 255] {
            assert_eq!(lines(form, 7, &locations, 3), [0; 3]);
            assert_eq!(line_of(form, 7, &[], NOT_BEGUN), 0);
        }
        for form in 1..=3 {
            assert_eq!(line_of(form, 7, &[2, 1], NOT_BEGUN), 7);
            assert_eq!(LineTable::new(form, 7, &[2, 1]).line(NOT_BEGUN), 7);
        }
    }

    #[test]
    fn lines_below_one_are_none_and_sums_wrap() {
        assert_eq!(lines(2, 1, &[2, 0xff, 2, 0xff, 2, 3], 3), [0, 0, 2]);
        assert_eq!(
            lines(2, i32::MAX as u32, &[2, 0, 2, 1], 2),
            [i32::MAX as u32, 0]
        );
        let far = [
            0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x3f, 0xe8, 2,
        ];
        assert_eq!(lines(3, 5, &far, 2), [0, 0]);
        assert_eq!(
            lines(3, 5, &[1, 2, 0xe8, 0x42, 1], 1),
            [38],
            "bytes before the first entry"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_have_the_same_lines_in_both_ways(
            form in 0u8..5, first_line: u32, table: Vec<u8>, instruction: u32, near in 0u32..700
        ) {
            let read = LineTable::new(form, first_line, &table);
            for instruction in [instruction, near, near + 1, NOT_BEGUN, NOT_BEGUN - 1] {
                let line = line_of(form, first_line, &table, instruction);
                prop_assert_eq!(read.line(instruction), line, "{}", instruction);
            }
            let is_sorted = |pair: &[(u32, u32)]| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1;
            prop_assert!(read.ranges().windows(2).all(is_sorted), "{:?}", read.ranges());
        }
    }
}
