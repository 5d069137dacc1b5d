//! Thread names: a thread that renames itself is noticed at once; others' new names are read when
//! the thread ends.

use crate::{next, thread};
use core::ffi::{c_char, c_int, c_ulong};

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

/// Interposed `prctl`, for `PR_SET_NAME`. The C function takes its arguments after the first as
/// they come; on x86-64 they travel in registers like those of any function.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
    // SAFETY: the type is that of the function.
    let Some(real) = (unsafe { next::PRCTL.pointer::<Prctl>() }) else {
        next::set_errno(libc::ENOSYS);
        return -1;
    };
    // SAFETY: the caller's own call.
    let result = unsafe { real(option, second, third, fourth, fifth) };
    if option == libc::PR_SET_NAME && result == 0 {
        thread::renamed();
    }
    result
}
