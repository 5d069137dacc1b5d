//! Memory that the interpreter uses again without freeing it: for some types it keeps the memory of
//! dead objects (lists, tuples, dictionaries, floats, ...) for the next ones, and no allocator sees
//! that. When it was asked for (`--py-reuse`), the interpreter tells of each new object, from 3.13
//! on: those whose memory was not just allocated are recorded as reuses of their block. 3.9 tells
//! of them while its own `tracemalloc` traces (see `hooks::new_reference`).
//!
//! The interpreter has one place for a function that it tells (`PyRefTracer_SetTracer`), which its
//! own `tracemalloc` uses too. Ours goes in front of whatever stands there, and tells that: looked
//! after at each allocation of an object, since the other may come and go.

use super::allocators::Inside;
use super::layout::{self, load};
use crate::caller::Caller;
use crate::recording::{self, operation};
use crate::thread::Thread;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

/// The interpreter's `PyRefTracer`: object, what happens to it, the word given with the function.
type Tracer = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void) -> c_int;
type GetTracer = unsafe extern "C" fn(*mut *mut c_void) -> Option<Tracer>;
type SetTracer = unsafe extern "C" fn(Option<Tracer>, *mut c_void) -> c_int;

/// An object begins (`PyRefTracer_CREATE`).
const CREATED: c_int = 0;
/// Another function takes our place (`PyRefTracer_TRACKER_REMOVED`, from 3.15 on).
const REPLACED: c_int = 2;

/// Nobody tells of objects, or reuses are not wanted.
const NOBODY: u32 = 0;
/// The interpreter tells the function that stands in its place for one.
const TRACER: u32 = 1;
/// It tells its `tracemalloc`.
const TRACEMALLOC: u32 = 2;
static TOLD_BY: AtomicU32 = AtomicU32::new(NOBODY);

/// The interpreter's functions of these names, for [`TRACER`].
static GET: AtomicU64 = AtomicU64::new(0);
static SET: AtomicU64 = AtomicU64::new(0);
/// The function that stood where ours stands, 0: none, and its word. Changed and read with the
/// interpreter's lock held.
static BEHIND: AtomicU64 = AtomicU64::new(0);
static BEHIND_WORD: AtomicU64 = AtomicU64::new(0);

/// `get` and `set` are the addresses of `PyRefTracer_GetTracer` and `PyRefTracer_SetTracer`, 0: it
/// has none; `new_reference` is that of `_PyTraceMalloc_NewReference`, which stands for them as
/// long as `tracemalloc` traces. False: it does not tell of all objects.
pub fn start(get: usize, set: usize, new_reference: usize) -> bool {
    let is_told = get != 0 && set != 0;
    let told_by = match (is_told, new_reference) {
        (true, _) => TRACER,
        (false, 0) => NOBODY,
        (false, _) => TRACEMALLOC,
    };
    SET.store(set as u64, Ordering::Relaxed);
    GET.store(get as u64, Ordering::Relaxed);
    // Release: pairs with the Acquire of `are_told`.
    TOLD_BY.store(told_by, Ordering::Release);
    is_told
}

/// True when the interpreter is to tell of its objects.
#[inline(always)]
pub fn are_told() -> bool {
    TOLD_BY.load(Ordering::Acquire) != NOBODY
}

/// The interpreter tells its `tracemalloc` of a new object.
///
/// # Safety
/// An object of the interpreter's; the caller is alive.
pub unsafe fn heard(object: *mut c_void, caller: Caller) {
    if TOLD_BY.load(Ordering::Acquire) == TRACEMALLOC {
        // SAFETY: by the caller's contract.
        unsafe { note(object as usize, caller) };
    }
}

