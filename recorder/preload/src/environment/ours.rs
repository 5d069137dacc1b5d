//! What an environment has of us, and another one in the place of the process's own: for what the C
//! library starts by itself.

use super::{PRELOAD, SESSION, entries, environ, split};
use crate::library;
use core::ffi::{CStr, c_char};

/// What an environment has of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ours<'a> {
    /// It names a session.
    pub has_session: bool,
    /// The library of ours that it makes the loader load.
    pub library: Option<&'a [u8]>,
}

/// Looks for what the environment `list` has of us.
///
/// # Safety
/// `list` must be null or an environment that stays as it is while the result is used.
#[must_use]
pub unsafe fn ours<'a>(list: *const *const c_char) -> Ours<'a> {
    let mut found = Ours::default();
    // SAFETY: as for this function.
    for entry in unsafe { entries(list) } {
        // SAFETY: entries are C strings.
        let (name, value) = split(unsafe { CStr::from_ptr(entry) }.to_bytes());
        found.has_session |= name == SESSION && !value.is_empty();
        if name == PRELOAD {
            let mut parts = value.split(|byte| matches!(byte, b':' | b' '));
            found.library = found.library.or(parts.find(|part| library::is_ours(part)));
        }
    }
    found
}

/// Puts another environment in the place of the process's own.
///
/// # Safety
/// An environment that stays.
pub unsafe fn set_own(list: *const *const c_char) {
    let place = &raw mut environ;
    // SAFETY: the C library's variable is a valid pointer, written once.
    unsafe { place.write(list) };
}
