//! Which file exec and posix_spawn are to execute, and what is known of it.

use super::exec::List;
use super::image::{self, Verdict};
use crate::environment::{self, Text};
use core::ffi::{CStr, c_char, c_int};

/// Where the C library looks without PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A file to execute, as the caller names it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Image {
    /// A path, relative to a folder's descriptor.
    At(c_int, *const c_char),
    /// A name to look up in PATH.
    Named(*const c_char),
    /// An open file.
    Open(c_int),
}

impl Image {
    /// How the caller names it.
    pub(super) fn text(self) -> Option<*const c_char> {
        match self {
            Self::At(_, text) | Self::Named(text) => Some(text),
            Self::Open(_) => None,
        }
    }
}

/// What is known of the image, and whether it is there at all. `name` becomes its path. Where the
/// program forbids itself to look, nothing is known, and it is taken to be there.
///
/// # Safety
/// The pointers must be valid as the C functions ask.
pub(super) unsafe fn judge(image: Image, arguments: List, name: &mut [u8]) -> (Verdict, bool) {
    let may_look = image::may_look();
    let (folder, found) = match image {
        Image::At(folder, path) => {
            let mut text = Text::new(name);
            if !path.is_null() {
                // SAFETY: as for this function.
                text.put(unsafe { CStr::from_ptr(path) }.to_bytes());
            }
            (folder, text.end().is_some() && !path.is_null())
        }
        Image::Open(fd) => {
            let mut text = Text::new(name);
            text.put(b"/proc/self/fd/");
            text.put_number(fd as u32);
            (libc::AT_FDCWD, text.end().is_some())
        }
        Image::Named(file) => {
            // SAFETY: as for this function.
            let found = !file.is_null() && look_up(unsafe { CStr::from_ptr(file) }, name, may_look);
            (libc::AT_FDCWD, found)
        }
    };
    match CStr::from_bytes_until_nul(name) {
        Ok(_) if found && !may_look => (Verdict::default(), true),
        Ok(path) if found && image::is_executable(folder, path) => {
            // SAFETY: as for this function.
            let words = unsafe { environment::entries(arguments) }
                .skip(1)
                // SAFETY: arguments are C strings.
                .map(|word| unsafe { CStr::from_ptr(word) });
            (image::judge(folder, path, words), true)
        }
        _ => (Verdict::default(), false),
    }
}

/// Finds `file` as the C library does; its path, or what it is called, comes into `name`.
fn look_up(file: &CStr, name: &mut [u8], may_look: bool) -> bool {
    let file = file.to_bytes();
    if file.contains(&b'/') || !may_look {
        let mut text = Text::new(name);
        text.put(file);
        return text.end().is_some();
    }
    let path = environment::value(b"PATH").map_or(DEFAULT_PATH, CStr::to_bytes);
    for folder in path.split(|byte| *byte == b':') {
        let mut text = Text::new(name);
        text.put(folder);
        text.put(if folder.is_empty() { b"./" } else { b"/" });
        text.put(file);
        if text.end().is_some()
            && CStr::from_bytes_until_nul(name)
                .is_ok_and(|path| image::is_executable(libc::AT_FDCWD, path))
        {
            return true;
        }
    }
    false
}
