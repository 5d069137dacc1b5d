//! Code objects: the address of a live one goes in, its number in the recording comes out.
//!
//! Numbers belong to contents (file, name, lines), not to objects: an `eval` in a loop makes a
//! thousand objects and one number. A thread remembers the objects that it has met by address;
//! that an object died, and its address may be another's, is seen because the interpreter's own
//! function for it is replaced by ours: it counts the deaths of each address (of all that share a
//! place in a table of 4096), and whoever remembers an object remembers that count too.
//!
//! Contents are told apart by 64 bits of a hash, in a table that only grows: no lock, and nothing
//! is ever moved. A forked child begins with an empty one, because its tape does.

use super::layout::{Layout, load};
use super::texts::{self, Text};
use crate::arena;
use core::ffi::c_void;
use core::ptr::NonNull;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

const GENERATIONS: usize = 4096;
static DEATHS_AT: [AtomicU32; GENERATIONS] = [const { AtomicU32::new(0) }; GENERATIONS];
static DEATHS: AtomicU64 = AtomicU64::new(0);
/// The interpreter's own function that ends a code object.
static DEALLOC: AtomicU64 = AtomicU64::new(0);

/// Deaths of code objects so far.
#[inline(always)]
#[must_use]
pub fn deaths() -> u64 {
    // Relaxed: an object that a frame of this thread had dies in this thread, or after another one
    // took the interpreter's lock from it.
    DEATHS.load(Ordering::Relaxed)
}

/// Deaths of code objects at this address, or at one that shares its place.
#[inline(always)]
#[must_use]
pub fn deaths_at(code: usize) -> u32 {
    place_of(code).load(Ordering::Relaxed)
}

#[inline(always)]
fn place_of(code: usize) -> &'static AtomicU32 {
    // Objects begin at multiples of 16, most of them far apart.
    let place = (code >> 5).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    // 12 bits: below the length, so this is never the first by mistake.
    DEATHS_AT.get(place).unwrap_or(&DEATHS_AT[0])
}

unsafe extern "C" fn dealloc(code: *mut c_void) {
    place_of(code as usize).fetch_add(1, Ordering::Relaxed);
    DEATHS.fetch_add(1, Ordering::Release);
    let real = DEALLOC.load(Ordering::Relaxed) as usize;
    // SAFETY: stored by `watch`, and of this type.
    let real: unsafe extern "C" fn(*mut c_void) = unsafe { core::mem::transmute(real) };
    // SAFETY: the interpreter's own call.
    unsafe { real(code) }
}

/// Sees from now on that code objects die. `field` is the place of the function that ends them, in
/// their type.
///
/// # Safety
/// It is that, and can be written.
pub unsafe fn watch(field: usize) {
    // SAFETY: as for this function.
    let real = unsafe { load(field) };
    if real == 0 || real == dealloc as *const () as usize {
        return;
    }
    DEALLOC.store(real as u64, Ordering::Relaxed);
    // SAFETY: as for this function; whoever reads the field gets one of both functions.
    unsafe { (*(field as *const AtomicU64)).store(dealloc as *const () as u64, Ordering::Release) };
}

/// Entries of the first table; each one after it is twice as large.
const FIRST_ENTRIES: usize = 2048;
const TABLES: usize = 14;
/// So many places are looked at in one table.
const STEPS_MAX: usize = 32;

/// What is known of one content.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    /// 0: free.
    hash: AtomicU64,
    /// Not 0: the content was sent.
    is_sent: AtomicU32,
    unused: AtomicU32,
}

static CONTENTS: [AtomicU64; TABLES] = [const { AtomicU64::new(0) }; TABLES];

/// A number for a content, and whether nobody has sent it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// From 1.
    pub number: u32,
    /// Where it is noted that the content was sent; `None`: it was.
    unsent: Option<NonNull<Entry>>,
}

