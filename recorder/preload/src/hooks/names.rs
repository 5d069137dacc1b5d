//! Thread names: a thread that renames itself is noticed at once (here, and in `bans` by `prctl`);
//! others' new names are read when the thread ends.

use crate::{next, thread};
use core::ffi::{c_char, c_int};

/// Interposed `pthread_setname_np`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn pthread_setname_np(target: libc::pthread_t, name: *const c_char) -> c_int {
    type SetName = unsafe extern "C" fn(libc::pthread_t, *const c_char) -> c_int;
    // SAFETY: the type is that of the function.
    let Some(real) = (unsafe { next::PTHREAD_SETNAME_NP.pointer::<SetName>() }) else {
        return libc::ENOSYS;
    };
    // SAFETY: the caller's own call.
    let result = unsafe { real(target, name) };
    // SAFETY: pthread_self has no arguments and cannot fail.
    if result == 0 && target == unsafe { libc::pthread_self() } {
        thread::renamed();
    }
    result
}
