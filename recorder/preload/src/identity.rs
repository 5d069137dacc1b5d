//! Who this process is: read from /proc with raw system calls, written into its first stream.

use crate::level::Level;
use crate::modules::program;
use crate::recording;
use core::ffi::CStr;
use heaptape_session::record::{BLOB_BYTES_MAX, blob};
use heaptape_session::{reasons, sys};

/// Field of /proc/self/stat after the command's closing parenthesis.
const STAT_START_TIME: usize = 19;

/// When the process started, in clock ticks since boot (field 22 of its stat); 0: unknown.
#[must_use]
pub fn start_time() -> u64 {
    stat_field(STAT_START_TIME)
}

/// Process id of the parent.
#[must_use]
pub fn parent_pid() -> u32 {
    // SAFETY: getppid has no arguments and cannot fail.
    unsafe { sys::syscall6(libc::SYS_getppid, [0; 6]) as u32 }
}

fn stat_field(field: usize) -> u64 {
    let mut buffer = [0; 1024];
    let stat = read(c"/proc/self/stat", &mut buffer);
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else {
        return 0;
    };
    let fields = stat.get(end + 2..).unwrap_or_default();
    let number = fields.split(|byte| *byte == b' ').nth(field);
    number.map_or(0, crate::environment::number)
}

/// Inode of the process's pid namespace; 0: unknown.
#[must_use]
pub fn pid_namespace() -> u64 {
    let mut buffer = [0; 64];
    // The link reads `pid:[4026531836]`.
    let link = link(c"/proc/self/ns/pid", &mut buffer);
    let digits = link.split(|byte| *byte == b'[').nth(1);
    digits.map_or(0, crate::environment::number)
}

/// Finds our library, relative to the working folder where it must be.
pub fn find_library() {
    let mut path = [0; libc::PATH_MAX as usize];
    crate::library::find(link(c"/proc/self/cwd", &mut path));
}

/// Writes the blobs that introduce a process image. The level is being born: nobody else has it.
/// `is_bypassed`: the program calls an allocator of its own.
pub fn write(level: &mut Level, allocator: Option<&CStr>, is_bypassed: bool) {
    // Not on the stack: a fork's first event may come from a signal handler with a small one.
    let Some(memory) = sys::map_private(BLOB_BYTES_MAX) else {
        return;
    };
    // SAFETY: fresh memory of that length, ours alone.
    let buffer = unsafe { core::slice::from_raw_parts_mut(memory, BLOB_BYTES_MAX) };
    let executable = program::path(buffer);
    recording::append_blob(level, blob::EXECUTABLE, &[executable]);
    if is_bypassed {
        let reason = reasons::OWN_ALLOCATOR.as_bytes();
        let parts: [&[u8]; 3] = [&[reason.len() as u8], reason, executable];
        recording::append_blob(level, blob::NOT_RECORDED, &parts);
    }
    let folder = link(c"/proc/self/cwd", buffer);
    recording::append_blob(level, blob::WORKING_FOLDER, &[folder]);
    let command = read(c"/proc/self/cmdline", buffer);
    recording::append_blob(level, blob::COMMAND, &[command]);
    if let Some(name) = allocator {
        recording::append_blob(level, blob::ALLOCATOR, &[name.to_bytes()]);
    }
    // SAFETY: the buffer is not used any more.
    unsafe { sys::unmap(memory, BLOB_BYTES_MAX) };
}

/// As much of the file as fits.
fn read<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    let fd = sys::open(path, libc::O_RDONLY);
    if fd < 0 {
        return &[];
    }
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..) {
        let count = sys::read_at(fd, rest, length as u64);
        if count <= 0 {
            break;
        }
        length += count as usize;
    }
    sys::close(fd);
    buffer.get(..length).unwrap_or_default()
}

fn link<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    let arguments = [
        path.as_ptr() as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
        0,
        0,
    ];
    // SAFETY: the path ends with zero, the buffer is valid for its length.
    let count = unsafe { sys::syscall6(libc::SYS_readlink, arguments) };
    usize::try_from(count)
        .ok()
        .and_then(|count| buffer.get(..count))
        .unwrap_or_default()
}
