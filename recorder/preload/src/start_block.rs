//! What the kernel put on the first thread's stack when the image began: arguments and environment,
//! as they are before the C library has looked at them.

#[cfg(feature = "interpose")]
use crate::next;
use core::ffi::c_char;
use core::ptr;

/// The environment there: zero-terminated entries, null at the end. Null when the dynamic loader
/// does not tell where it is.
#[cfg(feature = "interpose")]
#[must_use]
pub fn environment() -> *const *const c_char {
    // The loader's: what the stack pointer was. Linked by name, it would make us need the loader.
    let place = next::next_definition(c"__libc_stack_end") as *const *const usize;
    if place.is_null() {
        return ptr::null();
    }
    // SAFETY: the loader's variable is a valid pointer, which it has set before anything else.
    let start = unsafe { place.read() };
    if start.is_null() {
        return ptr::null();
    }
    // SAFETY: the kernel puts the number of arguments there.
    let arguments = unsafe { start.read() };
    // SAFETY: so many arguments and a null lie before the environment.
    unsafe { start.add(1 + arguments + 1) }.cast()
}

/// Of a program without a dynamic loader nobody tells: what it allocates before its C library is
/// ready is not recorded.
#[cfg(not(feature = "interpose"))]
#[must_use]
pub fn environment() -> *const *const c_char {
    ptr::null()
}
