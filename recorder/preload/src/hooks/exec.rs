//! Starting other images: exec and posix_spawn in all their forms.
//!
//! The new image gets an environment that carries the session on, also when the program brings one
//! of its own; unless it cannot be recorded: then it gets one without us, and the reason goes into
//! this process's tape. A static image cannot be recorded either and takes no harm, but what it
//! starts can: it carries the session on. One that is linked with the recorder gets the session and
//! no library. Nothing here allocates through the hooks, since it may run in a child of `vfork`,
//! which shares our memory. The real functions do the work, and their errors are theirs.

use crate::environment::{self, ADDED_MAX, Carry, Loading, Text};
use crate::hooks::exec_image::{Image, judge};
use crate::hooks::exec_readable::Readable;
use crate::hooks::image::Verdict;
use crate::{clock, gate, library, lineage, next, process, sandbox, thread};
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use heaptape_session::layout::{options, phase};
use heaptape_session::limits;
use heaptape_session::reasons::{FORBIDDEN_CALLS, OTHER_RECORDER, STATIC, TIGHT_LIMITS};
use heaptape_session::slots;
use heaptape_session::sync::Ordering;
use heaptape_session::sys;

/// A list of C strings that ends with null.
pub(super) type List = *const *const c_char;

/// Entries of an environment that are copied on the stack; longer ones need memory of their own.
const PLACES_ON_STACK: usize = 384;
/// Bytes of text that are put together on the stack.
const TEXT_ON_STACK: usize = 3072;

/// What happens to the calling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The image takes its place.
    Replaced,
    /// The image runs in a child.
    Stays,
}

/// Calls `real` with the environment that the new image is to get.
///
/// # Safety
/// The pointers must be valid as the C functions ask, or lead to memory that cannot be read.
pub(super) unsafe fn start(
    image: Image,
    arguments: List,
    list: List,
    fate: Fate,
    real: impl Fn(List) -> c_int,
) -> c_int {
    if gate::mode() == gate::NEW {
        // A fork that was made without the C library, before its first allocation.
        process::start();
    }
    let is_recording = matches!(gate::mode(), gate::PLAIN | gate::GENERAL);
    let (may_start, is_tight) = (sandbox::may_start(), limits::are_too_low());
    let has_nothing_to_do = !process::is_started() || !is_recording && may_start && !is_tight;
    // A bad pointer is the kernel's to refuse.
    if has_nothing_to_do || !Readable::new().all(image.text(), &[arguments, list]) {
        return real(list);
    }
    let real = |list| {
        let child = sandbox::settle();
        let result = real(list);
        sandbox::unsettle(child);
        result
    };
    if !is_recording {
        // SAFETY: as for this function.
        return unsafe { with_environment(list, Carry::Off, &real) };
    }
    let mut name = [0; libc::PATH_MAX as usize];
    // SAFETY: as for this function.
    let (verdict, is_there) = unsafe { judge(image, arguments, &mut name) };
    if !is_there {
        return real(list);
    }
    // SAFETY: as for this function.
    let is_elsewheres =
        may_start && unsafe { environment::leads_elsewhere(list, process::session().path()) };
    // SAFETY: as for this function.
    let loading = unsafe { loading_of(verdict, list) };
    // SAFETY: as for this function.
    let stays_out = unsafe { environment::turns_off(list) }
        || is_elsewheres
        || verdict.starts_nothing
        || loading.starts_nothing
        || process::has(options::NO_FOLLOW);
    let library = library_for(verdict, loading);
    let reason = verdict.reason.or(loading.reason).or(match library {
        _ if !may_start => Some(FORBIDDEN_CALLS),
        _ if is_tight => Some(TIGHT_LIMITS),
        Some(_) => None,
        None => Some(OUT_OF_REACH),
    });
    // What is forbidden is forbidden for all descendants.
    let library = library.filter(|_| may_start);
    let carry = match library {
        Some(library) if reason.is_none_or(is_passed_through) && !stays_out => carry_on(library),
        _ => Carry::Off,
    };
    let reason = reason.filter(|_| !stays_out);
    if let Some(reason) = reason.filter(|_| fate == Fate::Replaced) {
        lineage::note_not_recorded(reason, &name);
    }
    let owned = (fate == Fate::Replaced && process::is_owner()).then(process::slot);
    if let Some(slot) = owned.flatten() {
        // Relaxed: the phase publishes it.
        slot.end_ticks
            .store(clock::now::<true, false>(0), Ordering::Relaxed);
        slots::set_process_phase(slot, phase::EXEC);
    }
    let (result, reason) = if is_elsewheres {
        (real(list), reason)
    } else {
        // SAFETY: as for this function.
        let (result, too_long) = unsafe { carried(list, carry, fate, &name, &real) };
        (result, too_long.or(reason))
    };
    if let Some(slot) = owned.flatten() {
        slots::set_process_phase(slot, phase::RUNNING);
    }
    if let Some(reason) = reason.filter(|_| fate == Fate::Stays && result == 0) {
        lineage::note_not_recorded(reason, &name);
    }
    result
}

