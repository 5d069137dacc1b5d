//! The dynamic loader: objects that come and go change what addresses mean.
//!
//! What `dlopen` finds depends on who calls it (the caller's RUNPATH, its namespace, `$ORIGIN`),
//! and
//! glibc learns that from the return address. So `dlopen` and `dlmopen` are not wrapped: the stub
//! tells that a load begins and jumps to the real function, which returns straight to the caller.
//! That a load ends is never told; one counts as running for ever, which only means that nothing
//! is remembered about addresses while an unload runs.

use crate::{modules, next, process, python};
use core::ffi::{c_char, c_int, c_long, c_void};

jump_stub!(
    /// Interposed `dlopen`.
    dlopen(file: *const c_char, mode: c_int) -> *mut c_void, before_dlopen
);
jump_stub!(
    /// Interposed `dlmopen`.
    dlmopen(space: c_long, file: *const c_char, mode: c_int) -> *mut c_void, before_dlmopen
);

extern "C" fn before_dlopen() -> usize {
    begins(&next::DLOPEN)
}

extern "C" fn before_dlmopen() -> usize {
    begins(&next::DLMOPEN)
}

/// Tells that a load begins; where the real function is.
fn begins(real: &next::Function) -> usize {
    if process::is_started() {
        modules::objects_changed(false);
    }
    match real.find() {
        0 => missing as *const () as usize,
        found => found,
    }
}

/// Where there is no real function nothing can be loaded.
extern "C" fn missing() -> *mut c_void {
    core::ptr::null_mut()
}

/// Interposed `dlclose`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    // SAFETY: the type is that of dlclose.
    let Some(real) =
        (unsafe { next::DLCLOSE.pointer::<unsafe extern "C" fn(*mut c_void) -> c_int>() })
    else {
        return -1;
    };
    if !process::is_started() {
        // SAFETY: the caller's own call.
        return unsafe { real(handle) };
    }
    python::stay();
    modules::unload_started();
    // SAFETY: the caller's own call.
    let result = unsafe { real(handle) };
    modules::unload_finished();
    result
}
