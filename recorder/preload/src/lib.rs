//! The recorder that is preloaded into the target: hooks, threads, stacks, rings.
//!
//! It lives inside other people's processes: it never allocates through the hooks, takes no lock
//! on the event path, never panics, never sets `errno` and prints nothing. The way of one event:
//!
//! | step | file |
//! |---|---|
//! | the program calls; the real function is called | [`hooks`], [`next`], [`bootstrap`] |
//! | or: the program's allocator calls | [`linked`], in programs that are linked with us |
//! | does this process record? | [`gate`], [`process`], [`presence`], [`objects`], [`c_library`] |
//! | who is it, and who started it? | [`identity`], [`lineage`], [`environment`], [`library`] |
//! | where were its parent's threads? | [`fork_cuts`] |
//! | the thread's state, its guard and its stream | [`thread`], [`level`], [`caller`] |
//! | the stamp | [`clock`] |
//! | the stack | [`stack`], [`modules`] |
//! | the record in the ring; waiting, loss | [`recording`], [`waiting`] |
//!
//! Beside it: [`api`] (what a program may call itself), [`drainer`] (recording without a
//! launcher), [`sandbox`] (programs that forbid themselves what the recorder does).
#![cfg_attr(not(test), no_std)]

pub mod api;
pub mod arena;
#[cfg(target_env = "gnu")]
pub mod bootstrap;
pub mod c_library;
pub mod caller;
pub mod clock;
pub mod drainer;
pub mod environment;
pub mod fork_cuts;
pub mod gate;
#[cfg(target_env = "gnu")]
pub mod hooks;
pub mod identity;
pub mod level;
pub mod library;
pub mod lineage;
#[cfg(not(feature = "interpose"))]
pub mod linked;
pub mod modules;
#[cfg(target_env = "gnu")]
pub mod next;
#[cfg(target_env = "gnu")]
pub mod objects;
pub mod presence;
pub mod process;
#[cfg(target_env = "gnu")]
pub mod python;
pub mod recording;
pub mod sandbox;
pub mod signals;
pub mod stack;
pub mod start_block;
pub mod syscall;
pub mod thread;
pub mod waiting;

/// Runs when the library is loaded, for programs that allocate nothing before they fork.
#[cfg(feature = "interpose")]
mod constructor {
    extern "C" fn construct() {
        if crate::gate::mode() == crate::gate::NEW {
            crate::process::start();
        }
        crate::python::start();
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = construct;
}

/// Nothing here panics: a test looks for what a panic would leave in the library. The language
/// asks for a handler all the same.
#[cfg(all(feature = "interpose", not(test)))]
mod last_resort {
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            heaptape_session::sys::sleep_ns(999_999_999);
        }
    }

    // The precompiled core library refers to it, for unwinding that never happens here.
    core::arch::global_asm!(
        ".hidden rust_eh_personality",
        ".globl rust_eh_personality",
        ".set rust_eh_personality, 0",
    );
}
