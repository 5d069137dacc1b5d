//! `execl`, `execlp` and `execle`: the forms of exec whose arguments come one by one. They are
//! collected into a list, and the other forms do the rest.

use super::exec::{List, execve_with, execvpe_with};
use crate::{environment, next};
use core::ffi::{c_char, c_int};
use core::ptr;
use heaptape_session::sys;

/// Arguments of `execl` and its kin that are collected on the stack.
const ARGUMENTS_ON_STACK: usize = 256;
/// A stub for the functions with a variable number of arguments: the first goes on in its
/// register, the five others that came in registers are laid into an array, and the body gets its
/// address and that of the rest, on the caller's stack.
macro_rules! list_stub {
    ($(#[$doc:meta])* $name:ident, $body:path) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the C function.
        #[cfg_attr(feature = "interpose", unsafe(no_mangle))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name(path: *const c_char) -> c_int {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "lea rax, [rsp + 8]",
                "push r9",
                ".cfi_adjust_cfa_offset 8",
                "push r8",
                ".cfi_adjust_cfa_offset 8",
                "push rcx",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "mov rsi, rsp",
                "mov rdx, rax",
                "call {}",
                "add rsp, 40",
                ".cfi_adjust_cfa_offset -40",
                "ret",
                ".cfi_endproc",
                sym $body,
            )
        }
    };
}

list_stub!(
    /// Interposed `execl`, whose other arguments come one by one.
    execl, execl_body
);
list_stub!(
    /// Interposed `execlp`, whose other arguments come one by one.
    execlp, execlp_body
);
list_stub!(
    /// Interposed `execle`, whose other arguments come one by one, the environment last.
    execle, execle_body
);

const IN_REGISTERS: usize = 5;

/// Argument `index` of a variable list.
unsafe fn argument(registers: List, stack: List, index: usize) -> *const c_char {
    let place = if index < IN_REGISTERS {
        // SAFETY: the stub has laid out five.
        unsafe { registers.add(index) }
    } else {
        // SAFETY: the list goes on to its null, by the caller's contract.
        unsafe { stack.add(index - IN_REGISTERS) }
    };
    // SAFETY: as above.
    unsafe { place.read() }
}

/// Calls `start` with the arguments as a list, and what comes behind their null.
unsafe fn with_arguments(
    registers: List,
    stack: List,
    start: impl FnOnce(List, *const c_char) -> c_int,
) -> c_int {
    let mut count = 0;
    // SAFETY: the caller ended its arguments with a null.
    while !unsafe { argument(registers, stack, count) }.is_null() {
        count += 1;
    }
    let mut on_stack = [ptr::null(); ARGUMENTS_ON_STACK];
    let bytes = (count + 1) * size_of::<*const c_char>();
    let list = if count < ARGUMENTS_ON_STACK {
        &mut on_stack[..]
    } else {
        let Some(memory) = sys::map_private(bytes) else {
            next::set_errno(libc::ENOMEM);
            return -1;
        };
        // SAFETY: fresh memory of that length; zeroed pointers are null.
        unsafe { core::slice::from_raw_parts_mut(memory.cast(), count + 1) }
    };
    for (index, place) in list.iter_mut().take(count).enumerate() {
        // SAFETY: as above.
        *place = unsafe { argument(registers, stack, index) };
    }
    // The place behind the null holds the environment, for `execle` alone; for the others it is
    // some word of the caller's frame or registers, which nobody looks at.
    // SAFETY: as above.
    let behind = unsafe { argument(registers, stack, count + 1) };
    let result = start(list.as_ptr(), behind);
    if count >= ARGUMENTS_ON_STACK {
        // SAFETY: mapped above, and no longer used.
        unsafe { sys::unmap(list.as_mut_ptr().cast(), bytes) };
    }
    result
}

unsafe extern "C" fn execl_body(path: *const c_char, registers: List, stack: List) -> c_int {
    // SAFETY: the caller's own call.
    let start = |list, _| unsafe { execve_with(path, list, environment::own()) };
    // SAFETY: as above.
    unsafe { with_arguments(registers, stack, start) }
}

unsafe extern "C" fn execlp_body(file: *const c_char, registers: List, stack: List) -> c_int {
    // SAFETY: the caller's own call.
    let start = |list, _| unsafe { execvpe_with(file, list, environment::own()) };
    // SAFETY: as above.
    unsafe { with_arguments(registers, stack, start) }
}

unsafe extern "C" fn execle_body(path: *const c_char, registers: List, stack: List) -> c_int {
    // SAFETY: the caller's own call.
    let start = |list, behind: *const c_char| unsafe { execve_with(path, list, behind.cast()) };
    // SAFETY: as above.
    unsafe { with_arguments(registers, stack, start) }
}
