//! Reads a loaded object's own headers where the loader mapped them: an address range goes in,
//! segments, unwind header and build-id come out. Only segments that the headers call readable are
//! read, and every length is checked against the object's range.

use super::find::Object;
use crate::stack::reader::{Reader, Section};
use crate::syscall::{PAGE_BYTES, is_readable};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_R: u32 = 4;
/// Bytes of one program header.
const HEADER_BYTES: usize = 56;
/// Longest build-id that is believed; linkers write 8 to 32 bytes.
const BUILD_ID_BYTES_MAX: usize = 64;

/// What a program header describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    address: usize,
    file_bytes: usize,
    memory_bytes: usize,
}

impl Segment {
    /// Start and end of the pages that it covers.
    fn pages(self) -> (usize, usize) {
        let end = self.address.saturating_add(self.memory_bytes);
        let end = end.checked_next_multiple_of(PAGE_BYTES);
        (self.address & !(PAGE_BYTES - 1), end.unwrap_or(usize::MAX))
    }
}

/// The program headers of a loaded object.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    object: &'a Object,
    table: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Finds the program headers: where the loader said, or through the ELF header at the start
    /// of the mapping.
    #[must_use]
    pub fn of(object: &'a Object) -> Option<Self> {
        let table = match object.headers {
            Some((address, count)) => {
                // SAFETY: the loader itself named this table of the loaded object.
                unsafe { mapped(address, count.checked_mul(HEADER_BYTES)?) }
            }
            None => table_at_start(object)?,
        };
        Some(Self { object, table })
    }

    fn segments(&self) -> impl Iterator<Item = Segment> + use<'a> {
        let bias = self.object.bias;
        let (rows, _) = self.table.as_chunks::<HEADER_BYTES>();
        rows.iter().filter_map(move |row| {
            let mut reader = Reader::new(row);
            let kind = reader.u32()?;
            let flags = reader.u32()?;
            reader.skip(8)?;
            let address = bias.wrapping_add(reader.u64()? as usize);
            reader.skip(8)?;
            let file_bytes = reader.u64()? as usize;
            let memory_bytes = reader.u64()? as usize;
            Some(Segment {
                kind,
                flags,
                address,
                file_bytes,
                memory_bytes,
            })
        })
    }

    /// The readable, file-backed bytes of the loaded segment around `address`.
    #[must_use]
    pub fn section_around(&self, address: usize) -> Option<Section<'a>> {
        let segment = self.segments().find(|segment| {
            segment.kind == PT_LOAD
                && segment.flags & PF_R != 0
                && address.wrapping_sub(segment.address) < segment.file_bytes
        })?;
        let end = segment.address.checked_add(segment.file_bytes)?;
        if segment.address < self.object.start || end > self.object.end {
            return None;
        }
        // SAFETY: the object is loaded (a frame of it lives) and its headers call this segment
        // readable; it lies within the range that the loader gave for the object.
        let bytes = unsafe { mapped(segment.address, segment.file_bytes) };
        Some(Section {
            bytes,
            address: segment.address,
        })
    }

    /// The pages that the loaded segments cover, from the first to the last.
    #[must_use]
    pub fn range(&self) -> Option<(usize, usize)> {
        let loaded = self.segments().filter(|segment| segment.kind == PT_LOAD);
        loaded.fold(None, |range: Option<(usize, usize)>, segment| {
            let start = segment.address & !(PAGE_BYTES - 1);
            let end = segment.address.wrapping_add(segment.memory_bytes);
            let (low, high) = range.unwrap_or((start, end));
            Some((low.min(start), high.max(end)))
        })
    }

    /// The pages of the loaded segments, those without a hole between them as one: start and end.
    pub fn stretches(&self) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let loaded = self.segments().filter(|segment| segment.kind == PT_LOAD);
        let mut pages = loaded.map(Segment::pages).peekable();
        core::iter::from_fn(move || {
            let (start, mut end) = pages.next()?;
            while let Some((_, next_end)) = pages.next_if(|(next, _)| (start..=end).contains(next))
            {
                end = end.max(next_end);
            }
            Some((start, end))
        })
    }

    /// True when `address` lies in the pages of a loaded segment.
    #[must_use]
    pub fn holds(&self, address: usize) -> bool {
        self.stretches()
            .any(|(start, end)| (start..end).contains(&address))
    }

    /// True when the object names a loader that is to load it.
    #[must_use]
    pub fn has_interpreter(&self) -> bool {
        self.segments().any(|segment| segment.kind == PT_INTERP)
    }

    /// Address of what the loader needs to know of the object.
    #[must_use]
    pub fn dynamic(&self) -> Option<usize> {
        self.segments()
            .find(|segment| segment.kind == PT_DYNAMIC)
            .map(|segment| segment.address)
    }

    /// Address of `.eh_frame_hdr` by its program header.
    #[must_use]
    pub fn unwind_header(&self) -> Option<usize> {
        self.segments()
            .find(|segment| segment.kind == PT_GNU_EH_FRAME)
            .map(|segment| segment.address)
    }

    /// The bytes of the table itself: they tell one object from another.
    #[must_use]
    pub fn table(&self) -> &'a [u8] {
        self.table
    }

    /// The build-id that the linker left in a note.
    #[must_use]
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.segments()
            .filter(|segment| segment.kind == PT_NOTE)
            .find_map(|segment| {
                let section = self.section_around(segment.address)?;
                let notes = section.reader_at(segment.address)?;
                build_id_in(notes.first(segment.file_bytes)?)
            })
    }
}

