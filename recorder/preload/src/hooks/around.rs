//! One way around all entry points of [`super::bundled`]: a step before the real function, which
//! says where to go, and a step after it, which records what it did.
//!
//! The real function is called from assembly, not from Rust: `operator new` may throw, and an
//! exception may pass a frame of ours only where nothing of ours waits for its return. The frame
//! has a personality routine that leaves the recorder when an exception passes.
//!
//! Calls that the allocator makes to our hooks while it serves one are its own affair, all but the
//! one for the exception that it throws. Where a
//! name has no next definition (a program that looks whether `mi_malloc` is there finds ours
//! though only jemalloc is loaded) the call is served from the real `malloc`, and its `free` gives
//! back to the real `free`. `operator new` and `delete` are recorded only where they belong to the
//! object that holds the real `malloc`: the C++ library's own call `malloc`, and an application's
//! pools are its own affair.

use super::Caller;
use super::general::Inside;
use super::served;
use super::shapes::{ARGUMENTS, Action, Shape};
use crate::recording::{self, Change, operation};
use crate::thread::{self, Thread};
use crate::{gate, next, objects, process};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
use heaptape_session::record::RingEvent;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

/// The libraries that have `operator new` in C++ programs.
const RUNTIMES: [&CStr; 2] = [c"libstdc++.so.6", c"libc++.so.1"];

/// An entry point.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name, with a zero at the end.
    name: &'static str,
    shape: Shape,
    /// The next definition; 0 while it is not known.
    address: AtomicU64,
    /// Not zero: its calls are none of ours.
    is_foreign: AtomicU32,
}

impl Entry {
    pub(super) const fn new(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            address: AtomicU64::new(0),
            is_foreign: AtomicU32::new(0),
        }
    }

    /// Address of the next definition; 0 when there is none. Leaves errno as it is.
    pub(super) fn find(&self) -> usize {
        // Relaxed: the function's code was there before its address was.
        let known = self.address.load(Ordering::Relaxed) as usize;
        if known != 0 {
            return known;
        }
        let errno = errno();
        let Ok(name) = CStr::from_bytes_with_nul(self.name.as_bytes()) else {
            return 0;
        };
        let mut found = next::next_definition(name);
        if found == 0 && self.shape.is_operator {
            found = in_runtime(name);
        }
        if found != 0 && self.shape.is_operator {
            let _known = next::malloc_address() != 0 || next::resolve();
            let is_foreign = !objects::is_same(found, next::malloc_address());
            self.is_foreign
                .store(u32::from(is_foreign), Ordering::Relaxed);
        }
        // Release: pairs with the loads above and below by address and program order; on x86-64
        // all loads acquire. Who sees the address sees whose it is.
        self.address.store(found as u64, Ordering::Release);
        next::set_errno(errno);
        found
    }
}

fn errno() -> c_int {
    // SAFETY: the C library gives each thread its errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: valid for the thread's life.
    unsafe { *place }
}