/// What an image is told that goes on with the session.
fn carry_on(library: Option<&[u8]>) -> Carry<'_> {
    Carry::On {
        session: process::session().path().to_bytes(),
        slot: process::slot_index(),
        generation: process::slot_generation(),
        library,
    }
}

/// True for images that are not recorded and whose children are to be: without a dynamic loader our
/// library is a word in the environment, no more. What they start is not judged by anybody, and an
/// image that cannot take our library would be harmed: so only when the user asks for it.
fn is_passed_through(reason: &str) -> bool {
    (reason == STATIC || reason == OTHER_RECORDER) && process::has(options::THROUGH_STATIC)
}

/// As [`with_environment`]; where the kernel finds that too long, a second time without what we
/// carry on, and the reason why the image is not recorded.
///
/// # Safety
/// As for [`start`].
unsafe fn carried(
    list: List,
    carry: Carry<'_>,
    fate: Fate,
    name: &[u8],
    real: &impl Fn(List) -> c_int,
) -> (c_int, Option<&'static str>) {
    // SAFETY: as for this function.
    let result = unsafe { with_environment(list, carry, real) };
    if matches!(carry, Carry::Off) || !is_too_long(result, fate) {
        return (result, None);
    }
    if fate == Fate::Replaced {
        lineage::note_not_recorded(NO_ROOM, name);
    }
    // SAFETY: as for this function.
    let result = unsafe { with_environment(list, Carry::Off, real) };
    (result, Some(NO_ROOM))
}

/// True when the kernel finds arguments and environment too long.
fn is_too_long(result: c_int, fate: Fate) -> bool {
    match fate {
        Fate::Replaced => result == -1 && next::errno() == libc::E2BIG,
        Fate::Stays => result == libc::E2BIG,
    }
}

/// The reason for an image whose arguments and environment are as long as they may be without ours.
const NO_ROOM: &str = "its arguments leave no room for the recorder's variables";
/// The reason for an image that would find neither us nor the session.
const OUT_OF_REACH: &str = "recorder out of reach (another user or root folder, or removed)";

/// What decides how the image is loaded; nothing does where no loader is.
///
/// # Safety
/// `list` must be null or an environment.
unsafe fn loading_of(verdict: Verdict, list: List) -> Loading {
    if verdict.records_itself {
        return Loading::default();
    }
    // SAFETY: as for this function.
    unsafe { environment::loading(list) }
}

