//! The real functions: the next definitions behind ours, whoever they belong to.
//!
//! They are looked up together at the first allocation. Until then the pointers are null, and
//! what `dlsym` itself allocates comes from [`crate::bootstrap`]. A function that cannot be found
//! is the C library's own.

use crate::bootstrap;
use core::ffi::{CStr, c_int, c_void};
use core::ptr;
use heaptape_session::sync::{AtomicU64, Ordering};

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Calloc = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);
type PosixMemalign = unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> c_int;
type Aligned = unsafe extern "C" fn(usize, usize) -> *mut c_void;

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_valloc(size: usize) -> *mut c_void;
    fn __libc_pvalloc(size: usize) -> *mut c_void;
}

/// Address of a real function; 0 until it is looked up.
struct Place(AtomicU64);

impl Place {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline(always)]
    fn get(&self) -> usize {
        // Relaxed: the function's code was there before its address was.
        self.0.load(Ordering::Relaxed) as usize
    }

    fn find(&self, name: &CStr, fallback: usize) {
        let found = next_definition(name);
        let address = if found == 0 { fallback } else { found };
        self.0.store(address as u64, Ordering::Relaxed);
    }
}

static MALLOC: Place = Place::new();
static CALLOC: Place = Place::new();
static REALLOC: Place = Place::new();
static FREE: Place = Place::new();
static POSIX_MEMALIGN: Place = Place::new();
static ALIGNED_ALLOC: Place = Place::new();
static MEMALIGN: Place = Place::new();
static VALLOC: Place = Place::new();
static PVALLOC: Place = Place::new();

/// A real function outside the malloc family, looked up at its first use.
#[derive(Debug)]
#[repr(C)]
pub struct Function {
    address: AtomicU64,
    name: &'static CStr,
}

impl Function {
    const fn new(name: &'static CStr) -> Self {
        Self {
            address: AtomicU64::new(0),
            name,
        }
    }

    /// Its address; 0 when there is none.
    pub fn find(&self) -> usize {
        // Relaxed: the function's code was there before its address was.
        let known = self.address.load(Ordering::Relaxed) as usize;
        if known != 0 {
            return known;
        }
        let found = next_definition(self.name);
        self.address.store(found as u64, Ordering::Relaxed);
        found
    }

    /// The function as a pointer of type `F`.
    ///
    /// # Safety
    /// `F` must be the type of a pointer to this C function.
    #[must_use]
    pub unsafe fn pointer<F: Copy>(&self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        let address = self.find();
        if address == 0 {
            return None;
        }
        // SAFETY: of the same size, and of the right type by the caller's word.
        Some(unsafe { core::mem::transmute_copy::<usize, F>(&address) })
    }
}

macro_rules! functions {
    ($($name:ident $text:literal)*) => {
        $(
            #[doc = concat!("The real `", stringify!($name), "`, by its C name.")]
            pub static $name: Function = Function::new($text);
        )*
    };
}

functions! {
    MMAP c"mmap"
    MUNMAP c"munmap"
    MREMAP c"mremap"
    SBRK c"sbrk"
    BRK c"brk"
    DLOPEN c"dlopen"
    DLMOPEN c"dlmopen"
    DLCLOSE c"dlclose"
    EXECVE c"execve"
    EXECVPE c"execvpe"
    EXECVEAT c"execveat"
    FEXECVE c"fexecve"
    POSIX_SPAWN c"posix_spawn"
    POSIX_SPAWNP c"posix_spawnp"
    SYSTEM c"system"
    POPEN c"popen"
    WORDEXP c"wordexp"
    EXIT_NOW c"_exit"
    QUICK_EXIT c"quick_exit"
    PRCTL c"prctl"
    PTHREAD_SETNAME_NP c"pthread_setname_np"
    NEW_REFERENCE c"_PyTraceMalloc_NewReference"
    SYSCALL c"syscall"
    VFORK c"vfork"
    CLONE c"clone"
}

/// Looks up what may be called where looking up is not allowed: in a child of `vfork`, inside an
/// allocator. All of these are in every C library that runs us, so none of this fails.
pub fn find_early() {
    for function in [
        &MMAP,
        &MUNMAP,
        &MREMAP,
        &SBRK,
        &EXECVE,
        &EXECVPE,
        &FEXECVE,
        &POSIX_SPAWN,
        &POSIX_SPAWNP,
        &EXIT_NOW,
        &VFORK,
        &CLONE,
    ] {
        function.find();
    }
    #[cfg(feature = "allocators")]
    crate::hooks::bundled::find_all();
}

/// The calling thread's `errno`.
pub fn errno() -> c_int {
    // SAFETY: the C library gives each thread its errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: valid for the thread's life.
    unsafe { *place }
}

/// Sets the calling thread's `errno`, for a real function that is missing.
pub fn set_errno(error: c_int) {
    // SAFETY: the C library gives each thread its errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: valid for the thread's life.
    unsafe { *place = error };
}

/// Thread that looks the functions up right now; 0: none.
static RESOLVING: AtomicU64 = AtomicU64::new(0);

/// Address of the next definition of `name` behind ours, 0 when there is none.
pub fn next_definition(name: &CStr) -> usize {
    // SAFETY: the name is zero-terminated; dlsym only reads it.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) as usize }
}

/// Where the real `malloc` is, once it is known.
#[must_use]
pub fn malloc_address() -> usize {
    MALLOC.get()
}