/// A C++ library that is loaded out of everybody's sight, as with a plugin of a C program. It
/// stays loaded, since its functions are remembered.
fn in_runtime(name: &CStr) -> usize {
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // SAFETY: the type is that of dlopen.
    let Some(open) = (unsafe { next::DLOPEN.pointer::<Open>() }) else {
        return 0;
    };
    for library in RUNTIMES {
        // SAFETY: a name that ends with zero; nothing is loaded that is not there.
        let handle = unsafe { open(library.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        if !handle.is_null() {
            // SAFETY: a handle of dlopen and a name that ends with zero.
            return unsafe { libc::dlsym(handle, name.as_ptr()) as usize };
        }
    }
    0
}

/// Where `__cxa_allocate_exception` is, and its length; 0: nowhere.
static EXCEPTIONS_START: AtomicU64 = AtomicU64::new(0);
static EXCEPTIONS_BYTES: AtomicU64 = AtomicU64::new(0);

/// Looks up which function makes exceptions, while the process starts.
pub(super) fn find_exceptions() {
    // SAFETY: a constant name that ends with zero.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__cxa_allocate_exception".as_ptr()) };
    let bytes = objects::symbol_bytes(found as usize);
    // Relaxed: numbers that nothing else depends on; only a call that is inside another one of
    // this process asks for them.
    EXCEPTIONS_BYTES.store(bytes, Ordering::Relaxed);
    EXCEPTIONS_START.store(found as u64, Ordering::Relaxed);
}

/// True when `caller` is the function that makes exceptions.
pub(super) fn makes_exceptions(caller: Caller) -> bool {
    // SAFETY: the stub's first instruction had the return address on top of the stack.
    let pc = unsafe { caller.sp.read() } as u64;
    let into = pc.wrapping_sub(EXCEPTIONS_START.load(Ordering::Relaxed));
    into < EXCEPTIONS_BYTES.load(Ordering::Relaxed)
}

/// What [`before`] leaves for [`after`].
struct Kept {
    thread: NonNull<Thread>,
    /// The old block of a reallocation.
    block: usize,
    change: Option<Change>,
}

/// One call, on the stack of [`around`].
#[repr(C)]
struct Call {
    arguments: [usize; ARGUMENTS],
    entry: &'static Entry,
    caller_sp: *const usize,
    caller_frame: usize,
    result: usize,
    /// `None`: the call is not recorded. Set where [`after`] follows.
    kept: MaybeUninit<Option<Kept>>,
}

/// Bytes below the return address: with it a multiple of 16.
const CALL_BYTES: usize = size_of::<Call>().next_multiple_of(16) + 8;

/// Where a call goes on, and how: [`JUMP`], [`CALL`] or [`SERVED`].
#[repr(C)]
struct Step {
    address: usize,
    how: usize,
}

/// To the real function, which returns to the caller.
const JUMP: usize = 0;
/// To the real function and back to [`after`].
const CALL: usize = 1;
/// To [`after`]: the result is there.
const SERVED: usize = 2;

/// What all stubs jump to, with their [`Entry`] in r11 and the caller's arguments as they came.
///
/// # Safety
/// For the stubs of [`super::bundled`] alone.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn around() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_personality 0x1b, {personality}",
        "mov rax, rsp",
        "sub rsp, {bytes}",
        ".cfi_adjust_cfa_offset {bytes}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + {entry}], r11",
        "mov [rsp + {sp}], rax",
        "mov [rsp + {frame}], rbp",
        "mov qword ptr [rsp + {result}], 0",
        "mov rdi, rsp",
        "call {before}",
        "mov r11, rdx",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "cmp r11, {call}",
        "jb 3f",
        "ja 2f",
        "call rax",
        "mov [rsp + {result}], rax",
        "2:",
        "mov rdi, rsp",
        "call {after}",
        "add rsp, {bytes}",
        ".cfi_remember_state",
        ".cfi_adjust_cfa_offset -{bytes}",
        "ret",
        "3:",
        ".cfi_restore_state",
        "add rsp, {bytes}",
        ".cfi_adjust_cfa_offset -{bytes}",
        "jmp rax",
        ".cfi_endproc",
        personality = sym exception_passes,
        bytes = const CALL_BYTES,
        entry = const offset_of!(Call, entry),
        sp = const offset_of!(Call, caller_sp),
        frame = const offset_of!(Call, caller_frame),
        result = const offset_of!(Call, result),
        call = const CALL,
        before = sym before,
        after = sym after,
    )
}

/// The unwinder asks what to do with the frame of [`around`]: nothing, but the recorder is left
/// when the frame is about to go.
unsafe extern "C" fn exception_passes(
    _version: c_int,
    actions: c_int,
    _class: u64,
    _exception: *mut c_void,
    _context: *mut c_void,
) -> c_int {
    const CLEANUP_PHASE: c_int = 2;
    const CONTINUE_UNWIND: c_int = 8;
    if actions & CLEANUP_PHASE != 0
        && let Some(thread) = thread::current()
    {
        // SAFETY: the calling thread's own state.
        let depth = unsafe { &mut (*thread.as_ptr()).depth };
        let call = depth.wrapping_sub(CALL_BYTES) as *mut Call;
        if *depth != 0 {
            *depth = 0;
            // SAFETY: only frames whose call set the depth have the real function called; theirs
            // lies right below the stack pointer that they set it to, and is still there.
            let kept = unsafe { &mut *call };
            // SAFETY: `before` wrote it when it set the depth.
            let kept = unsafe { kept.kept.assume_init_mut() }.take();
            if let Some(change) = kept.and_then(|kept| kept.change) {
                change.leave();
            }
        }
    }
    CONTINUE_UNWIND
}

unsafe extern "C" fn before(call: *mut Call) -> Step {
    // SAFETY: the frame of `around`, whose fields but the last are set.
    let call = unsafe { &mut *call };
    let address = call.entry.find();
    let is_nothing =
        call.entry.shape.action == Action::Free && call.entry.shape.block(&call.arguments) == 0;
    let is_foreign = address != 0 && call.entry.is_foreign.load(Ordering::Relaxed) != 0;
    let inside = if is_nothing || is_foreign || gate::mode() == gate::OFF {
        None
    } else {
        Inside::enter(call.caller())
    };
    let is_recorded = inside.is_some();
    let kept = inside.map(|inside| call.begin(inside.thread));
    call.kept.write(kept);
    let how = match (address, is_recorded) {
        (0, _) => {
            call.result = served::serve(&call.entry.shape, &call.arguments);
            SERVED
        }
        (_, true) => CALL,
        (_, false) => JUMP,
    };
    Step { address, how }
}

