//! Starts a drainer when the user preloaded us without a launcher (`HEAPTAPE_OUT=x.tape`).
//!
//! `heaptape drain --out FILE --ready-fd 3` runs detached: own session, no descriptor of the
//! target's, not our child. It makes the session and writes its path and a newline to descriptor
//! 3. Everything here is a raw system call: it may run inside the target's first allocation.

use crate::environment::{self, ADDED_MAX, Carry, Text};
use core::ffi::{CStr, c_char};
use core::ptr;
use heaptape_session::sys::{self, syscall6};

/// The descriptor on which the drainer says that it is ready.
const READY_FD: usize = 3;
/// How long the target waits for it.
const PATIENCE_MS: usize = 5000;
/// Longest environment that the drainer gets.
const ENTRIES_MAX: usize = 4096;
/// Bytes for paths.
const PATH_BYTES: usize = 2 * libc::PATH_MAX as usize;

/// Starts the drainer for `tape`: the path of its session, in `path`. `None`: recording is off.
pub fn start<'a>(tape: &CStr, path: &'a mut [u8]) -> Option<&'a CStr> {
    let mut memory = [0; PATH_BYTES];
    let program = find_program(&mut memory)?;
    let mut pipe = [0i32; 2];
    let arguments = [
        (&raw mut pipe) as usize,
        libc::O_CLOEXEC as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes two descriptors.
    if unsafe { syscall6(libc::SYS_pipe2, arguments) } != 0 {
        return None;
    }
    let [reader, writer] = pipe;
    // No signal at the end: the target must not hear of a child that it did not start.
    // SAFETY: a plain fork; the child goes on with raw system calls alone.
    let child = unsafe { syscall6(libc::SYS_clone, [0; 6]) };
    if child == 0 {
        detach(program, tape, writer);
    }
    sys::close(writer);
    if child > 0 {
        let arguments = [child as usize, 0, libc::__WALL as usize, 0, 0, 0];
        // SAFETY: waits for the child, which ends at once.
        unsafe { syscall6(libc::SYS_wait4, arguments) };
    }
    let length = read_line(reader, path);
    sys::close(reader);
    *path.get_mut(length?)? = 0;
    CStr::from_bytes_until_nul(path).ok()
}

/// Bytes of the line that comes from `fd`, without its newline.
fn read_line(fd: i32, line: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut wait = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let arguments = [(&raw mut wait) as usize, 1, PATIENCE_MS, 0, 0, 0];
        // SAFETY: one valid structure.
        if unsafe { syscall6(libc::SYS_poll, arguments) } <= 0 {
            return None;
        }
        let place = line.get_mut(length..length + 1)?;
        let arguments = [fd as usize, place.as_mut_ptr() as usize, 1, 0, 0, 0];
        // SAFETY: one valid byte.
        if unsafe { syscall6(libc::SYS_read, arguments) } != 1 {
            return None;
        }
        if place.first() == Some(&b'\n') {
            return Some(length);
        }
        length += 1;
    }
}

/// The drainer's program: named by the user, beside our library, or in PATH.
fn find_program(memory: &mut [u8]) -> Option<&CStr> {
    let named = environment::value(b"HEAPTAPE_DRAINER").map(CStr::to_bytes);
    let library = crate::library::path().map_or(&b""[..], CStr::to_bytes);
    let folder_end = library.iter().rposition(|byte| *byte == b'/');
    let beside = folder_end.and_then(|end| library.get(..end));
    let path = environment::value(b"PATH").map_or(&b""[..], CStr::to_bytes);
    let folders = beside.into_iter().chain(path.split(|byte| *byte == b':'));
    let candidates = named
        .map(|program| [program, b"", b""])
        .into_iter()
        .chain(folders.map(|folder| [folder, b"/", b"heaptape"]));
    for parts in candidates {
        let mut text = Text::new(memory);
        for part in parts {
            text.put(part);
        }
        if text.end().is_some() && is_executable(memory) {
            return CStr::from_bytes_until_nul(memory).ok();
        }
    }
    None
}

fn is_executable(path: &[u8]) -> bool {
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        libc::X_OK as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the path is zero-terminated.
    unsafe { syscall6(libc::SYS_faccessat, arguments) == 0 }
}

/// In the first child: starts the second one, which becomes the drainer, and ends.
fn detach(program: &CStr, tape: &CStr, writer: i32) -> ! {
    // SAFETY: a new session for this child, before it forks again.
    unsafe { syscall6(libc::SYS_setsid, [0; 6]) };
    // SAFETY: a plain fork, as above.
    if unsafe { syscall6(libc::SYS_clone, [0; 6]) } == 0 {
        become_drainer(program, tape, writer);
    }
    exit()
}

fn become_drainer(program: &CStr, tape: &CStr, writer: i32) {
    // SAFETY: descriptors of this child alone.
    unsafe { syscall6(libc::SYS_dup2, [writer as usize, READY_FD, 0, 0, 0, 0]) };
    if writer as usize == READY_FD {
        let clear = [READY_FD, libc::F_SETFD as usize, 0, 0, 0, 0];
        // SAFETY: as above.
        unsafe { syscall6(libc::SYS_fcntl, clear) };
    }
    let nothing = sys::open(c"/dev/null", libc::O_RDWR);
    for standard in 0..3 {
        // SAFETY: as above.
        unsafe { syscall6(libc::SYS_dup2, [nothing as usize, standard, 0, 0, 0, 0]) };
    }
    let rest = [READY_FD + 1, u32::MAX as usize, 0, 0, 0, 0];
    // SAFETY: as above.
    unsafe { syscall6(libc::SYS_close_range, rest) };
    let arguments: [*const c_char; 7] = [
        program.as_ptr(),
        c"drain".as_ptr(),
        c"--out".as_ptr(),
        tape.as_ptr(),
        c"--ready-fd".as_ptr(),
        c"3".as_ptr(),
        ptr::null(),
    ];
    let list = environment::own();
    let places_bytes = (ENTRIES_MAX + ADDED_MAX + 1) * size_of::<*const c_char>();
    // SAFETY: the process's own environment.
    let text_bytes = unsafe { environment::text_bytes(list) };
    let (Some(places), Some(text)) = (sys::map_private(places_bytes), sys::map_private(text_bytes))
    else {
        return;
    };
    let places = places.cast::<*const c_char>();
    // SAFETY: fresh memory of that length; zeroed pointers are null.
    let places = unsafe { core::slice::from_raw_parts_mut(places, ENTRIES_MAX + ADDED_MAX + 1) };
    // SAFETY: fresh memory of that length.
    let text = unsafe { core::slice::from_raw_parts_mut(text, text_bytes) };
    // SAFETY: the process's own environment, which stays.
    if !unsafe { environment::build(list, Carry::Off, places, &mut Text::new(text)) } {
        return;
    }
    let call = [
        program.as_ptr() as usize,
        arguments.as_ptr() as usize,
        places.as_ptr() as usize,
        0,
        0,
        0,
    ];
    // SAFETY: zero-terminated texts and null-terminated lists.
    unsafe { syscall6(libc::SYS_execve, call) };
}

fn exit() -> ! {
    loop {
        // SAFETY: ends this child.
        unsafe { syscall6(libc::SYS_exit_group, [0; 6]) };
    }
}
