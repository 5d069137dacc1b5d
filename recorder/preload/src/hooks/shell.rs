//! `system`, `popen` and `wordexp`: the C library starts a shell for them by itself, and not
//! through the functions that `exec` interposes. The shell gets the process's own environment, so
//! that is what must say what the image is to get.
//!
//! Mostly it does. It does not where the program has taken our variables out of it, and where the
//! shell could not load us (another user by now, another root folder): then a copy that is right
//! takes its place, until the shell was started. Other threads may read the environment meanwhile:
//! what they find is valid at all times, and the copy's memory stays.
//!
//! Where nothing is to be done the stub jumps to the real function, which returns straight to the
//! caller: no frame of ours is in the stacks of what it allocates.

use super::exec::{Fate, List, is_denied, start};
use super::exec_image::Image;
use crate::environment;
use crate::next::{self, Function};
use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use heaptape_session::sys;

const SHELL: &CStr = c"/bin/sh";

jump_stub!(
    /// Interposed `system`.
    system(command: *const c_char) -> c_int, before_system
);
jump_stub!(
    /// Interposed `popen`.
    popen(command: *const c_char, mode: *const c_char) -> *mut c_void, before_popen
);
jump_stub!(
    /// Interposed `wordexp`, which starts a shell for each command in `words`.
    wordexp(words: *const c_char, found: *mut c_void, flags: c_int) -> c_int, before_wordexp
);

unsafe extern "C" fn before_system(command: *const c_char) -> usize {
    // SAFETY: the caller's command.
    unsafe {
        way(
            command,
            &next::SYSTEM,
            system_otherwise as *const () as usize,
        )
    }
}

unsafe extern "C" fn before_popen(command: *const c_char) -> usize {
    // SAFETY: the caller's command.
    unsafe { way(command, &next::POPEN, popen_otherwise as *const () as usize) }
}

unsafe extern "C" fn before_wordexp(words: *const c_char) -> usize {
    let otherwise = wordexp_otherwise as *const () as usize;
    // SAFETY: the caller's words.
    let has_command = !words.is_null() && has_command(unsafe { CStr::from_ptr(words) });
    let command = if has_command { words } else { ptr::null() };
    // SAFETY: the caller's words.
    unsafe { way(command, &next::WORDEXP, otherwise) }
}

fn has_command(words: &CStr) -> bool {
    let words = words.to_bytes();
    words.contains(&b'`') || words.windows(2).any(|pair| pair == b"$(")
}

/// Address of the real function, or of `otherwise` where the environment of a shell that runs
/// `command` is not as it must be.
///
/// # Safety
/// `command` is null, a C string, or leads to memory that cannot be read.
unsafe fn way(command: *const c_char, real: &Function, otherwise: usize) -> usize {
    let real = real.find();
    if real == 0 {
        return otherwise;
    }
    if command.is_null() {
        return real;
    }
    let own = environment::own();
    let is_other = Cell::new(false);
    let look = |list| {
        // SAFETY: the environment that the shell is to get; and the process's own.
        is_other.set(unsafe { is_other_than(list, own) });
        // Nothing was started.
        -1
    };
    // SAFETY: as for this function.
    unsafe { with_shell(command, look) };
    if is_other.get() { otherwise } else { real }
}

unsafe extern "C" fn system_otherwise(command: *const c_char) -> c_int {
    type System = unsafe extern "C" fn(*const c_char) -> c_int;
    // SAFETY: the type is that of system.
    let Some(real) = (unsafe { next::SYSTEM.pointer::<System>() }) else {
        next::set_errno(libc::ENOSYS);
        return -1;
    };
    // SAFETY: the caller's own call.
    let real = || unsafe { real(command) };
    // SAFETY: the caller's command.
    unsafe { started(command, real, |result| *result != -1) }
}