unsafe extern "C" fn after(call: *mut Call) -> usize {
    // SAFETY: the frame of `around`; `before` has written the last field.
    let call = unsafe { &mut *call };
    // SAFETY: as above.
    if let Some(kept) = unsafe { call.kept.assume_init_mut() }.take() {
        Inside {
            thread: kept.thread,
            is_marked: true,
        }
        .leave();
        call.end(kept);
    }
    call.result
}

impl Call {
    fn caller(&self) -> Caller {
        Caller {
            sp: self.caller_sp,
            frame: self.caller_frame,
        }
    }

    /// Before the real function: blocks die, or begin to change.
    fn begin(&self, thread: NonNull<Thread>) -> Kept {
        let shape = &self.entry.shape;
        let mut kept = Kept {
            thread,
            block: shape.block(&self.arguments),
            change: None,
        };
        match shape.action {
            Action::Free => {
                let block = kept.block as *mut c_void;
                // SAFETY: the thread is the calling one, the caller alive.
                unsafe { recording::freed::<false>(thread, operation::FREE, block, self.caller()) };
            }
            Action::Realloc | Action::ReallocAt | Action::Resize => {
                if shape.action == Action::ReallocAt && kept.block != 0 {
                    // SAFETY: the function reads the old block's address there.
                    kept.block = unsafe { (kept.block as *const usize).read() };
                }
                if kept.block != 0 {
                    // SAFETY: the thread is the calling one, the caller alive.
                    kept.change = unsafe { Change::begin::<false>(thread, self.caller()) };
                }
            }
            Action::Alloc | Action::AllocAt | Action::Text => {}
        }
        kept
    }

    /// After the real function: blocks live, or have changed.
    fn end(&self, kept: Kept) {
        let shape = &self.entry.shape;
        let result = self.result;
        let bytes = shape.bytes(&self.arguments).unwrap_or(0);
        match shape.action {
            Action::Alloc => self.lives(&kept, result, bytes),
            Action::AllocAt if result as c_int == 0 && kept.block != 0 => {
                // SAFETY: the function has just written there.
                let block = unsafe { (kept.block as *const usize).read() };
                self.lives(&kept, block, bytes);
            }
            Action::Text if result != 0 && result != kept.block => {
                // SAFETY: the function returned a text that ends with zero.
                let length = unsafe { CStr::from_ptr(result as *const c_char) }.count_bytes();
                self.lives(&kept, result, length + 1);
            }
            Action::Realloc => self.has_changed(kept, result, bytes),
            Action::ReallocAt => {
                let place = shape.block(&self.arguments) as *const usize;
                // SAFETY: null, or where the function has written when it succeeded.
                let moved = unsafe { place.as_ref() }.filter(|_| result as c_int == 0);
                self.has_changed(kept, moved.copied().unwrap_or(0), bytes);
            }
            Action::Resize => {
                let is_resized = result >= bytes;
                let most = bytes.saturating_add(shape.extra_bytes(&self.arguments));
                let block = if is_resized { kept.block } else { 0 };
                self.has_changed(kept, block, result.min(most));
            }
            Action::AllocAt | Action::Text | Action::Free => {}
        }
    }

    fn lives(&self, kept: &Kept, block: usize, bytes: usize) {
        if block == 0 || !process::wants(bytes) {
            return;
        }
        let shape = &self.entry.shape;
        let operation = shape.alloc_operation(&self.arguments);
        let alignment = shape.alignment(&self.arguments);
        let block = block as *mut c_void;
        let caller = self.caller();
        // SAFETY: the thread is the calling one, the caller alive.
        unsafe {
            recording::allocated_generally(kept.thread, operation, block, bytes, alignment, caller)
        };
    }

    fn has_changed(&self, kept: Kept, moved: usize, bytes: usize) {
        let shape = &self.entry.shape;
        if kept.block == 0 {
            return self.lives(&kept, moved, bytes);
        }
        let Some(change) = kept.change else {
            return;
        };
        let is_gone = moved == 0 && (shape.frees_on_failure || bytes == 0 && !shape.keeps_empty);
        if moved == 0 && !is_gone {
            // It failed, and the old block lives on.
            change.leave();
        } else if is_gone || !process::wants(bytes) {
            let event = RingEvent {
                operation: operation::REALLOC_FREE,
                old_address: kept.block as u64,
                ..RingEvent::default()
            };
            // SAFETY: the thread is the calling one, the caller alive.
            unsafe { change.ended(event, self.caller()) };
        } else {
            let event = RingEvent {
                operation: shape.change_operation(),
                old_address: kept.block as u64,
                address: moved as u64,
                size: bytes as u64,
                ..RingEvent::default()
            };
            // SAFETY: the thread is the calling one, the caller alive.
            unsafe { change.changed::<false>(event, self.caller()) };
        }
    }
}
