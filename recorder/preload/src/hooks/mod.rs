//! The interposed functions: each calls the next definition and records what it did.
//!
//! A stub passes the caller's stack and frame pointer on, so that the first frame of a stack is
//! the caller's and none of ours is ever unwound. A hook never changes what its real function
//! returns, nor `errno`.

/// A stub that jumps to `$body` with the caller's stack and frame pointer in two more argument
/// registers. While it runs the stack is as at any function's entry, which is what the directives
/// say to whoever unwinds a signal handler through it.
macro_rules! stub {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?,
     $sp:literal, $frame:literal, $body:path) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the C function.
        #[cfg_attr(feature = "interpose", unsafe(no_mangle))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
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

/// As `stub`, for functions that leave no two registers free: `$body` has six arguments in
/// registers, whatever the function has, and gets stack and frame pointer as the seventh and
/// eighth.
macro_rules! wide_stub {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?,
     $body:path) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the C function.
        #[cfg_attr(feature = "interpose", unsafe(no_mangle))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "mov rax, rsp",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "push rbp",
                ".cfi_adjust_cfa_offset 8",
                "push rax",
                ".cfi_adjust_cfa_offset 8",
                "call {}",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                sym $body,
            )
        }
    };
}

/// A stub that asks `$before`, which gets the same arguments, where to go, and goes there with
/// them: what it finds there returns straight to the caller. So real functions can tell who calls
/// them, and no frame of ours is in the stacks of what they allocate.
macro_rules! jump_stub {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty, $before:path) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the C function.
        #[cfg_attr(feature = "interpose", unsafe(no_mangle))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "push rcx",
                ".cfi_adjust_cfa_offset 8",
                "push r8",
                ".cfi_adjust_cfa_offset 8",
                "push r9",
                ".cfi_adjust_cfa_offset 8",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "call {}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "pop r9",
                ".cfi_adjust_cfa_offset -8",
                "pop r8",
                ".cfi_adjust_cfa_offset -8",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp rax",
                ".cfi_endproc",
                sym $before,
            )
        }
    };
}

#[cfg(any(test, feature = "allocators"))]
mod around;
pub mod bans;
#[cfg(any(test, feature = "allocators"))]
pub mod bundled;
pub mod exec;
mod exec_image;
pub mod exec_lists;
mod exec_readable;
pub mod general;
pub mod image;
mod image_file;
mod image_tables;
pub mod lent;
pub mod loader;
pub mod malloc;
pub mod mmap;
pub mod names;
pub mod new_reference;
pub mod process;
#[cfg(any(test, feature = "allocators"))]
mod served;
#[cfg(any(test, feature = "allocators"))]
mod shapes;
pub mod shell;

pub use crate::caller::Caller;
