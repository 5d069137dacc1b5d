//! Objects whose load segments have holes between them, of which the loader's lookup names one
//! segment at a time: a segment's object goes in, the whole object comes out.
//!
//! glibc looks up so the program itself, where the kernel mapped it with holes, and the dynamic
//! linker. Both are there when the process starts and stay as long as it lives, so the list is made
//! once. Whatever is loaded later gets its whole range reserved, and is looked up as a whole.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::elf::Headers;
use super::find::{self, Object};

/// Objects that are listed.
const OBJECTS_MAX: usize = 8;

/// One object. Relaxed everywhere: `COUNT` orders the words.
struct Row {
    identity: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    headers: AtomicUsize,
    header_count: AtomicUsize,
}

static ROWS: [Row; OBJECTS_MAX] = [const {
    Row {
        identity: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        headers: AtomicUsize::new(0),
        header_count: AtomicUsize::new(0),
    }
}; OBJECTS_MAX];

/// Rows in use. Release by `start`, Acquire by readers: orders the rows.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Lists the objects. Enters the loader, which takes its lock: for the library's start.
pub fn start() {
    let mut count = 0usize;
    // SAFETY: the callback gets the counter of this frame.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut count).cast()) };
    // Release: pairs with the Acquire of `complete`.
    COUNT.store(count, Ordering::Release);
}

/// Puts the whole object in place of one segment of it.
#[inline]
pub fn complete(object: &mut Object) {
    // Acquire: pairs with the Release of `start`.
    let count = COUNT.load(Ordering::Acquire);
    for row in ROWS.get(..count).unwrap_or_default() {
        if row.identity.load(Ordering::Relaxed) == object.identity {
            object.start = row.start.load(Ordering::Relaxed);
            object.end = row.end.load(Ordering::Relaxed);
            let headers = row.headers.load(Ordering::Relaxed);
            object.headers = Some((headers, row.header_count.load(Ordering::Relaxed)));
        }
    }
}

/// Adds an object, if the loader's lookup does not name all of it; `data` counts the rows.
unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `start` passes its counter.
    let count = unsafe { &mut *data.cast::<usize>() };
    // SAFETY: the loader passes a filled structure.
    let info = unsafe { &*info };
    let Some(row) = ROWS.get(*count) else {
        return 1;
    };
    let object = find::described_by(info);
    let Some(headers) = Headers::of(&object) else {
        return 0;
    };
    let (Some((start, end)), Some((inside, _))) = (headers.range(), headers.stretches().next())
    else {
        return 0;
    };
    let Some(found) = find::segment_of(inside) else {
        return 0;
    };
    let is_whole = found.start <= start && end <= found.end;
    if is_whole || found.bias != object.bias {
        return 0;
    }
    row.identity.store(found.identity, Ordering::Relaxed);
    row.start.store(start, Ordering::Relaxed);
    row.end.store(end, Ordering::Relaxed);
    row.headers
        .store(info.dlpi_phdr as usize, Ordering::Relaxed);
    row.header_count
        .store(usize::from(info.dlpi_phnum), Ordering::Relaxed);
    *count += 1;
    0
}
