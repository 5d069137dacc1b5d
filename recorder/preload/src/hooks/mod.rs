//! The interposed functions: each calls the next definition and records what it did.
//!
//! A stub passes the caller's stack and frame pointer on, so that the first frame of a stack is
//! the caller's and none of ours is ever unwound. A hook never changes what its real function
//! returns, nor `errno`.

pub mod general;
pub mod malloc;

/// Where a hook was called from.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Stack pointer at the stub's first instruction: the return address lies there.
    pub sp: *const usize,
    /// The caller's rbp.
    pub frame: usize,
}

impl Caller {
    /// A caller of ours, for records without a stack: only its place on the stack matters.
    #[inline(always)]
    #[must_use]
    pub fn here() -> Self {
        let sp: *const usize;
        // SAFETY: reads a register.
        unsafe {
            core::arch::asm!("mov {}, rsp", out(reg) sp,
                options(nomem, nostack, preserves_flags));
        }
        Self { sp, frame: 0 }
    }
}