/// Looks everything up, once. False when the caller is inside of that already: then only the
/// bootstrap arena may serve it.
#[cold]
pub fn resolve() -> bool {
    let me = u64::from(heaptape_session::sys::thread_id());
    if RESOLVING.load(Ordering::Relaxed) == me {
        return false;
    }
    // Two threads may do this at once: both store the same addresses.
    RESOLVING.store(me, Ordering::Relaxed);
    FREE.find(c"free", __libc_free as *const () as usize);
    CALLOC.find(c"calloc", __libc_calloc as *const () as usize);
    REALLOC.find(c"realloc", __libc_realloc as *const () as usize);
    let memalign_fallback = __libc_memalign as *const () as usize;
    POSIX_MEMALIGN.find(c"posix_memalign", 0);
    ALIGNED_ALLOC.find(c"aligned_alloc", memalign_fallback);
    MEMALIGN.find(c"memalign", memalign_fallback);
    VALLOC.find(c"valloc", __libc_valloc as *const () as usize);
    PVALLOC.find(c"pvalloc", __libc_pvalloc as *const () as usize);
    // Without it our own does what the C library's does.
    SYSCALL.find();
    // Last: a known malloc says that all are known.
    MALLOC.find(c"malloc", __libc_malloc as *const () as usize);
    RESOLVING.store(0, Ordering::Relaxed);
    true
}

/// True when the real functions are known, now at the latest.
#[inline(always)]
fn is_ready() -> bool {
    MALLOC.get() != 0 || resolve()
}

macro_rules! call {
    ($place:ident as $kind:ty, $($argument:expr),*) => {{
        let address = $place.get();
        // SAFETY: the address is that of a function of this name, hence of this type; `resolve`
        // has stored it before MALLOC, which the caller found set.
        let function = unsafe { core::mem::transmute::<usize, $kind>(address) };
        // SAFETY: the arguments are the caller's own, passed on.
        unsafe { function($($argument),*) }
    }};
}

/// The real `malloc`.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn malloc(size: usize) -> *mut c_void {
    if !is_ready() {
        return bootstrap::allocate(size, 16);
    }
    call!(MALLOC as Malloc, size)
}

/// The real `calloc`.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn calloc(count: usize, size: usize) -> *mut c_void {
    if !is_ready() {
        return match count.checked_mul(size) {
            Some(bytes) => bootstrap::allocate(bytes, 16),
            None => ptr::null_mut(),
        };
    }
    call!(CALLOC as Calloc, count, size)
}

/// The real `realloc`; blocks of the bootstrap arena move to the real allocator.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if !is_ready() || bootstrap::contains(block) {
        // SAFETY: as for this function.
        return unsafe { realloc_bootstrap(block, size) };
    }
    call!(REALLOC as Realloc, block, size)
}

#[cold]
unsafe fn realloc_bootstrap(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: as for the caller.
    let moved = unsafe { malloc(size) };
    if !moved.is_null() && bootstrap::contains(block) {
        // SAFETY: the block is one of the arena.
        let old = unsafe { bootstrap::size_of_block(block) };
        // SAFETY: both blocks hold as many bytes, and they are different ones.
        unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast(), old.min(size)) };
    }
    moved
}

/// The real `free`; blocks of the bootstrap arena stay.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn free(block: *mut c_void) {
    if bootstrap::contains(block) || !is_ready() {
        return;
    }
    call!(FREE as Free, block);
}

/// As [`malloc`], behind an open gate: the process has looked the function up when it started.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn known_malloc(size: usize) -> *mut c_void {
    call!(MALLOC as Malloc, size)
}

/// As [`calloc`], behind an open gate.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn known_calloc(count: usize, size: usize) -> *mut c_void {
    call!(CALLOC as Calloc, count, size)
}

/// As [`realloc`], behind an open gate.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn known_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if bootstrap::contains(block) {
        // SAFETY: as for this function.
        return unsafe { realloc_bootstrap(block, size) };
    }
    call!(REALLOC as Realloc, block, size)
}

/// As [`free`], behind an open gate.
///
/// # Safety
/// As the C function.
#[inline(always)]
pub unsafe fn known_free(block: *mut c_void) {
    if bootstrap::contains(block) {
        return;
    }
    call!(FREE as Free, block);
}

/// The real `posix_memalign`.
///
/// # Safety
/// As the C function.
pub unsafe fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if is_ready() && POSIX_MEMALIGN.get() != 0 {
        return call!(POSIX_MEMALIGN as PosixMemalign, place, alignment, size);
    }
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<usize>()) {
        return libc::EINVAL;
    }
    // SAFETY: as for this function.
    let block = unsafe { memalign(alignment, size) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's pointer is valid for writing.
    unsafe { place.write(block) };
    0
}

/// The real `aligned_alloc`.
///
/// # Safety
/// As the C function.
pub unsafe fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !is_ready() {
        return bootstrap::allocate(size, alignment);
    }
    call!(ALIGNED_ALLOC as Aligned, alignment, size)
}

/// The real `memalign`.
///
/// # Safety
/// As the C function.
pub unsafe fn memalign(alignment: usize, size: usize) -> *mut c_void {
    if !is_ready() {
        return bootstrap::allocate(size, alignment);
    }
    call!(MEMALIGN as Aligned, alignment, size)
}

/// The real `valloc`.
///
/// # Safety
/// As the C function.
pub unsafe fn valloc(size: usize) -> *mut c_void {
    if !is_ready() {
        return bootstrap::allocate(size, 4096);
    }
    call!(VALLOC as Malloc, size)
}

/// The real `pvalloc`.
///
/// # Safety
/// As the C function.
pub unsafe fn pvalloc(size: usize) -> *mut c_void {
    if !is_ready() {
        return bootstrap::allocate(size.next_multiple_of(4096), 4096);
    }
    call!(PVALLOC as Malloc, size)
}
