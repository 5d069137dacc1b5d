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
pub mod reuses;
pub mod texts;

use crate::modules::PathBuffer;
use crate::modules::elf::Headers;
use crate::modules::exports::Exports;
use crate::modules::find::{self, Object};
use crate::{lineage, modules, next, objects, process, thread};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use heaptape_session::layout::options;
use heaptape_session::reasons;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use layout::{Layout, Refusal, Types, load};

/// No interpreter was found, or its frames are not wanted or not known.
const NONE: u32 = 0;
/// There is one, and no frame of it was looked at yet.
const UNTRIED: u32 = 1;
/// Its frames look as the table says.
const TRUSTED: u32 = 2;

/// What is known of the interpreter's frames.
static FRAMES: AtomicU32 = AtomicU32::new(NONE);

/// No interpreter was met.
const ABSENT: u32 = 0;
/// One was met in the middle of an event, and is to be taken up before the next one.
const MET: u32 = 1;
/// A thread takes it up.
const STARTING: u32 = 2;
/// Its allocators are wrapped.
const STARTED: u32 = 3;

/// How far the interpreter was taken up.
static STAGE: AtomicU32 = AtomicU32::new(ABSENT);

/// A [`Refusal`] that was not told yet; 0: none.
static REFUSAL: AtomicU32 = AtomicU32::new(0);
/// Not 0: the interpreter's object was told to stay.
static IS_STAYING: AtomicU32 = AtomicU32::new(0);

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

/// What the interpreter exports and we need, in the order of [`Name`].
const NAMES: [&[u8]; 16] = [
    b"PyMem_GetAllocator",
    b"PyMem_SetAllocator",
    b"Py_IsInitialized",
    b"PyCode_Type",
    b"PyUnicode_Type",
    b"PyBytes_Type",
    b"_PyThreadState_UncheckedGet",
    b"PyThreadState_GetUnchecked",
    b"PyGILState_GetThisThreadState",
    b"Py_Version",
    b"Py_GetVersion",
    b"_PyRuntime",
    b"PyRefTracer_SetTracer",
    b"PyRefTracer_GetTracer",
    b"_PyTraceMalloc_NewReference",
    b"_PyEval_EvalFrameDefault",
];

/// An index into [`NAMES`] and [`ADDRESSES`].
#[derive(Debug, Clone, Copy)]
enum Name {
    GetAllocator,
    SetAllocator,
    IsInitialized,
    CodeType,
    TextType,
    BytesType,
    Holder,
    HolderSince13,
    Own,
    Version,
    GetVersion,
    Runtime,
    SetTracer,
    GetTracer,
    NewReference,
    Eval,
}

static ADDRESSES: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
/// Length of the function that runs frames.
static EVAL_BYTES: AtomicU64 = AtomicU64::new(0);

/// Address of an export; 0: there is none.
fn address(name: Name) -> usize {
    let place = ADDRESSES.get(name as usize);
    place.map_or(0, |place| place.load(Ordering::Relaxed) as usize)
}

/// Looks for an interpreter in this process and wraps its allocators. Called when the library is
/// loaded.
pub fn start() {
    if !is_wanted() {
        return;
    }
    // Asking the loader for a name that is not there would leave its message to the program.
    // SAFETY: the function has the type that is asked for, and takes no argument.
    unsafe { libc::dl_iterate_phdr(Some(look_at), core::ptr::null_mut()) };
    let _was_replaced = settle();
}

unsafe extern "C" fn look_at(
    info: *mut libc::dl_phdr_info,
    _bytes: usize,
    _argument: *mut c_void,
) -> c_int {
    // SAFETY: the loader gives the description of an object that is loaded.
    let object = find::described_by(unsafe { &*info });
    met(&object, Headers::of(&object));
    c_int::from(STAGE.load(Ordering::Relaxed) != ABSENT)
}

fn is_wanted() -> bool {
    process::is_recording() && !process::has(options::NO_PYTHON)
}

/// An object was met for the first time, perhaps in the middle of an event: when it is an
/// interpreter, the next call of an allocation function takes it up.
pub fn met(object: &Object, headers: Option<Headers<'_>>) {
    if STAGE.load(Ordering::Relaxed) != ABSENT || !is_wanted() {
        return;
    }
    let exports = headers.and_then(|headers| Exports::of(object, headers));
    let Some(exports) =
        exports.filter(|exports| exports.find(NAMES[Name::SetAllocator as usize]).is_some())
    else {
        return;
    };
    for (place, name) in ADDRESSES.iter().zip(NAMES) {
        let export = exports.find(name);
        place.store(
            export.map_or(0, |export| export.address) as u64,
            Ordering::Relaxed,
        );
        EVAL_BYTES.store(
            export.map_or(0, |export| export.bytes) as u64,
            Ordering::Relaxed,
        );
    }
    process::note_nested_allocators();
    // Release: pairs with the Acquire of `take_up`. When two threads meet it at once, both have
    // written the same.
    let _others = STAGE.compare_exchange(ABSENT, MET, Ordering::Release, Ordering::Relaxed);
}

/// Wraps the interpreter's allocators and learns how its frames are read.
#[cold]
#[inline(never)]
fn take_up() {
    let claim = STAGE.compare_exchange(MET, STARTING, Ordering::Acquire, Ordering::Relaxed);
    if claim.is_err() {
        return;
    }
    let (get, set) = (address(Name::GetAllocator), address(Name::SetAllocator));
    if get != 0 && set != 0 {
        if !process::has(options::NO_PYTHON_STACKS) {
            find_frames();
        }
        // SAFETY: the interpreter's own functions of these names.
        unsafe { allocators::start(get, set) };
    }
    STAGE.store(STARTED, Ordering::Release);
}

