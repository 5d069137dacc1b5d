//! The end of the process by a call that runs no exit handlers: the code is noted, nothing else.
//!
//! A child of `vfork` ends this way too; it is not the process that owns the slot, and
//! [`process::ends_with`] leaves it alone.

use crate::{next, process, sandbox};
use core::ffi::c_int;
use heaptape_session::sys;

type Exit = unsafe extern "C" fn(c_int) -> !;

/// Interposed `_exit`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn _exit(code: c_int) -> ! {
    end(code, &next::EXIT_NOW)
}

/// Interposed `_Exit`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
#[allow(non_snake_case, reason = "the C library's name")]
pub unsafe extern "C" fn _Exit(code: c_int) -> ! {
    end(code, &next::EXIT_NOW)
}

/// Interposed `quick_exit`.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn quick_exit(code: c_int) -> ! {
    end(code, &next::QUICK_EXIT)
}

fn end(code: c_int, real: &next::Function) -> ! {
    process::ends_with(code);
    let _childs = sandbox::settle();
    // SAFETY: the type is that of all three functions.
    if let Some(real) = unsafe { real.pointer::<Exit>() } {
        // SAFETY: the caller's own call.
        unsafe { real(code) }
    }
    loop {
        // SAFETY: ends the process, as the caller wishes.
        unsafe { sys::passed_on(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}