unsafe extern "C" fn popen_otherwise(command: *const c_char, mode: *const c_char) -> *mut c_void {
    type Open = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
    // SAFETY: the type is that of popen.
    let Some(real) = (unsafe { next::POPEN.pointer::<Open>() }) else {
        next::set_errno(libc::ENOSYS);
        return ptr::null_mut();
    };
    // SAFETY: the caller's own call.
    let real = || unsafe { real(command, mode) };
    // SAFETY: the caller's command.
    unsafe { started(command, real, |stream| !stream.is_null()) }
}

unsafe extern "C" fn wordexp_otherwise(
    words: *const c_char,
    found: *mut c_void,
    flags: c_int,
) -> c_int {
    type Expand = unsafe extern "C" fn(*const c_char, *mut c_void, c_int) -> c_int;
    // SAFETY: the type is that of wordexp.
    let Some(real) = (unsafe { next::WORDEXP.pointer::<Expand>() }) else {
        return WORDEXP_NO_SPACE;
    };
    // SAFETY: the caller's own call.
    let real = || unsafe { real(words, found, flags) };
    // SAFETY: the caller's words.
    unsafe { started(words, real, |result| *result == 0) }
}

/// `WRDE_NOSPACE`.
const WORDEXP_NO_SPACE: c_int = 1;

/// Calls `real`, which starts a shell that runs `command`; what it returns.
///
/// # Safety
/// `command` is a C string, or leads to memory that cannot be read.
unsafe fn started<R>(
    command: *const c_char,
    real: impl Fn() -> R,
    is_success: impl Fn(&R) -> bool,
) -> R {
    let result = Cell::new(None);
    let call = |list| {
        // SAFETY: the environment that the shell is to get, which lives for this call.
        let is_replaced = unsafe { put_in_place(list) };
        let returned = real();
        if is_replaced {
            put_back();
        }
        let code = if is_success(&returned) { 0 } else { -1 };
        result.set(Some(returned));
        code
    };
    // SAFETY: as for this function.
    unsafe { with_shell(command, call) };
    result.into_inner().unwrap_or_else(real)
}

/// Calls `call` with the environment that a shell is to get which runs `command`. It returns 0 when
/// the shell was started.
///
/// # Safety
/// As for [`started`].
unsafe fn with_shell(command: *const c_char, call: impl Fn(List) -> c_int) {
    let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), command, ptr::null()];
    let image = Image::At(libc::AT_FDCWD, SHELL.as_ptr());
    let own = environment::own();
    // SAFETY: the pointers are the caller's, and the process's own environment.
    let _code = unsafe { start(image, arguments.as_ptr(), own, Fate::Stays, call) };
}

/// True when a shell that is to get `list` must not get `own`: they say different things of us, or
/// `own` names a library that is not there.
///
/// # Safety
/// Each is null or an environment.
unsafe fn is_other_than(list: List, own: List) -> bool {
    // SAFETY: as for this function.
    let [wanted, there] = [list, own].map(|list| unsafe { environment::ours(list) });
    let is_same = wanted.has_session == there.has_session
        && wanted.library.is_some() == there.library.is_some();
    !is_same || there.library.is_some_and(is_missing)
}

/// True when the loader could not open the library at `path`.
fn is_missing(path: &[u8]) -> bool {
    let mut text = [0; libc::PATH_MAX as usize];
    let Some(place) = text.get_mut(..path.len()) else {
        return true;
    };
    place.copy_from_slice(path);
    let path = CStr::from_bytes_until_nul(&text);
    path.is_ok_and(|path| is_denied(path, libc::R_OK))
}

/// The copy in the environment's place. All of it belongs to who has [`LOCK`].
static LOCK: AtomicU32 = AtomicU32::new(0);
/// Calls that it is there for.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// The program's environment meanwhile.
static OWN: AtomicU64 = AtomicU64::new(0);
/// The copy, 0: there was none; and the bytes of its memory.
static COPY: AtomicU64 = AtomicU64::new(0);
static COPY_BYTES: AtomicU64 = AtomicU64::new(0);

