//! How many frames of a stack are recorded.
//!
//! A stack that is deeper is cut. Where, must not move with every call: each would give thousands
//! of frames another place in the tree of nodes, and each would have to be walked to the cut. So a
//! stack that has its outer frames in common with one that was cut is cut where that was, as long
//! as enough of it is kept and not too much. What is kept depends on the stacks alone, not on
//! addresses: it is the same from run to run.
//!
//! A depth that the user asked for is kept to the frame.

/// Innermost frames that are recorded of any stack.
pub(super) const FRAMES_MAX: usize = 128 << 10;
/// Frames that are recorded in the memory that each thread has; for more it asks for more.
pub(super) const FRAMES_USUAL: usize = 4096;
/// More than this many frames are never kept.
pub(super) const FRAMES_KEPT_MAX: usize = FRAMES_MAX + FRAMES_MAX / 8;

/// The frames to keep of a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// At least, of one that is cut.
    pub least: usize,
    /// Of a deeper one that is cut anew.
    pub anew: usize,
    /// At most.
    pub most: usize,
}

impl Depth {
    /// What the user asked for; 0: nothing.
    #[must_use]
    pub(super) fn asked(frames: u32) -> Self {
        match frames as usize {
            frames @ 1..FRAMES_MAX => Self {
                least: frames,
                anew: frames,
                most: frames,
            },
            _ => Self::around(FRAMES_MAX, FRAMES_KEPT_MAX),
        }
    }

    /// True when the user asked for a depth.
    #[cfg(target_env = "gnu")]
    #[inline(always)]
    #[must_use]
    pub(super) fn is_asked(&self) -> bool {
        self.least == self.most
    }

    /// What fits into memory for `frames`.
    #[must_use]
    pub(super) fn within(frames: usize) -> Self {
        Self::around(frames - frames / 4, frames)
    }

    fn around(least: usize, most: usize) -> Self {
        let anew = least + (most - least) / 2;
        Self { least, anew, most }
    }
}
