//! What a loaded object exports: a name goes in, the address of the function or variable comes
//! out. Read from the object's own tables, so that no lock of the loader's is taken (which a thread
//! that waits for this one may hold).

use super::elf::Headers;
use super::find::Object;
use crate::stack::reader::Section;

const DT_NULL: usize = 0;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;
/// Bytes of one symbol.
const SYMBOL_BYTES: usize = 24;
/// A bucket has no more symbols.
const CHAIN_MAX: usize = 4096;

/// A function or variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// Where it is.
    pub address: usize,
    /// Its length, 0 when the object does not say.
    pub bytes: usize,
}

/// The tables of an object.
#[derive(Debug, Clone, Copy)]
pub struct Exports<'a> {
    object: &'a Object,
    headers: Headers<'a>,
    names: usize,
    symbols: usize,
    hashes: usize,
}

impl<'a> Exports<'a> {
    /// Finds the tables; `None`: the object has none, or none with GNU's hashes.
    #[must_use]
    pub fn of(object: &'a Object, headers: Headers<'a>) -> Option<Self> {
        let mut place = headers.dynamic()?;
        let section = headers.section_around(place)?;
        let [mut names, mut symbols, mut hashes] = [0; 3];
        loop {
            let (tag, value) = (word(&section, place)?, word(&section, place + 8)?);
            match tag {
                DT_NULL => break,
                DT_STRTAB => names = value,
                DT_SYMTAB => symbols = value,
                DT_GNU_HASH => hashes = value,
                _ => {}
            }
            place += 16;
        }
        // The loader has made addresses of them, or not (a table that cannot be written).
        let [names, symbols, hashes] = [names, symbols, hashes].map(|value| {
            if value < object.start {
                object.bias.wrapping_add(value)
            } else {
                value
            }
        });
        Some(Self {
            object,
            headers,
            names,
            symbols,
            hashes,
        })
    }

    /// What the object exports under this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Export> {
        let section = self.headers.section_around(self.hashes)?;
        let at = |index: usize| half(&section, self.hashes + index * 4);
        let (buckets, first) = (at(0)? as usize, at(1)? as usize);
        let (filters, shift) = (at(2)? as usize, at(3)?);
        let hash = hash_of(name);
        if buckets == 0 || filters == 0 {
            return None;
        }
        let filter = word(
            &section,
            self.hashes + 16 + (hash as usize / 64 % filters) * 8,
        )?;
        let second = hash.checked_shr(shift)? % 64;
        if filter >> (hash % 64) & filter >> second & 1 == 0 {
            return None;
        }
        let bucket_table = 4 + filters * 2;
        let start = at(bucket_table + hash as usize % buckets)? as usize;
        let chains = bucket_table + buckets;
        for index in (start..).take(CHAIN_MAX) {
            let chained = at(chains + index.checked_sub(first)?)?;
            if (chained ^ hash) >> 1 == 0
                && let Some(export) = self.symbol(index, name)
            {
                return Some(export);
            }
            if chained & 1 != 0 {
                return None;
            }
        }
        None
    }

    /// The symbol with this number, when it has this name and is defined here.
    fn symbol(&self, index: usize, name: &[u8]) -> Option<Export> {
        let place = self.symbols.checked_add(index.checked_mul(SYMBOL_BYTES)?)?;
        let section = self.headers.section_around(place)?;
        let first = word(&section, place)?;
        let (offset, place_in) = (first as u32 as usize, first >> 48);
        let (value, bytes) = (word(&section, place + 8)?, word(&section, place + 16)?);
        let start = self.names.checked_add(offset)?;
        let names = self.headers.section_around(start)?;
        let known = names.reader_at(start)?.take(name.len() + 1)?;
        let is_it = known.strip_suffix(&[0]) == Some(name);
        (is_it && place_in != 0).then_some(Export {
            address: self.object.bias.wrapping_add(value),
            bytes,
        })
    }
}

fn word(section: &Section<'_>, address: usize) -> Option<usize> {
    Some(section.reader_at(address)?.u64()? as usize)
}

fn half(section: &Section<'_>, address: usize) -> Option<u32> {
    section.reader_at(address)?.u32()
}

/// GNU's hash of a name: Bernstein's.
fn hash_of(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::find;

    fn c_library() -> Object {
        find::start();
        find::object_of(libc::getenv as *const () as usize).expect("the C library")
    }

    #[test]
    fn the_c_library_exports_what_the_loader_finds() {
        let object = c_library();
        let headers = Headers::of(&object).expect("headers");
        let exports = Exports::of(&object, headers).expect("tables");
        for name in [c"getenv", c"environ", c"calloc", c"setlocale"] {
            // SAFETY: a name that ends with zero.
            let known = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
            let found = exports.find(name.to_bytes()).expect("exported");
            // What the program's own file has a copy of, or a hook for, is found there.
            if object.start <= known && known < object.end {
                assert_eq!(found.address, known, "{name:?}");
            }
            assert!((object.start..object.end).contains(&found.address));
        }
        assert_eq!(exports.find(b"PyMem_SetAllocator"), None);
        assert_eq!(exports.find(b""), None);
    }
}