/// How often the lock is tried. It is held for a copy's time; a fork may have left it locked.
const TRIES: u32 = 100_000;

/// Does `work` alone; `None` when that is not to be had.
fn alone<R>(work: impl FnOnce() -> R) -> Option<R> {
    for _ in 0..TRIES {
        let claim = LOCK.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        if claim.is_ok() {
            let result = work();
            LOCK.store(0, Ordering::Release);
            return Some(result);
        }
        core::hint::spin_loop();
    }
    None
}

/// Puts a copy of `list` in the place of the process's environment, when they say different things
/// of us. True: [`put_back`] is to be called.
///
/// # Safety
/// `list` is null or an environment.
unsafe fn put_in_place(list: List) -> bool {
    let own = environment::own();
    // SAFETY: as for this function; and the process's own.
    let is_other = unsafe { is_other_than(list, own) };
    let put = || {
        let calls = CALLS.load(Ordering::Relaxed);
        if calls == 0 {
            if !is_other {
                return false;
            }
            // SAFETY: as for this function.
            let Some(copy) = (unsafe { copy_of(list, own) }) else {
                return false;
            };
            OWN.store(own as u64, Ordering::Relaxed);
            // SAFETY: its memory stays.
            unsafe { environment::set_own(copy) };
        }
        CALLS.store(calls + 1, Ordering::Relaxed);
        true
    };
    alone(put).unwrap_or(false)
}

/// Gives the process its own environment back, after the last call that needed another one, unless
/// the program has changed it.
fn put_back() {
    alone(|| {
        let calls = CALLS.load(Ordering::Relaxed).saturating_sub(1);
        CALLS.store(calls, Ordering::Relaxed);
        if calls == 0 && environment::own() as u64 == COPY.load(Ordering::Relaxed) {
            // SAFETY: what was there before.
            unsafe { environment::set_own(OWN.load(Ordering::Relaxed) as List) };
        }
    });
}

/// A copy of `list`, in memory that stays and is used again. Texts of the program's own environment
/// `own` are those of the program, since it may keep what it finds; ours are copied, too.
///
/// # Safety
/// Each is null or an environment.
unsafe fn copy_of(list: List, own: List) -> Option<List> {
    // SAFETY: as for this function.
    let [entries, known] = [list, own].map(|list| unsafe { environment::entries(list) });
    let is_ours = |entry: *const c_char| !known.clone().any(|other| other == entry);
    // SAFETY: entries are C strings.
    let text_of = |entry| unsafe { CStr::from_ptr(entry) }.to_bytes_with_nul();
    let ours = entries.clone().filter(|entry| is_ours(*entry));
    let texts: usize = ours.map(|entry| text_of(entry).len()).sum();
    let places_bytes = (entries.clone().count() + 1) * size_of::<*const c_char>();
    let bytes = places_bytes + texts;
    let mut memory = COPY.load(Ordering::Relaxed) as *mut u8;
    if memory.is_null() || COPY_BYTES.load(Ordering::Relaxed) < bytes as u64 {
        memory = sys::map_private(bytes)?;
        COPY.store(memory as u64, Ordering::Relaxed);
        COPY_BYTES.store(bytes as u64, Ordering::Relaxed);
    }
    let places: *mut *const c_char = memory.cast();
    // SAFETY: the texts lie behind the places.
    let mut text_at = unsafe { memory.add(places_bytes) };
    let mut place = places;
    for entry in entries {
        let mut kept = entry;
        if is_ours(entry) {
            let text = text_of(entry);
            // SAFETY: room for all of ours.
            unsafe { text_at.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
            kept = text_at.cast();
            // SAFETY: as before.
            text_at = unsafe { text_at.add(text.len()) };
        }
        // SAFETY: room for all places.
        unsafe { place.write(kept) };
        // SAFETY: as before.
        place = unsafe { place.add(1) };
    }
    // SAFETY: one more place than entries.
    unsafe { place.write(ptr::null()) };
    Some(places)
}
