//! Where an event came from: the place on the stack at which its unwinding begins.

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