/// The library for the new image, empty when nobody knows where ours is, `None` within when it
/// needs none. `None`: with this thread's rights and root folder the image cannot open it, or the
/// session: the dynamic loader would complain on its standard error.
fn library_for(verdict: Verdict, loading: Loading) -> Option<Option<&'static [u8]>> {
    if is_denied(process::session().path(), libc::R_OK | libc::W_OK) {
        return None;
    }
    if verdict.records_itself && !process::has(options::THROUGH_STATIC) {
        return Some(None);
    }
    let brings_allocator = verdict.brings_allocator || loading.brings_allocator;
    let usual = library::path();
    let twin = library::path_with_allocators();
    // Either is right for any image; the other one records less, or more slowly.
    let (first, second) = if brings_allocator {
        (twin, usual)
    } else {
        (usual, twin)
    };
    if first.is_none() && second.is_none() {
        return Some(Some(&[]));
    }
    let reachable = |path: &&CStr| !is_denied(path, libc::R_OK);
    first
        .filter(reachable)
        .or(second.filter(reachable))
        .map(|library| Some(library.to_bytes()))
}

/// True when an image that takes this thread's place cannot open the file for `access`. Asked with
/// the real user's rights: capabilities that this thread kept when it became another user
/// (`setpriv`) end with the exec, and an image whose real and effective users differ is one that
/// the loader does not load us into.
pub(super) fn is_denied(path: &CStr, access: c_int) -> bool {
    let call = [path.as_ptr() as usize, access as usize, 0, 0, 0, 0];
    // SAFETY: the path ends with zero.
    let result = unsafe { sys::syscall6(libc::SYS_access, call) };
    // Any other failure says nothing about the image.
    matches!(
        -result as c_int,
        libc::EACCES | libc::EPERM | libc::ENOENT | libc::ENOTDIR | libc::ELOOP
    )
}

/// Calls `real` with a copy of `list` that says what `carry` tells; with `list` itself when there
/// is no memory for a copy.
unsafe fn with_environment(list: List, carry: Carry<'_>, real: &impl Fn(List) -> c_int) -> c_int {
    // SAFETY: as for the caller.
    let count = unsafe { environment::entries(list) }.count() + ADDED_MAX + 1;
    // SAFETY: as for the caller.
    let text_bytes = unsafe { environment::text_bytes(list) };
    if count <= PLACES_ON_STACK && text_bytes <= TEXT_ON_STACK {
        let mut places = [ptr::null(); PLACES_ON_STACK];
        let mut text = [0; TEXT_ON_STACK];
        // SAFETY: as for the caller; the copy lives until `real` returns.
        let is_built =
            unsafe { environment::build(list, carry, &mut places, &mut Text::new(&mut text)) };
        return real(if is_built { places.as_ptr() } else { list });
    }
    let places_bytes = count * size_of::<*const c_char>();
    let scratch = thread::scratch(places_bytes + text_bytes);
    let Some(memory) = scratch else {
        return real(list);
    };
    // SAFETY: page-aligned memory of the length that was asked for, ours alone.
    let places = unsafe { core::slice::from_raw_parts_mut(memory.cast(), count) };
    // SAFETY: the part behind the places.
    let start = unsafe { memory.add(places_bytes) };
    // SAFETY: as above.
    let text = unsafe { core::slice::from_raw_parts_mut(start, text_bytes) };
    // SAFETY: as above.
    let is_built = unsafe { environment::build(list, carry, places, &mut Text::new(text)) };
    real(if is_built { places.as_ptr() } else { list })
}

/// What a real function that is missing returns.
fn missing() -> c_int {
    next::set_errno(libc::ENOSYS);
    -1
}

pub(super) unsafe fn execve_with(path: *const c_char, arguments: List, list: List) -> c_int {
    type Execve = unsafe extern "C" fn(*const c_char, List, List) -> c_int;
    // SAFETY: the type is that of execve.
    let pointer = unsafe { next::EXECVE.pointer::<Execve>() };
    let real = |list| match pointer {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(path, arguments, list) },
        None => missing(),
    };
    // SAFETY: the caller's own call.
    unsafe {
        start(
            Image::At(libc::AT_FDCWD, path),
            arguments,
            list,
            Fate::Replaced,
            real,
        )
    }
}

