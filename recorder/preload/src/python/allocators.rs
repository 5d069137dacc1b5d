//! The interpreter's three allocators (PEP 445: raw, mem and obj), with ours in front of each: what
//! they hand out is recorded block by block, and what they take from `malloc` for it is theirs.
//!
//! An allocator is a table of four functions and a word for them. The word that ours get is a
//! `Layer`: which domain it is, and the allocator behind it. The interpreter's configuration may
//! put its own in our place (`-X dev`, `PYTHONMALLOC`); then a new layer goes in front of that.
//! Earlier ones stay, for somebody may have kept them; a call that comes through two is recorded
//! once, by the outer one.

use super::layout::peek;
use super::reuses;
use crate::caller::Caller;
use crate::recording::{self, Change, operation};
use crate::thread::Thread;
use crate::{process, thread};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use heaptape_session::record::RingEvent;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

type Malloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Calloc = unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// The interpreter's `PyMemAllocatorEx`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Allocator {
    context: *mut c_void,
    malloc: Malloc,
    calloc: Calloc,
    realloc: Realloc,
    free: Free,
}

type GetAllocator = unsafe extern "C" fn(c_int, *mut Allocator);
type SetAllocator = unsafe extern "C" fn(c_int, *const Allocator);

/// What a domain's events are.
#[derive(Debug, Clone, Copy)]
struct Operations {
    malloc: u8,
    calloc: u8,
    realloc_new: u8,
    realloc: u8,
    free: u8,
}

const DOMAINS: usize = 3;
/// In the order of the interpreter's numbers.
const OPERATIONS: [Operations; DOMAINS] = [
    Operations {
        malloc: operation::RAW_MALLOC,
        calloc: operation::RAW_CALLOC,
        realloc_new: operation::RAW_REALLOC_NEW,
        realloc: operation::RAW_REALLOC,
        free: operation::RAW_FREE,
    },
    Operations {
        malloc: operation::MEM_MALLOC,
        calloc: operation::MEM_CALLOC,
        realloc_new: operation::MEM_REALLOC_NEW,
        realloc: operation::MEM_REALLOC,
        free: operation::MEM_FREE,
    },
    Operations {
        malloc: operation::OBJ_MALLOC,
        calloc: operation::OBJ_CALLOC,
        realloc_new: operation::OBJ_REALLOC_NEW,
        realloc: operation::OBJ_REALLOC,
        free: operation::OBJ_FREE,
    },
];

/// Ours in front of one allocator.
#[derive(Debug)]
struct Layer {
    behind: Allocator,
    operations: Operations,
}

/// More layers than interpreters ever put in front of each other.
const LAYERS: usize = 24;

struct Layers([UnsafeCell<MaybeUninit<Layer>>; LAYERS]);

// SAFETY: each layer is written by the one that has claimed its number, before the interpreter gets
// its address, and only shared afterwards.
unsafe impl Sync for Layers {}

static LAYERS_USED: AtomicU32 = AtomicU32::new(0);
static PLACES: Layers = Layers([const { UnsafeCell::new(MaybeUninit::uninit()) }; LAYERS]);
static GET: AtomicU64 = AtomicU64::new(0);
static SET: AtomicU64 = AtomicU64::new(0);

/// Puts ours in front of the interpreter's allocators. `get` and `set` are the addresses of
/// `PyMem_GetAllocator` and `PyMem_SetAllocator`.
///
/// # Safety
/// They are.
pub unsafe fn start(get: usize, set: usize) {
    GET.store(get as u64, Ordering::Relaxed);
    SET.store(set as u64, Ordering::Relaxed);
    // SAFETY: as for this function.
    let _were_missing = unsafe { stand_in_front() };
}

/// Looks whether ours are in front of all allocators, and puts them there where they are not. True
/// when one of these is no plain one: what it hands out is not what it gets.
///
/// # Safety
/// [`start`] was called.
pub unsafe fn stand_in_front() -> bool {
    let [get, set] = [&GET, &SET].map(|place| place.load(Ordering::Relaxed) as usize);
    // SAFETY: the address of a function of this type, by the contract of `start`.
    let get: GetAllocator = unsafe { core::mem::transmute(get) };
    // SAFETY: as before.
    let set: SetAllocator = unsafe { core::mem::transmute(set) };
    let mut was_special = false;
    for (domain, operations) in OPERATIONS.iter().enumerate() {
        let mut found = MaybeUninit::<Allocator>::zeroed();
        // SAFETY: the interpreter fills the structure in.
        unsafe { get(domain as c_int, found.as_mut_ptr()) };
        if is_ours(&found) {
            continue;
        }
        // SAFETY: filled in, and its functions are not null: see `is_ours`.
        let behind = unsafe { found.assume_init() };
        was_special |= !behind.context.is_null();
        let Some(layer) = new_layer(behind, *operations) else {
            break;
        };
        let ours = Allocator {
            context: layer.cast(),
            malloc,
            calloc,
            realloc,
            free,
        };
        // SAFETY: the interpreter copies the structure; the layer stays.
        unsafe { set(domain as c_int, &raw const ours) };
    }
    was_special
}

/// True when an allocator is ours, or leads to ours as `tracemalloc` does (its word is the address
/// of the allocator behind it), or is nothing that could be called.
fn is_ours(found: &MaybeUninit<Allocator>) -> bool {
    let words: *const [usize; 5] = found.as_ptr().cast();
    // SAFETY: zeroed, and the interpreter may have written five words.
    let [context, functions @ ..] = unsafe { words.read() };
    let ours = malloc as *const () as usize;
    functions.contains(&0)
        || functions.first() == Some(&ours)
        || peek(context.wrapping_add(size_of::<usize>())) == Some(ours)
}