/// Walks notes up to a GNU build-id.
fn build_id_in(mut notes: Reader<'_>) -> Option<&[u8]> {
    const BUILD_ID: u32 = 3;
    loop {
        let name_bytes = notes.u32()? as usize;
        let value_bytes = notes.u32()? as usize;
        let kind = notes.u32()?;
        let name = notes.take(name_bytes)?;
        notes.skip(name_bytes.wrapping_neg() & 3)?;
        let value = notes.take(value_bytes)?;
        if kind == BUILD_ID && name == b"GNU\0" {
            return (1..=BUILD_ID_BYTES_MAX)
                .contains(&value_bytes)
                .then_some(value);
        }
        notes.skip(value_bytes.wrapping_neg() & 3)?;
    }
}

fn table_at_start(object: &Object) -> Option<&[u8]> {
    let bytes = PAGE_BYTES.min(object.end.checked_sub(object.start)?);
    // SAFETY: the first page of a loaded object is mapped, and linkers make it readable.
    let page = unsafe { mapped(object.start, bytes) };
    let (offset, bytes) = headers_in(page)?;
    match page.get(offset..).and_then(|rest| rest.get(..bytes)) {
        Some(table) => Some(table),
        None => table_elsewhere(object, offset, bytes),
    }
}

/// The table of an object that was rewritten after it was linked, as optimisers do: the old place
/// was too small, and the new one is in a segment of its own. Believed only if the table itself
/// says that it lies there.
fn table_elsewhere(object: &Object, offset: usize, bytes: usize) -> Option<&[u8]> {
    let address = object.bias.checked_add(offset)?;
    let last = address.checked_add(bytes)?.checked_sub(1)?;
    if address < object.start || last >= object.end {
        return None;
    }
    let pages = [address, last].map(|place| place & !(PAGE_BYTES - 1));
    if !pages.into_iter().all(is_readable) {
        return None;
    }
    // SAFETY: at most a page long, so it lies in the two pages that were found readable.
    let table = unsafe { mapped(address, bytes) };
    let headers = Headers { object, table };
    let says_so = |segment: Segment| segment.kind == PT_PHDR && segment.address == address;
    headers.segments().any(says_so).then_some(table)
}

