//! Keeping stacks from event to event costs something; where it does not pay, it is left for a
//! while.

/// Whether it pays to keep stacks. It does not in a program that changes an outer frame with every
/// event: then all inside of it is compared, and walked all the same.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// Frames that were compared in vain before the walk began.
    pub(super) vain: usize,
    /// Events in a row that compared many in vain.
    pub(super) failed: u32,
    /// Events that do without.
    pause: u32,
}

impl Trials {
    const VAIN_MAX: usize = 4;
    const FAILED_MAX: u32 = 4;
    const PAUSE: u32 = 64;

    /// Notes what an event's walk found: frames that were compared in vain, and whether most of the
    /// stack was taken over. Whether the rest is to be kept for the next one.
    #[inline(always)]
    pub(super) fn note(&mut self, vain: usize, is_success: bool) -> bool {
        let vain = vain + core::mem::take(&mut self.vain);
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        if vain <= Self::VAIN_MAX {
            if is_success {
                self.failed = 0;
            }
            return true;
        }
        self.failed += 1;
        if self.failed >= Self::FAILED_MAX {
            // One more failure after the pause leads to the next one.
            self.failed = Self::FAILED_MAX - 1;
            self.pause = Self::PAUSE;
        }
        self.pause == 0
    }
}