fn new_layer(behind: Allocator, operations: Operations) -> Option<*mut Layer> {
    let number = LAYERS_USED.fetch_add(1, Ordering::Relaxed) as usize;
    let Some(place) = PLACES.0.get(number) else {
        LAYERS_USED.store(LAYERS as u32, Ordering::Relaxed);
        return None;
    };
    let layer = place.get().cast::<Layer>();
    // SAFETY: nobody else has this number.
    unsafe { layer.write(Layer { behind, operations }) };
    Some(layer)
}

/// As the stubs of the `malloc` family, and not exported.
macro_rules! stub {
    ($name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?,
     $sp:literal, $frame:literal, $body:path) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
            core::arch::naked_asm!(
                ".cfi_startproc",
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $frame, ", rbp"),
                "jmp {}",
                ".cfi_endproc",
                sym $body,
            )
        }
    };
}

stub!(malloc(context: *mut c_void, size: usize) -> *mut c_void, "rdx", "rcx", malloc_body);
stub!(calloc(context: *mut c_void, count: usize, size: usize) -> *mut c_void,
    "rcx", "r8", calloc_body);
stub!(realloc(context: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void,
    "rcx", "r8", realloc_body);
stub!(free(context: *mut c_void, block: *mut c_void), "rdx", "rcx", free_body);

/// A call of ours, from before the allocator behind it is called until after.
pub(super) struct Inside {
    thread: NonNull<Thread>,
}

impl Inside {
    /// `None`: the call is not to be recorded, or is part of one that is.
    #[inline(always)]
    pub(super) fn enter(caller: Caller) -> Option<Self> {
        let thread = thread::admitted()?;
        // SAFETY: the calling thread's own state.
        let depth = unsafe { &mut (*thread.as_ptr()).depth };
        if *depth != 0 && !thread::is_stale(*depth, caller) {
            return None;
        }
        *depth = caller.sp as usize;
        Some(Self { thread })
    }

    #[inline(always)]
    pub(super) fn leave(self) -> NonNull<Thread> {
        // SAFETY: the calling thread's own state.
        unsafe { (*self.thread.as_ptr()).depth = 0 };
        self.thread
    }
}

#[inline(always)]
fn layer_of(context: *mut c_void) -> &'static Layer {
    // SAFETY: the interpreter gives our functions the word that came with them.
    unsafe { &*context.cast::<Layer>() }
}

#[inline(always)]
unsafe fn allocate(
    operation: u8,
    size: usize,
    caller: Caller,
    real: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some(inside) = Inside::enter(caller) else {
        return real();
    };
    let block = real();
    let thread = inside.leave();
    if !block.is_null() && process::wants(size) {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { recording::allocated::<false>(thread, operation, block, size, caller) };
    }
    if operation >= operation::OBJ_MALLOC && reuses::are_told() {
        reuses::allocated(thread, block);
    }
    block
}

unsafe extern "C" fn malloc_body(
    context: *mut c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let Layer { behind, operations } = layer_of(context);
    // SAFETY: the interpreter's own call.
    let real = || unsafe { (behind.malloc)(behind.context, size) };
    // SAFETY: the caller is alive.
    unsafe { allocate(operations.malloc, size, Caller { sp, frame }, real) }
}

unsafe extern "C" fn calloc_body(
    context: *mut c_void,
    count: usize,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let Layer { behind, operations } = layer_of(context);
    // SAFETY: the interpreter's own call.
    let real = || unsafe { (behind.calloc)(behind.context, count, size) };
    let bytes = count.wrapping_mul(size);
    // SAFETY: the caller is alive.
    unsafe { allocate(operations.calloc, bytes, Caller { sp, frame }, real) }
}

unsafe extern "C" fn free_body(
    context: *mut c_void,
    block: *mut c_void,
    sp: *const usize,
    frame: usize,
) {
    let Layer { behind, operations } = layer_of(context);
    let caller = Caller { sp, frame };
    let inside = if block.is_null() {
        None
    } else {
        Inside::enter(caller)
    };
    if let Some(inside) = &inside {
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { recording::freed::<false>(inside.thread, operations.free, block, caller) };
    }
    // SAFETY: the interpreter's own call.
    unsafe { (behind.free)(behind.context, block) };
    if let Some(inside) = inside {
        inside.leave();
    }
}

unsafe extern "C" fn realloc_body(
    context: *mut c_void,
    block: *mut c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) -> *mut c_void {
    let Layer { behind, operations } = layer_of(context);
    let caller = Caller { sp, frame };
    // SAFETY: the interpreter's own call.
    let real = || unsafe { (behind.realloc)(behind.context, block, size) };
    if block.is_null() {
        // SAFETY: the caller is alive.
        return unsafe { allocate(operations.realloc_new, size, caller, real) };
    }
    let Some(inside) = Inside::enter(caller) else {
        return real();
    };
    // SAFETY: the thread is the calling one, the caller alive.
    let change = unsafe { Change::begin::<false>(inside.thread, caller) };
    let moved = real();
    inside.leave();
    let Some(change) = change else {
        return moved;
    };
    if moved.is_null() {
        // It failed, and the old block lives on: these never free.
        change.leave();
    } else if process::wants(size) {
        let event = RingEvent {
            operation: operations.realloc,
            old_address: block as u64,
            address: moved as u64,
            size: size as u64,
            ..RingEvent::default()
        };
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe { change.changed::<false>(event, caller) };
    } else {
        let event = RingEvent {
            operation: operations.free,
            old_address: block as u64,
            ..RingEvent::default()
        };
        // SAFETY: as before.
        unsafe { change.ended(event, caller) };
    }
    moved
}
