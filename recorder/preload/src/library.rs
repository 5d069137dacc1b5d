//! Where our own library lies, and its twin: `libheaptape.so`, and `libheaptape-allocators.so` for
//! programs that bring an allocator of their own (see [`crate::hooks`]).
//!
//! What the dynamic loader calls us goes in; absolute paths come out. Nothing here tells whether
//! the other one of the two is there.

use crate::environment::Text;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ptr;
use heaptape_session::allocators::{self, ALLOCATORS_SUFFIX, SUFFIX};
use heaptape_session::sync::{AtomicU64, Ordering};

/// Longest path of one of our libraries.
pub const PATH_BYTES_MAX: usize = 1024;

struct Place {
    path: UnsafeCell<[u8; PATH_BYTES_MAX]>,
    /// Length of the path; 0 while it is unknown.
    bytes: AtomicU64,
}

// SAFETY: the path is written once, before its length is set.
unsafe impl Sync for Place {}

impl Place {
    const fn new() -> Self {
        Self {
            path: UnsafeCell::new([0; PATH_BYTES_MAX]),
            bytes: AtomicU64::new(0),
        }
    }

    /// Puts the path together, once.
    fn set(&self, parts: &[&[u8]]) {
        // SAFETY: only this call writes it, before anyone reads it.
        let place = unsafe { &mut *self.path.get() };
        let mut text = Text::new(place);
        for part in parts {
            text.put(part);
        }
        if let Some(length) = text.end() {
            // Release: pairs with Acquire in `get`.
            self.bytes.store(length as u64, Ordering::Release);
        }
    }

    /// The path; `None` while it is unknown.
    fn get(&self) -> Option<&CStr> {
        // Acquire: pairs with Release in `set`.
        let is_known = self.bytes.load(Ordering::Acquire) != 0;
        // SAFETY: no longer written once the length is set.
        let place = unsafe { &*self.path.get() };
        CStr::from_bytes_until_nul(place).ok().filter(|_| is_known)
    }
}

/// The library that most programs get.
static USUAL: Place = Place::new();
/// Its twin.
static WITH_ALLOCATORS: Place = Place::new();

/// Finds out where they lie; `folder` is the current one. Once, while the process starts.
pub fn find(folder: &[u8]) {
    let mut info: libc::Dl_info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    let address = find as *const () as *const c_void;
    // SAFETY: dladdr only looks the address up; `info` is valid for it to fill in.
    unsafe { libc::dladdr(address, &raw mut info) };
    if info.dli_fname.is_null() {
        return;
    }
    // SAFETY: the loader's name of this library, a C string.
    let name = unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes();
    let (folder, slash): (&[u8], &[u8]) = match name.first() {
        Some(b'/') => (&[], &[]),
        _ => (folder, b"/"),
    };
    let stem = allocators::stem(name);
    if stem == name {
        // Somebody gave it another kind of name: then it has no twin.
        return USUAL.set(&[folder, slash, name]);
    }
    USUAL.set(&[folder, slash, stem, SUFFIX.as_bytes()]);
    WITH_ALLOCATORS.set(&[folder, slash, stem, ALLOCATORS_SUFFIX.as_bytes()]);
}

/// Absolute path of the library that most programs get.
#[must_use]
pub fn path() -> Option<&'static CStr> {
    USUAL.get()
}

/// Absolute path of the one for programs that bring an allocator of their own.
#[must_use]
pub fn path_with_allocators() -> Option<&'static CStr> {
    WITH_ALLOCATORS.get()
}

/// True when an entry of `LD_PRELOAD` means one of the two: by path, or by file name.
#[must_use]
pub fn is_ours(part: &[u8]) -> bool {
    fn file_name(path: &[u8]) -> &[u8] {
        path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
    }
    let is = |path: &CStr| file_name(path.to_bytes()) == file_name(part);
    path().is_some_and(is) || path_with_allocators().is_some_and(is)
}
