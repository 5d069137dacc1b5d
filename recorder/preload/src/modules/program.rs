//! The path of the program's own file, which the dynamic loader leaves without a name.
//!
//! It is where `/proc/self/exe` leads, unless the loader was started as a command
//! (`ld-linux-x86-64.so.2 ./app`): then that is the loader, and the program is the file that is
//! mapped where the program headers are.

use core::ffi::c_ulong;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use heaptape_session::sys;

use super::PATH_BYTES_MAX;
use super::elf::Headers;
use super::find::Object;
use crate::syscall;

/// Memory for the list of mappings: more than its longest line.
const LIST_BYTES: usize = 4 * PATH_BYTES_MAX;

/// The path. Written once by `start`, before `PATH_BYTES`.
static PATH: [AtomicU64; PATH_BYTES_MAX / 8] = [const { AtomicU64::new(0) }; PATH_BYTES_MAX / 8];
/// Its length. Release by `start`, Acquire by readers: orders the bytes.
static PATH_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Learns the path; called once when the library starts, outside of any event.
pub fn start() {
    // Without memory the loader's path is better than none.
    if !was_started_by_command() || !keep_mapped() {
        start_static();
    }
}

/// As [`start`], where the program itself is what the kernel started.
pub fn start_static() {
    let mut buffer = [0u8; PATH_BYTES_MAX];
    if let Some(path) = syscall::read_link(c"/proc/self/exe", &mut buffer) {
        keep(path);
    }
}

/// The path, written into `buffer`; empty when it is unknown or does not fit.
pub fn path(buffer: &mut [u8]) -> &[u8] {
    // Acquire: pairs with the Release of `keep`.
    let length = PATH_BYTES.load(Ordering::Acquire);
    let (chunks, _) = buffer.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(&PATH) {
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    buffer.get(..length).unwrap_or(&[])
}

/// A word of what the kernel told the process when it started; 0: nothing.
#[must_use]
pub fn auxiliary(kind: c_ulong) -> usize {
    // SAFETY: getauxval only looks into the auxiliary vector.
    unsafe { libc::getauxval(kind) as usize }
}

/// True when the loader is what the kernel started: then it had no loader to load.
fn was_started_by_command() -> bool {
    auxiliary(libc::AT_BASE) == 0
}

/// True when the program names no loader: it is static.
#[must_use]
pub fn is_static() -> bool {
    let headers = (auxiliary(libc::AT_PHDR), auxiliary(libc::AT_PHNUM));
    let object = Object {
        start: 0,
        end: usize::MAX,
        bias: 0,
        identity: 0,
        name: 0,
        unwind_header: 0,
        headers: (headers.0 != 0).then_some(headers),
    };
    object.headers.is_some()
        && Headers::of(&object).is_some_and(|headers| !headers.has_interpreter())
}

/// Keeps the path of the file that holds the program headers; false when it is not found. The
/// loader puts their address where the kernel had put that of its own.
fn keep_mapped() -> bool {
    let Some(memory) = sys::map_private(LIST_BYTES) else {
        return false;
    };
    // SAFETY: fresh memory of that length, ours alone.
    let buffer = unsafe { core::slice::from_raw_parts_mut(memory, LIST_BYTES) };
    let list = sys::open(c"/proc/self/maps", libc::O_RDONLY);
    let read = |rest: &mut [u8], offset| sys::read_at(list, rest, offset);
    let path = mapped_at(auxiliary(libc::AT_PHDR), buffer, read);
    let is_found = path.map(keep).is_some();
    if list >= 0 {
        sys::close(list);
    }
    // SAFETY: the buffer is not used any more.
    unsafe { sys::unmap(memory, LIST_BYTES) };
    is_found
}

fn keep(path: &[u8]) {
    if path.len() > PATH_BYTES_MAX {
        return;
    }
    let (words, rest) = path.as_chunks::<8>();
    let mut last = [0; 8];
    for (byte, value) in last.iter_mut().zip(rest) {
        *byte = *value;
    }
    for (slot, word) in PATH.iter().zip(words.iter().chain([&last])) {
        slot.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
    }
    // Release: pairs with the Acquire of `path`.
    PATH_BYTES.store(path.len(), Ordering::Release);
}

/// The path of the file that is mapped at `address`, by a list in the form of `/proc/self/maps`.
/// `read` fills memory from an offset of the list and tells how many bytes it wrote.
fn mapped_at(
    address: usize,
    buffer: &mut [u8],
    read: impl Fn(&mut [u8], u64) -> isize,
) -> Option<&[u8]> {
    let (mut filled, mut offset) = (0, 0);
    let path = loop {
        let count = usize::try_from(read(buffer.get_mut(filled..)?, offset)).ok()?;
        if count == 0 {
            return None;
        }
        offset += count as u64;
        filled += count;
        let text = buffer.get(..filled)?;
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(0, |end| end + 1);
        let lines = text.get(..whole)?.split(|byte| *byte == b'\n');
        if let Some(line) = lines.into_iter().find(|line| line_holds(line, address)) {
            let begin = line.iter().position(|byte| *byte == b'/')?;
            let begin = line.get(begin..)?.as_ptr().addr() - text.as_ptr().addr();
            let length = text.get(begin..)?.iter().position(|byte| *byte == b'\n')?;
            break begin..begin + length;
        }
        filled -= whole;
        // No `copy_within`: it could panic, as far as the compiler sees.
        for at in 0..filled {
            let byte = buffer.get(whole + at).copied()?;
            *buffer.get_mut(at)? = byte;
        }
    };
    buffer.get(path)
}

/// True when the line's range, `55d0-55e0 r-xp …`, holds the address.
fn line_holds(line: &[u8], address: usize) -> bool {
    let mut ends = line.split(|byte| matches!(byte, b'-' | b' '));
    let mut number = || {
        let digits = core::str::from_utf8(ends.next()?).ok()?;
        usize::from_str_radix(digits, 16).ok()
    };
    let range = number().zip(number());
    range.is_some_and(|(start, end)| (start..end).contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"1000-2000 r--p 00000000 fe:00 12 /lib/loader.so.2\n\
        2000-3000 rw-p 00000000 00:00 0 \n\
        5000-6000 r--p 00000000 fe:00 34                /srv/a b/app - (1)\n\
        ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";

    #[test]
    fn the_file_at_an_address_is_found_however_the_list_is_read() {
        for step in 1..=LIST.len() {
            let read = |rest: &mut [u8], offset| {
                let left = &LIST[offset as usize..];
                let count = step.min(left.len()).min(rest.len());
                rest[..count].copy_from_slice(&left[..count]);
                count as isize
            };
            let at = |address| {
                let mut buffer = [0; 100];
                mapped_at(address, &mut buffer, read).map(<[u8]>::to_vec)
            };
            assert_eq!(at(0x1000), Some(b"/lib/loader.so.2".to_vec()));
            assert_eq!(at(0x5fff), Some(b"/srv/a b/app - (1)".to_vec()));
            for address in [0, 0x2000, 0x3000, 0x6000, 0xffff_ffff_ff60_0000] {
                assert_eq!(at(address), None, "{address:x}");
            }
            // A line that is longer than the memory.
            assert_eq!(mapped_at(0x5000, &mut [0; 40], read), None);
        }
        assert_eq!(mapped_at(0x1000, &mut [0; 100], |_, _| -1), None);
    }
}