pub(super) unsafe fn execvpe_with(file: *const c_char, arguments: List, list: List) -> c_int {
    type Execvpe = unsafe extern "C" fn(*const c_char, List, List) -> c_int;
    // SAFETY: the type is that of execvpe.
    let pointer = unsafe { next::EXECVPE.pointer::<Execvpe>() };
    let real = |list| match pointer {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(file, arguments, list) },
        None => missing(),
    };
    // SAFETY: the caller's own call.
    unsafe { start(Image::Named(file), arguments, list, Fate::Replaced, real) }
}

/// Interposed `execve`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn execve(path: *const c_char, arguments: List, list: List) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { execve_with(path, arguments, list) }
}

/// Interposed `execv`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn execv(path: *const c_char, arguments: List) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { execve_with(path, arguments, environment::own()) }
}

/// Interposed `execvp`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn execvp(file: *const c_char, arguments: List) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { execvpe_with(file, arguments, environment::own()) }
}

/// Interposed `execvpe`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn execvpe(file: *const c_char, arguments: List, list: List) -> c_int {
    // SAFETY: the caller's own call.
    unsafe { execvpe_with(file, arguments, list) }
}

/// Interposed `fexecve`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn fexecve(fd: c_int, arguments: List, list: List) -> c_int {
    type Fexecve = unsafe extern "C" fn(c_int, List, List) -> c_int;
    // SAFETY: the type is that of fexecve.
    let pointer = unsafe { next::FEXECVE.pointer::<Fexecve>() };
    let real = |list| match pointer {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(fd, arguments, list) },
        None => missing(),
    };
    // SAFETY: the caller's own call.
    unsafe { start(Image::Open(fd), arguments, list, Fate::Replaced, real) }
}

/// Interposed `execveat`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    arguments: List,
    list: List,
    flags: c_int,
) -> c_int {
    // Not a call to look up: older C libraries lack it.
    let real = |list: List| {
        let call = [
            folder as usize,
            path as usize,
            arguments as usize,
            list as usize,
            flags as usize,
            0,
        ];
        // SAFETY: the caller's own call.
        let result = unsafe { sys::passed_on(libc::SYS_execveat, call) };
        next::set_errno(-result as c_int);
        -1
    };
    // SAFETY: the first byte of a text that can be read.
    let is_empty = || Readable::new().text(path) && unsafe { path.read() } == 0;
    let is_descriptor = flags & libc::AT_EMPTY_PATH != 0 && (path.is_null() || is_empty());
    let image = if is_descriptor {
        Image::Open(folder)
    } else {
        Image::At(folder, path)
    };
    // SAFETY: the caller's own call.
    unsafe { start(image, arguments, list, Fate::Replaced, real) }
}

type Spawn = unsafe extern "C" fn(
    *mut libc::pid_t,
    *const c_char,
    *const libc::posix_spawn_file_actions_t,
    *const libc::posix_spawnattr_t,
    List,
    List,
) -> c_int;

/// Interposed `posix_spawn`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn posix_spawn(
    pid: *mut libc::pid_t,
    path: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    arguments: List,
    list: List,
) -> c_int {
    // SAFETY: the type is that of posix_spawn.
    let pointer = unsafe { next::POSIX_SPAWN.pointer::<Spawn>() };
    let real = |list| match pointer {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(pid, path, actions, attributes, arguments, list) },
        None => libc::ENOSYS,
    };
    // SAFETY: the caller's own call.
    unsafe {
        start(
            Image::At(libc::AT_FDCWD, path),
            arguments,
            list,
            Fate::Stays,
            real,
        )
    }
}

/// Interposed `posix_spawnp`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn posix_spawnp(
    pid: *mut libc::pid_t,
    file: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    arguments: List,
    list: List,
) -> c_int {
    // SAFETY: the type is that of posix_spawnp.
    let pointer = unsafe { next::POSIX_SPAWNP.pointer::<Spawn>() };
    let real = |list| match pointer {
        // SAFETY: the caller's own call.
        Some(real) => unsafe { real(pid, file, actions, attributes, arguments, list) },
        None => libc::ENOSYS,
    };
    // SAFETY: the caller's own call.
    unsafe { start(Image::Named(file), arguments, list, Fate::Stays, real) }
}
