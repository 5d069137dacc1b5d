//! CPython in this process: found by its exported functions, its allocators wrapped
//! ([`allocators`]), its frames read where they are ([`layout`], [`codes`], [`texts`]; the walk
//! itself is the stack's, `stack::python`). Nothing of the interpreter is called on an event but
//! the two functions that say which thread state the calling thread has, and nothing of it is
//! changed but its tables of allocators and the function that ends code objects.
//!
//! What is not known (a version, a build without the global lock, frames that do not look as they
//! should) is recorded without Python frames.

pub mod allocators;
pub mod codes;
pub mod layout;
pub mod texts;

use crate::{process, thread};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use heaptape_session::layout::options;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use layout::{Layout, Types, load};

/// No interpreter was found, or its frames are not wanted or not known.
const NONE: u32 = 0;
/// There is one, and no frame of it was looked at yet.
const UNTRIED: u32 = 1;
/// Its frames look as the table says.
const TRUSTED: u32 = 2;

/// What is known of the interpreter's frames.
static FRAMES: AtomicU32 = AtomicU32::new(NONE);
/// The interpreter's function that says whether it has started; 0: there is none to wait for.
static IS_INITIALIZED: AtomicU64 = AtomicU64::new(0);

struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: written once before FRAMES says that there is an interpreter, only shared afterwards.
unsafe impl<T> Sync for Place<T> {}

/// What [`FRAMES`] stands for.
#[derive(Debug)]
struct Interpreter {
    layout: Layout,
    types: Types,
    /// First and last address of the function that runs frames; for interpreters whose frames do
    /// not tell where they run.
    eval: (usize, usize),
}

static INTERPRETER: Place<Interpreter> = Place(UnsafeCell::new(MaybeUninit::uninit()));
/// Functions of the interpreter: the thread state that holds the lock, and the calling thread's.
static HOLDER: AtomicU64 = AtomicU64::new(0);
static OWN: AtomicU64 = AtomicU64::new(0);

type StateFunction = unsafe extern "C" fn() -> usize;

/// Address of an exported function or variable; 0: there is none.
fn symbol(name: &CStr) -> usize {
    // SAFETY: a name that ends with zero; nothing is loaded for it.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) as usize }
}

/// Looks for an interpreter in this process and wraps its allocators. Called when the library is
/// loaded.
pub fn start() {
    if !process::is_recording() || process::has(options::NO_PYTHON) {
        return;
    }
    let [get, set] = [c"PyMem_GetAllocator", c"PyMem_SetAllocator"].map(symbol);
    if get == 0 || set == 0 {
        return;
    }
    if !process::has(options::NO_PYTHON_STACKS) {
        find_frames();
    }
    process::note_nested_allocators();
    // SAFETY: the interpreter's own functions of these names.
    unsafe { allocators::start(get, set) };
    IS_INITIALIZED.store(symbol(c"Py_IsInitialized") as u64, Ordering::Release);
}

/// Learns how the interpreter's frames are read.
fn find_frames() {
    let types = Types {
        code: symbol(c"PyCode_Type"),
        text: symbol(c"PyUnicode_Type"),
        bytes: symbol(c"PyBytes_Type"),
    };
    let holder = match symbol(c"_PyThreadState_UncheckedGet") {
        0 => symbol(c"PyThreadState_GetUnchecked"),
        found => found,
    };
    let own = symbol(c"PyGILState_GetThisThreadState");
    if [types.code, types.text, types.bytes, holder, own].contains(&0) {
        return;
    }
    let Some(version) = version() else {
        return;
    };
    // SAFETY: the symbol is the interpreter's own structure.
    let Ok(layout) = (unsafe { Layout::of(version, symbol(c"_PyRuntime")) }) else {
        return;
    };
    let eval = symbol(c"_PyEval_EvalFrameDefault");
    let eval_bytes = crate::objects::symbol_bytes(eval) as usize;
    let interpreter = Interpreter {
        layout,
        types,
        eval: (eval, eval + eval_bytes),
    };
    // SAFETY: nobody reads the place before FRAMES says that something is there.
    unsafe { (*INTERPRETER.0.get()).write(interpreter) };
    HOLDER.store(holder as u64, Ordering::Relaxed);
    OWN.store(own as u64, Ordering::Relaxed);
    // SAFETY: the function that ends code objects, in their type, which is in writable memory.
    unsafe { codes::watch(types.code + layout::TYPE_DEALLOC) };
    FRAMES.store(UNTRIED, Ordering::Release);
}

