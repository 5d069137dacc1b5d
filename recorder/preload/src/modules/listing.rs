//! Our own list of the loaded objects, for C libraries without `_dl_find_object`: the loader's
//! enumeration goes in, lookups by program counter come out.
//!
//! Two tables take turns. A writer fills the one that is not current and then turns the version;
//! a reader takes the current one and reads again if the version turned meanwhile. So a lookup
//! takes no lock, and a signal handler that interrupts the writer still finds a whole table.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use super::elf::Headers;
use super::find::{self, Object};

/// Rows of a list, one for each stretch of an object without a hole; code of further ones counts
/// as unknown.
const ROWS_MAX: usize = 2048;
/// Words of a row: start and end of the stretch; then the object's start, end, bias, name, unwind
/// header, headers, their count.
const WORDS: usize = 9;
/// How often a reader tries while writers overtake it.
const READ_TRIES: usize = 8;

struct Page {
    count: AtomicUsize,
    words: [[AtomicUsize; WORDS]; ROWS_MAX],
}

/// The list. All stores to a table are Relaxed: `version` orders them.
pub struct Listing {
    /// The current table is `version & 1`. Release by the writer after it filled the other table,
    /// Acquire by readers before they read it.
    version: AtomicUsize,
    pages: [Page; 2],
    /// True while a thread lists. Acquire when taken, Release when given back: hands the tables
    /// from writer to writer.
    is_busy: AtomicBool,
    /// Set by a writer that found another one busy: that one must list again.
    is_stale: AtomicBool,
}

/// The list of this process.
pub static LISTING: Listing = Listing::new();

impl core::fmt::Debug for Listing {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Listing")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Listing {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            pages: [const { Page::new() }; 2],
            is_busy: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
        }
    }

    /// Lists all objects anew. Enters the loader, which takes its lock.
    pub fn refresh(&self) {
        self.is_stale.store(true, Ordering::SeqCst);
        // SeqCst on both words: either the busy thread sees the list stale after it is done, or
        // we see that it is not busy.
        while self.is_stale.load(Ordering::SeqCst) && !self.is_busy.swap(true, Ordering::SeqCst) {
            self.is_stale.store(false, Ordering::SeqCst);
            self.list();
            self.is_busy.store(false, Ordering::SeqCst);
        }
    }

    fn list(&self) {
        let version = self.version.load(Ordering::Relaxed);
        let [even, odd] = &self.pages;
        let page = if version & 1 == 0 { odd } else { even };
        page.count.store(0, Ordering::Relaxed);
        let data: *const Page = page;
        // SAFETY: the callback gets the table that only this thread writes now.
        unsafe { libc::dl_iterate_phdr(Some(add), data.cast_mut().cast()) };
        // Release: pairs with the Acquire of `object_of`.
        self.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    /// The listed object that holds `pc`.
    #[must_use]
    pub fn object_of(&self, pc: usize) -> Option<Object> {
        for _ in 0..READ_TRIES {
            // Acquire: pairs with the Release of `list`.
            let version = self.version.load(Ordering::Acquire);
            let [even, odd] = &self.pages;
            let page = if version & 1 == 0 { even } else { odd };
            let found = page.object_of(pc);
            // The loads above come before this one.
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return found;
            }
        }
        None
    }
}

impl Default for Listing {
    fn default() -> Self {
        Self::new()
    }
}

impl Page {
    const fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            words: [const { [const { AtomicUsize::new(0) }; WORDS] }; ROWS_MAX],
        }
    }

    fn object_of(&self, pc: usize) -> Option<Object> {
        let count = self.count.load(Ordering::Relaxed);
        let rows = self.words.get(..count)?;
        let row = rows.iter().find(|row| {
            let [start, end, ..] = row;
            let start = start.load(Ordering::Relaxed);
            pc.wrapping_sub(start) < end.load(Ordering::Relaxed).wrapping_sub(start)
        })?;
        let [
            _,
            _,
            start,
            end,
            bias,
            name,
            unwind_header,
            headers,
            header_count,
        ] = row;
        let headers = headers.load(Ordering::Relaxed);
        Some(Object {
            start: start.load(Ordering::Relaxed),
            end: end.load(Ordering::Relaxed),
            bias: bias.load(Ordering::Relaxed),
            identity: 0,
            name: name.load(Ordering::Relaxed),
            unwind_header: unwind_header.load(Ordering::Relaxed),
            headers: Some((headers, header_count.load(Ordering::Relaxed))),
        })
    }
}

/// Adds the rows of one object to the table at `data`.
unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `list` passes a table that lives in a static.
    let page = unsafe { &*data.cast::<Page>() };
    // SAFETY: the loader passes a filled structure.
    let info = unsafe { &*info };
    let object = find::described_by(info);
    let Some(headers) = Headers::of(&object) else {
        return 0;
    };
    let Some((start, end)) = headers.range() else {
        return 0;
    };
    let described = [
        start,
        end,
        object.bias,
        object.name,
        headers.unwind_header().unwrap_or(0),
        info.dlpi_phdr as usize,
        usize::from(info.dlpi_phnum),
    ];
    for (low, high) in headers.stretches() {
        let count = page.count.load(Ordering::Relaxed);
        let Some(row) = page.words.get(count) else {
            return 1;
        };
        let words = [low, high].into_iter().chain(described);
        for (slot, word) in row.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        page.count.store(count + 1, Ordering::Relaxed);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    static TESTED: Listing = Listing::new();

    /// The list and the loader's own lookup agree on code of every kind of object.
    #[test]
    fn agrees_with_the_loader() {
        find::start();
        TESTED.refresh();
        // SAFETY: only looks up an address in the auxiliary vector.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
        let places = [
            agrees_with_the_loader as *const () as usize,
            libc::malloc as *const () as usize,
            libc::dl_iterate_phdr as *const () as usize,
            vdso + 0x100,
        ];
        for pc in places {
            let ours = TESTED.object_of(pc).expect("listed");
            let theirs = find::object_of(pc).expect("found");
            assert_eq!(
                (ours.start, ours.end),
                (theirs.start, theirs.end),
                "{pc:#x}"
            );
            assert_eq!(
                (ours.bias, ours.unwind_header),
                (theirs.bias, theirs.unwind_header)
            );
            let (ours, theirs) = (Headers::of(&ours), Headers::of(&theirs));
            let (ours, theirs) = (ours.expect("headers"), theirs.expect("headers"));
            assert_eq!(ours.table(), theirs.table());
            assert_eq!(ours.build_id(), theirs.build_id());
        }
        assert_eq!(TESTED.object_of(16), None);
        let local = 0;
        assert_eq!(TESTED.object_of(&raw const local as usize), None);
    }
}