/// Offset and bytes of the program headers of a 64-bit little-endian ELF file that begins with
/// `page`. They are less than a page.
fn headers_in(page: &[u8]) -> Option<(usize, usize)> {
    let mut reader = Reader::new(page);
    if reader.take(6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    reader.jump(26)?;
    let offset = usize::try_from(reader.u64()?).ok()?;
    reader.jump(14)?;
    let entry_bytes = usize::from(reader.u16()?);
    let bytes = usize::from(reader.u16()?) * HEADER_BYTES;
    let is_sound = entry_bytes == HEADER_BYTES && bytes > 0 && bytes < PAGE_BYTES;
    is_sound.then_some((offset, bytes))
}

/// # Safety
/// `bytes` bytes at `address` must be mapped readable for as long as the result is used.
unsafe fn mapped<'a>(address: usize, bytes: usize) -> &'a [u8] {
    let pointer = core::ptr::with_exposed_provenance(address);
    // SAFETY: by the caller's contract; nobody writes to the headers of a loaded object.
    unsafe { core::slice::from_raw_parts(pointer, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_note_before_the_build_id_is_passed() {
        let mut notes = Vec::new();
        for (name, kind, value) in [
            (&b"GNU\0"[..], 5u32, &[1u8; 3][..]),
            (b"GNU\0", 3, &[9; 20]),
        ] {
            notes.extend((name.len() as u32).to_le_bytes());
            notes.extend((value.len() as u32).to_le_bytes());
            notes.extend(kind.to_le_bytes());
            notes.extend(name);
            notes.extend(value);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id_in(Reader::new(&notes)), Some(&[9u8; 20][..]));
        assert_eq!(build_id_in(Reader::new(&notes[..notes.len() - 1])), None);
    }

    /// An object of two pages in memory; the table may lie in the second.
    fn object_with_table_at(offset: usize, says: usize) -> Object {
        let memory = crate::arena::map(2 * PAGE_BYTES).expect("memory");
        let start = memory.as_ptr() as usize;
        // SAFETY: both pages are ours.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), 2 * PAGE_BYTES) };
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&(offset as u64).to_le_bytes());
        bytes[54..58].copy_from_slice(&[56, 0, 2, 0]);
        bytes[offset..offset + 4].copy_from_slice(&PT_PHDR.to_le_bytes());
        bytes[offset + 16..offset + 24].copy_from_slice(&(says as u64).to_le_bytes());
        Object {
            start,
            end: start + 2 * PAGE_BYTES,
            bias: start,
            identity: 0,
            name: 0,
            unwind_header: 0,
            headers: None,
        }
    }

    #[test]
    fn a_table_that_was_moved_must_say_so() {
        let moved = object_with_table_at(PAGE_BYTES + 8, PAGE_BYTES + 8);
        assert_eq!(
            Headers::of(&moved).map(|headers| headers.table().len()),
            Some(112)
        );
        assert!(Headers::of(&object_with_table_at(PAGE_BYTES + 8, 64)).is_none());
        assert!(Headers::of(&object_with_table_at(64, 0)).is_some());
        let mut short = object_with_table_at(PAGE_BYTES + 8, PAGE_BYTES + 8);
        short.end = short.start + PAGE_BYTES + 100;
        assert!(Headers::of(&short).is_none());
    }

    #[test]
    fn pages_without_holes_between_them_are_one_stretch() {
        let mut table = Vec::new();
        for (kind, address, bytes) in [
            (PT_LOAD, 0x1000u64, 0x800u64),
            (PT_LOAD, 0x2010, 0x1000),
            (PT_NOTE, 0x5000, 0x1000),
            (PT_LOAD, 0x8ff8, 0x10),
            (PT_LOAD, 0x8000, 0x10),
            (PT_LOAD, u64::MAX - 8, 0x10),
        ] {
            let words = [0, address, 0, bytes, bytes, 0];
            table.extend(u64::from(kind).to_le_bytes());
            table.extend(words.into_iter().flat_map(u64::to_le_bytes));
        }
        let object = Object {
            start: 0,
            end: usize::MAX,
            bias: 0,
            identity: 0,
            name: 0,
            unwind_header: 0,
            headers: Some((table.as_ptr().expose_provenance(), 6)),
        };
        let stretches: Vec<_> = Headers::of(&object).expect("headers").stretches().collect();
        let last = (usize::MAX - 0xfff, usize::MAX);
        assert_eq!(stretches, [(0x1000, 0x4000), (0x8000, 0xa000), last]);
        for (address, is_held) in [(0xfff, false), (0x1000, true), (0x3fff, true)] {
            assert_eq!(object.holds(address), is_held);
        }
        assert!(!object.holds(0x5000) && !object.holds(0xa000));
    }

    proptest! {
        #[test]
        fn headers_are_less_than_a_page(
            page in proptest::collection::vec(any::<u8>(), 0..256), offset in 0u64..300
        ) {
            let mut page = page;
            let magic = b"\x7fELF\x02\x01";
            for (to, from) in page.iter_mut().zip(magic) {
                *to = *from;
            }
            if let Some(field) = page.get_mut(32..40) {
                field.copy_from_slice(&offset.to_le_bytes());
            }
            if let Some(field) = page.get_mut(54..58) {
                field.copy_from_slice(&[56, 0, field[2] & 3, 0]);
            }
            if let Some((found, bytes)) = headers_in(&page) {
                prop_assert_eq!(found as u64, offset);
                prop_assert_eq!(bytes % HEADER_BYTES, 0);
                prop_assert!((1..PAGE_BYTES).contains(&bytes));
            }
        }
    }
}