/// The interpreter's version, 3.9 as 0x0309.
fn version() -> Option<u32> {
    let number = symbol(c"Py_Version");
    if number != 0 {
        // SAFETY: a variable of the interpreter's, 8 bytes long.
        return Some((unsafe { load(number) } as u32) >> 16);
    }
    let function = symbol(c"Py_GetVersion");
    if function == 0 {
        return None;
    }
    // SAFETY: the interpreter's function of that name has this type.
    let function: unsafe extern "C" fn() -> *const c_char =
        unsafe { core::mem::transmute(function) };
    // SAFETY: it may be called at any time.
    let text = unsafe { function() };
    if text.is_null() {
        return None;
    }
    // SAFETY: a C string that stays.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    let mut numbers = text.split(|&byte| !byte.is_ascii_digit());
    let mut next = || {
        let digits = numbers.next()?;
        digits.iter().try_fold(0u32, |number, &digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
        })
    };
    Some(next()? << 8 | next()?)
}

/// The interpreter, when its frames are to be recorded.
#[inline(always)]
fn interpreter() -> Option<&'static Interpreter> {
    if FRAMES.load(Ordering::Acquire) == NONE {
        return None;
    }
    let place = INTERPRETER.0.get();
    // SAFETY: written before FRAMES said that it is there, and only shared since.
    let place = unsafe { &*place };
    // SAFETY: as before.
    Some(unsafe { place.assume_init_ref() })
}

/// True when there is an interpreter whose frames are recorded.
#[inline(always)]
#[must_use]
pub fn has_frames() -> bool {
    FRAMES.load(Ordering::Relaxed) != NONE
}

/// How frames are read. Only behind [`has_frames`].
#[inline(always)]
#[must_use]
pub fn frames() -> Option<&'static Layout> {
    interpreter().map(|interpreter| &interpreter.layout)
}

/// True when `pc` lies in the function that runs frames.
#[must_use]
pub fn is_eval(pc: usize) -> bool {
    interpreter().is_some_and(|interpreter| {
        let (start, end) = interpreter.eval;
        start < pc && pc <= end
    })
}

/// Address of the type of code objects.
#[must_use]
pub fn code_type() -> usize {
    interpreter().map_or(0, |interpreter| interpreter.types.code)
}

/// The calling thread's thread state; 0: it has none, or none that can be trusted. `holds_lock`:
/// the interpreter's contract says that the caller has its lock.
#[inline(always)]
#[must_use]
pub fn thread_state(holds_lock: bool) -> usize {
    let Some(interpreter) = interpreter() else {
        return 0;
    };
    let function = if holds_lock { &HOLDER } else { &OWN };
    let function = function.load(Ordering::Relaxed) as usize;
    // SAFETY: stored with the interpreter, and of this type.
    let function: StateFunction = unsafe { core::mem::transmute(function) };
    // SAFETY: both functions only read, and may be called at any time.
    let state = unsafe { function() };
    if state == 0 {
        return 0;
    }
    // An extension may break the contract: then the state is another thread's.
    // SAFETY: a field of the state.
    let owner = unsafe { load(state + interpreter.layout.state_thread) };
    if owner == thread::control_block() {
        state
    } else {
        0
    }
}

/// Whether this frame, the current one of the calling thread, may be read by the table. The first
/// ones are looked at.
#[inline(always)]
#[must_use]
pub fn may_read(frame: usize) -> bool {
    FRAMES.load(Ordering::Relaxed) == TRUSTED || try_frame(frame)
}

#[cold]
#[inline(never)]
fn try_frame(frame: usize) -> bool {
    let Some(interpreter) = interpreter() else {
        return false;
    };
    match interpreter.layout.fits(frame, &interpreter.types) {
        Some(true) => {
            FRAMES.store(TRUSTED, Ordering::Relaxed);
            true
        }
        Some(false) => {
            FRAMES.store(NONE, Ordering::Relaxed);
            false
        }
        None => false,
    }
}

/// Looks whether the interpreter's configuration has put allocators in place of ours, as it may
/// until it has started. Called by the hooks of `malloc`, outside of the recorder. True when it
/// had: then this very call is one that such an allocator makes, which ours did not see.
#[inline(always)]
#[must_use]
pub fn settle() -> bool {
    let function = IS_INITIALIZED.load(Ordering::Acquire) as usize;
    function != 0 && settle_allocators(function)
}

#[cold]
#[inline(never)]
fn settle_allocators(is_initialized: usize) -> bool {
    // SAFETY: the interpreter's function of that name has this type.
    let is_initialized: unsafe extern "C" fn() -> c_int =
        unsafe { core::mem::transmute(is_initialized) };
    // SAFETY: it only reads, and may be called at any time.
    if unsafe { is_initialized() } != 0 {
        return false;
    }
    // SAFETY: started before the function was known here.
    unsafe { allocators::stand_in_front() }
}

/// In a forked child, whose tape knows no code object yet.
pub fn forget() {
    codes::forget();
}