/// Learns how the interpreter's frames are read, or notes why they are not.
fn find_frames() {
    if let Err(refusal) = try_to_find_frames() {
        refuse(refusal);
    }
}

/// The frames are not recorded: to be told as soon as no event is under way.
fn refuse(refusal: Refusal) {
    FRAMES.store(NONE, Ordering::Relaxed);
    REFUSAL.store(refusal as u32, Ordering::Relaxed);
}

/// Tells why the frames are not recorded.
#[cold]
fn tell(refusal: u32) {
    let reason = match refusal {
        known if known == Refusal::FreeThreaded as u32 => reasons::PYTHON_FREE_THREADED,
        known if known == Refusal::Version as u32 => reasons::PYTHON_VERSION,
        known if known == Refusal::Reuses as u32 => reasons::PYTHON_NO_REUSES,
        _ => reasons::PYTHON_LAYOUT,
    };
    let mut path = PathBuffer::default();
    lineage::note_not_recorded(reason, modules::executable(&mut path));
}

fn try_to_find_frames() -> Result<(), Refusal> {
    let types = Types {
        code: address(Name::CodeType),
        text: address(Name::TextType),
        bytes: address(Name::BytesType),
    };
    let holder = match address(Name::Holder) {
        0 => address(Name::HolderSince13),
        found => found,
    };
    let own = address(Name::Own);
    let version = version().ok_or(Refusal::Version)?;
    // SAFETY: the export is the interpreter's own structure.
    let layout = unsafe { Layout::of(version, address(Name::Runtime)) }?;
    if [types.code, types.text, types.bytes, holder, own].contains(&0) {
        return Err(Refusal::Layout);
    }
    let eval = address(Name::Eval);
    let eval_bytes = EVAL_BYTES.load(Ordering::Relaxed) as usize;
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
    if process::has(options::PYTHON_REUSES) {
        let names = [Name::GetTracer, Name::SetTracer, Name::NewReference];
        let [get, set, new_reference] = names.map(address);
        if !reuses::start(get, set, new_reference) {
            REFUSAL.store(Refusal::Reuses as u32, Ordering::Relaxed);
        }
    }
    FRAMES.store(UNTRIED, Ordering::Release);
    Ok(())
}

/// The interpreter's version, 3.9 as 0x0309.
fn version() -> Option<u32> {
    let number = address(Name::Version);
    if number != 0 {
        // SAFETY: a variable of the interpreter's, 8 bytes long.
        return Some((unsafe { load(number) } as u32) >> 16);
    }
    let function = address(Name::GetVersion);
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
    let mut numbers = text.split(|byte| !byte.is_ascii_digit());
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

/// The current frame of the calling thread's state; 0: none, or none that may be read by the table.
/// The first ones are looked at.
#[inline(always)]
#[must_use]
pub fn current_frame(layout: &Layout, state: usize) -> usize {
    if state == 0 {
        0
    } else if FRAMES.load(Ordering::Relaxed) == TRUSTED {
        // SAFETY: the calling thread's own state, and the layout was seen to be right.
        unsafe { layout.top(state) }
    } else {
        try_state(layout, state)
    }
}

#[cold]
#[inline(never)]
fn try_state(layout: &Layout, state: usize) -> usize {
    match layout.peek_top(state) {
        Some(frame) if frame != 0 && try_frame(frame) => frame,
        Some(_) => 0,
        None => {
            refuse(Refusal::Layout);
            0
        }
    }
}

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
            refuse(Refusal::Layout);
            false
        }
        None => false,
    }
}

/// Takes up an interpreter that was met; looks whether its configuration has put allocators in
/// place of ours, as it may until it has started. Called by the hooks of `malloc`, outside of the
/// recorder. True when it had, and one that hands out other blocks than it gets: then this very
/// call is one that such an allocator makes, which ours did not see.
#[inline(always)]
#[must_use]
pub fn settle() -> bool {
    STAGE.load(Ordering::Relaxed) != ABSENT && settle_allocators()
}

#[cold]
#[inline(never)]
fn settle_allocators() -> bool {
    let refusal = REFUSAL.swap(0, Ordering::Relaxed);
    if refusal != 0 {
        tell(refusal);
    }
    match STAGE.load(Ordering::Acquire) {
        MET => take_up(),
        STARTED if !is_initialized() => {
            // SAFETY: started.
            return unsafe { allocators::stand_in_front() };
        }
        _ => {}
    }
    false
}

/// True when the interpreter has started; until then its configuration may change.
fn is_initialized() -> bool {
    let function = address(Name::IsInitialized);
    if function == 0 {
        return true;
    }
    // SAFETY: the interpreter's function of that name has this type.
    let function: unsafe extern "C" fn() -> c_int = unsafe { core::mem::transmute(function) };
    // SAFETY: it only reads, and may be called at any time.
    unsafe { function() != 0 }
}

/// Called before something is unloaded: an interpreter that was taken up stays, since functions of
/// ours and of its own lead to each other.
pub fn stay() {
    let place = address(Name::SetAllocator);
    if place == 0 || IS_STAYING.swap(1, Ordering::Relaxed) != 0 {
        return;
    }
    let object = objects::object_of(place);
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // SAFETY: the type is that of dlopen.
    if let Some(open) = unsafe { next::DLOPEN.pointer::<Open>() } {
        let flags = libc::RTLD_NOLOAD | libc::RTLD_NODELETE | libc::RTLD_LAZY;
        // SAFETY: the loader's own name of an object that is loaded; null is the program itself.
        unsafe { open(object.dli_fname, flags) };
    }
}

/// In a forked child, whose tape knows no code object yet.
pub fn forget() {
    codes::forget();
}
