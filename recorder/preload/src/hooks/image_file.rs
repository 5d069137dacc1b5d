//! Reading a file by raw system calls: what looking at an executable takes.

use core::ffi::CStr;
use heaptape_session::sys::{self, syscall6};

/// A file that is open for reading.
pub(super) struct File(pub(super) i32);

impl File {
    pub(super) fn open(folder: i32, path: &CStr) -> Option<Self> {
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK) as usize;
        let arguments = [folder as usize, path.as_ptr() as usize, flags, 0, 0, 0];
        // SAFETY: the path is zero-terminated.
        let fd = unsafe { syscall6(libc::SYS_openat, arguments) };
        (fd >= 0).then_some(Self(fd as i32))
    }

    /// As many bytes as there are, up to the buffer's length.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8], offset: u64) -> &'a [u8] {
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
            let count = sys::read_at(self.0, rest, offset.wrapping_add(length as u64));
            if count <= 0 {
                break;
            }
            length += count as usize;
        }
        buffer.get(..length).unwrap_or_default()
    }

    pub(super) fn status(&self) -> Option<libc::stat> {
        // SAFETY: all-zero bytes are a valid `stat`.
        let mut status: libc::stat = unsafe { core::mem::zeroed() };
        let arguments = [self.0 as usize, (&raw mut status) as usize, 0, 0, 0, 0];
        // SAFETY: the structure is valid for the kernel to fill in.
        (unsafe { syscall6(libc::SYS_fstat, arguments) } == 0).then_some(status)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// Whether `part` stands in `text`. Large programs have megabytes of names, and each start of one
/// waits for this: libc's search reads many times as many bytes in a second as comparing windows.
pub(super) fn holds(text: &[u8], part: &[u8]) -> bool {
    // SAFETY: both are valid for reads of their lengths, and it reads nothing else.
    let found = unsafe {
        libc::memmem(
            text.as_ptr().cast(),
            text.len(),
            part.as_ptr().cast(),
            part.len(),
        )
    };
    !found.is_null()
}