/// An object gets `block`, by an allocation. Looks whether ours is the function that the
/// interpreter tells.
pub fn allocated(mut thread: NonNull<Thread>, block: *mut c_void) {
    // SAFETY: the calling thread's own state.
    unsafe { thread.as_mut() }.new_object = block as usize;
    if TOLD_BY.load(Ordering::Relaxed) != TRACER || super::thread_state(true) == 0 {
        // Nothing stands in a place of its own; or it has not started yet, or somebody allocates
        // without the interpreter's lock.
        return;
    }
    let [get, set] = [&GET, &SET].map(|place| place.load(Ordering::Relaxed) as usize);
    // SAFETY: the address of a function of this type, see `start`.
    let get: GetTracer = unsafe { core::mem::transmute(get) };
    // SAFETY: as before.
    let set: SetTracer = unsafe { core::mem::transmute(set) };
    let mut word = core::ptr::null_mut();
    // SAFETY: the caller has the interpreter's lock.
    let found = unsafe { get(&raw mut word) };
    let address = found.map_or(0, |tracer| tracer as *const () as usize);
    if address == created as *const () as usize {
        return;
    }
    BEHIND.store(address as u64, Ordering::Relaxed);
    BEHIND_WORD.store(word as u64, Ordering::Relaxed);
    // SAFETY: as before; the function stays.
    let _set = unsafe { set(Some(created), core::ptr::null_mut()) };
}

/// What the interpreter tells: as the stubs of the allocators.
#[unsafe(naked)]
unsafe extern "C" fn created(object: *mut c_void, event: c_int, word: *mut c_void) -> c_int {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rdx, rsp",
        "mov rcx, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym created_body,
    )
}

unsafe extern "C" fn created_body(
    object: *mut c_void,
    event: c_int,
    sp: *const usize,
    frame: usize,
) -> c_int {
    if event == CREATED {
        // SAFETY: the interpreter tells of an object that lives.
        unsafe { note(object as usize, Caller { sp, frame }) };
    }
    let behind = BEHIND.load(Ordering::Relaxed) as usize;
    let word = BEHIND_WORD.load(Ordering::Relaxed) as *mut c_void;
    if event == REPLACED {
        BEHIND.store(0, Ordering::Relaxed);
    }
    if behind == 0 {
        return 0;
    }
    // SAFETY: the function that stood in our place, of this type.
    let behind: Tracer = unsafe { core::mem::transmute(behind) };
    // SAFETY: told what it would have been told there.
    unsafe { behind(object, event, word) }
}

/// Records that the memory of `object` belongs to `caller` now, unless it was just allocated.
///
/// # Safety
/// An object of the interpreter's; the caller is alive.
unsafe fn note(object: usize, caller: Caller) {
    // SAFETY: an object begins with a count and its type.
    let kind = unsafe { load(object + size_of::<usize>()) };
    // SAFETY: a field of every type.
    let flags = unsafe { load(kind + layout::TYPE_FLAGS) };
    let block = object.wrapping_sub(bytes_before(flags));
    let Some(inside) = Inside::enter(caller) else {
        return;
    };
    let mut thread = inside.leave();
    // SAFETY: the calling thread's own state.
    let state = unsafe { thread.as_mut() };
    if state.new_object == block {
        state.new_object = 0;
        return;
    }
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe {
        recording::happened(thread, operation::PYTHON_REUSE, caller, |event| {
            event.old_address = block as u64;
        });
    }
}

/// Bytes between the start of a block and the object in it, by the flags of its type: the
/// interpreter's `_PyType_PreHeaderSize`.
fn bytes_before(flags: usize) -> usize {
    const HAS_GARBAGE_HEADER: usize = 1 << 14;
    const HAS_DICTIONARY_OR_WEAK_REFERENCES: usize = 1 << 3 | 1 << 4;
    let has = |flag: usize| usize::from(flags & flag != 0);
    16 * (has(HAS_GARBAGE_HEADER) + has(HAS_DICTIONARY_OR_WEAK_REFERENCES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_stand_behind_their_headers() {
        assert_eq!(bytes_before(0), 0);
        assert_eq!(bytes_before(1 << 14 | 1 << 9), 16);
        assert_eq!(bytes_before(1 << 14 | 1 << 4), 32);
        assert_eq!(bytes_before(1 << 14 | 1 << 4 | 1 << 3), 32);
    }
}