impl Numbered {
    /// True when the content must be sent before the number is used.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.unsent.is_some()
    }

    /// The content was sent.
    pub fn sent(&self) {
        if let Some(entry) = self.unsent {
            // SAFETY: an entry of a table, which stays mapped.
            let entry = unsafe { entry.as_ref() };
            // Release: the record stands in the ring before.
            entry.is_sent.store(1, Ordering::Release);
        }
    }
}

/// The number of a content; `None`: there is no memory, or too many are there.
#[must_use]
pub fn number_of(hash: u64) -> Option<Numbered> {
    let hash = hash.max(1);
    let mut first = 0;
    for (level, place) in CONTENTS.iter().enumerate() {
        let entries = FIRST_ENTRIES << level;
        let table = table_at(place, entries)?;
        for step in 0..STEPS_MAX {
            let index = (hash as usize).wrapping_add(step) & (entries - 1);
            // SAFETY: below the table's length.
            let entry = unsafe { table.add(index) };
            // SAFETY: an entry of a table, which stays mapped; all its fields are atomic.
            let found = unsafe { entry.as_ref() };
            let known = match found.hash.load(Ordering::Acquire) {
                0 => found
                    .hash
                    .compare_exchange(0, hash, Ordering::AcqRel, Ordering::Acquire)
                    .unwrap_or_else(|other| other),
                known => known,
            };
            if known == hash || known == 0 {
                let is_sent = found.is_sent.load(Ordering::Acquire) != 0;
                return Some(Numbered {
                    number: (first + index + 1) as u32,
                    unsent: (!is_sent).then_some(entry),
                });
            }
        }
        first += entries;
    }
    None
}

fn table_at(place: &AtomicU64, entries: usize) -> Option<NonNull<Entry>> {
    let known = place.load(Ordering::Acquire);
    if known != 0 {
        return NonNull::new(known as *mut Entry);
    }
    let bytes = entries * size_of::<Entry>();
    let memory = arena::map(bytes)?;
    let new = memory.as_ptr() as u64;
    match place.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(memory.cast()),
        Err(known) => {
            // SAFETY: mapped just now, and nobody else has it.
            unsafe { arena::unmap(memory, bytes) };
            NonNull::new(known as *mut Entry)
        }
    }
}

/// Forgets all contents: for a forked child, whose only thread is this one.
pub fn forget() {
    for (level, place) in CONTENTS.iter().enumerate() {
        let table = place.swap(0, Ordering::Relaxed);
        if let Some(table) = NonNull::new(table as *mut u8) {
            let bytes = (FIRST_ENTRIES << level) * size_of::<Entry>();
            // SAFETY: mapped by `table_at` with this length; the child has no other thread.
            unsafe { arena::unmap(table, bytes) };
        }
    }
}

/// A code object's content, in the interpreter's memory.
#[derive(Debug)]
pub struct Content<'a> {
    file: Text,
    name: Text,
    lines: &'a [u8],
    first_line: u32,
    form: u8,
}

impl Content<'_> {
    /// That of the code object at `code`.
    ///
    /// # Safety
    /// It is one, alive for as long as the result is used, and the layout is right.
    #[must_use]
    pub unsafe fn of(code: usize, layout: &Layout) -> Self {
        let field = |offset: usize| {
            // SAFETY: a field of the object.
            unsafe { load(code + offset) }
        };
        Self {
            // SAFETY: the field holds a text.
            file: unsafe { Text::at(field(layout.code_file), layout) },
            // SAFETY: as before.
            name: unsafe { Text::at(field(layout.code_name), layout) },
            // SAFETY: the field holds bytes.
            lines: unsafe { texts::bytes_at(field(layout.code_lines)) },
            first_line: field(layout.code_first_line) as u32,
            form: layout.line_form,
        }
    }

    /// Tells contents apart.
    ///
    /// # Safety
    /// The object is alive.
    #[must_use]
    pub unsafe fn hash(&self) -> u64 {
        // SAFETY: as for this function.
        let file = unsafe { self.file.stored() };
        // SAFETY: as before.
        let name = unsafe { self.name.stored() };
        let widths = (self.file.width() << 8 | self.name.width()) as u64;
        let form = widths << 8 | u64::from(self.form);
        let seed = mix(u64::from(self.first_line), form);
        [file, name, self.lines].into_iter().fold(seed, hash_bytes)
    }

    /// Writes the content as the session's blob has it, and returns how many bytes it takes; what
    /// finds no room is counted only.
    ///
    /// # Safety
    /// The object is alive.
    pub unsafe fn write(&self, out: &mut [u8]) -> usize {
        let mut at = put(out, 0, &[self.form]);
        at = put(out, at, &self.first_line.to_le_bytes());
        for text in [&self.file, &self.name] {
            // SAFETY: as for this function.
            let length = unsafe { text.write(&mut []) };
            at = put(out, at, &(length as u32).to_le_bytes());
            let rest = out.get_mut(at..).unwrap_or_default();
            // SAFETY: as before.
            at += unsafe { text.write(rest) };
        }
        put(out, at, self.lines)
    }
}

