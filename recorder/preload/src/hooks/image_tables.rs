//! The tables of an ELF file that tell what the dynamic loader will do with it.
//!
//! An open file goes in, numbers of its tables come out. Whatever is out of bounds is not there.

use super::image_file::File;

const PROGRAM_HEADERS_MAX: u64 = 128;
const PROGRAM_HEADER_BYTES: u64 = 56;
const DYNAMIC_ENTRIES_MAX: u64 = 4096;
const DYNAMIC_ENTRY_BYTES: u64 = 16;

const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_INTERP: u32 = 3;
pub(super) const DT_NEEDED: u64 = 1;
pub(super) const DT_STRTAB: u64 = 5;
pub(super) const DT_STRSZ: u64 = 10;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The table of an image's parts.
pub(super) struct ProgramHeaders<'a> {
    file: &'a File,
    table: u64,
    count: u64,
}

/// The part of a program header that matters here.
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) offset: u64,
    address: u64,
    pub(super) bytes: u64,
    pub(super) alignment: u64,
}

impl<'a> ProgramHeaders<'a> {
    /// The table of the file that begins with `start`.
    pub(super) fn of(file: &'a File, start: &[u8]) -> Option<Self> {
        let table = u64_at(start, 32)?;
        let count = u64::from(u16_at(start, 56)?).min(PROGRAM_HEADERS_MAX);
        Some(Self { file, table, count })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Segment> + '_ {
        (0..self.count).filter_map(|index| {
            let mut bytes = [0; PROGRAM_HEADER_BYTES as usize];
            let offset = self.table.checked_add(index * PROGRAM_HEADER_BYTES)?;
            let bytes = self.file.read(&mut bytes, offset);
            Some(Segment {
                kind: u32_at(bytes, 0)?,
                offset: u64_at(bytes, 8)?,
                address: u64_at(bytes, 16)?,
                bytes: u64_at(bytes, 32)?,
                alignment: u64_at(bytes, 48)?,
            })
        })
    }

    pub(super) fn find(&self, kind: u32) -> Option<Segment> {
        self.iter().find(|segment| segment.kind == kind)
    }

    /// Where in the file the byte at `address` is.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let holds = |segment: &Segment| {
            segment.kind == PT_LOAD
                && address
                    .checked_sub(segment.address)
                    .is_some_and(|into| into < segment.bytes)
        };
        let segment = self.iter().find(holds)?;
        (address - segment.address).checked_add(segment.offset)
    }
}

/// Entries of the dynamic section.
pub(super) fn dynamic_entries<'a>(
    file: &'a File,
    dynamic: &Segment,
) -> impl Iterator<Item = (u64, u64)> + use<'a> {
    let count = (dynamic.bytes / DYNAMIC_ENTRY_BYTES).min(DYNAMIC_ENTRIES_MAX);
    let start = dynamic.offset;
    (0..count)
        .map_while(move |index| {
            let mut bytes = [0; DYNAMIC_ENTRY_BYTES as usize];
            let bytes = file.read(&mut bytes, start.checked_add(index * DYNAMIC_ENTRY_BYTES)?);
            Some((u64_at(bytes, 0)?, u64_at(bytes, 8)?))
        })
        .take_while(|(tag, _)| *tag != 0)
}

/// The bytes before the first zero.
pub(super) fn text_of(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