/// Writes bytes at a place, if there is room; where the next ones go.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let end = at + bytes.len();
    let place = out.get_mut(at..end).unwrap_or_default();
    for (to, from) in place.iter_mut().zip(bytes) {
        *to = *from;
    }
    end
}

/// Mixes two words into one: the two halves of their product.
#[inline]
fn mix(one: u64, other: u64) -> u64 {
    // Digits of the golden ratio and of pi.
    let factor = u128::from(other ^ 0x2438_6a88_85a3_08d3);
    let product = u128::from(one ^ 0x9e37_79b9_7f4a_7c15) * factor;
    product as u64 ^ (product >> 64) as u64
}

fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = mix(seed, bytes.len() as u64);
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let rest = rest.iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
    mix(hash, rest)
}

/// Code objects that a thread remembers.
const REMEMBERED: usize = 1024;

/// One of them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Remembered {
    code: usize,
    number: u32,
    deaths: u32,
}

/// The code objects that a thread has met, by address. All-zero bytes are valid and empty.
#[derive(Debug)]
pub struct Met {
    places: [Remembered; REMEMBERED],
}

impl Met {
    /// Forgets all.
    pub fn forget(&mut self) {
        self.places.fill(Remembered::default());
    }

    /// The number of a code object that was met.
    #[inline(always)]
    #[must_use]
    pub fn number_of(&self, code: usize) -> Option<u32> {
        let met = self.places.get(Self::place_of(code))?;
        (met.code == code && met.deaths == deaths_at(code)).then_some(met.number)
    }

    /// Remembers one.
    pub fn keep(&mut self, code: usize, number: u32) {
        if let Some(place) = self.places.get_mut(Self::place_of(code)) {
            *place = Remembered {
                code,
                number,
                deaths: deaths_at(code),
            };
        }
    }

    #[inline(always)]
    fn place_of(code: usize) -> usize {
        (code >> 5).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_keep_their_numbers() {
        let mut hash = 1u64;
        let hashes: Vec<u64> = (0..20_000)
            .map(|_| {
                hash = mix(hash, 7);
                hash
            })
            .collect();
        let numbers: Vec<Numbered> = hashes.iter().filter_map(|&hash| number_of(hash)).collect();
        assert_eq!(numbers.len(), hashes.len());
        let mut distinct: Vec<u32> = numbers.iter().map(|numbered| numbered.number).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), hashes.len());
        for (hash, numbered) in hashes.iter().zip(&numbers) {
            assert!(numbered.is_new());
            assert_eq!(number_of(*hash), Some(*numbered));
            numbered.sent();
            let again = number_of(*hash).expect("known");
            assert_eq!((again.number, again.is_new()), (numbered.number, false));
        }
    }

    #[test]
    fn bytes_are_told_apart() {
        let texts: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0", b"12345678", b"123456789"];
        let mut hashes = texts.map(|text| hash_bytes(1, text));
        hashes.sort_unstable();
        assert!(hashes.is_sorted_by(|one, other| one < other));
    }
}
