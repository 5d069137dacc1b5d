//! The module that a stream named last: a program counter goes in, its place comes out without a
//! question to the loader. New stack nodes come many in a row from the same module.
//!
//! Right as long as nothing is unloaded: no other object can come to lie in the range meanwhile.
//! Whoever keeps one forgets it with everything else that holds for an address.

use super::Place;

/// A range of addresses that belongs to one module. All-zero bytes are valid and hold nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    start: usize,
    bytes: usize,
    bias: usize,
    module: u32,
}

impl Recent {
    /// Remembers that all of `start..end` belongs to `module`.
    pub(super) fn remember(&mut self, start: usize, end: usize, bias: usize, module: u32) {
        *self = Self {
            start,
            bytes: end.saturating_sub(start),
            bias,
            module,
        };
    }

    /// Forgets the range.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The place of `pc`, if it lies in the range.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, pc: usize) -> Option<Place> {
        (pc.wrapping_sub(self.start) < self.bytes).then(|| Place {
            module: self.module,
            offset: pc.wrapping_sub(self.bias),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_range_and_nothing_else() {
        let mut recent = Recent::default();
        assert_eq!(recent.place(0), None);
        recent.remember(0x2000, 0x3000, 0x1000, 7);
        for (pc, is_inside) in [
            (0x1fff, false),
            (0x2000, true),
            (0x2fff, true),
            (0x3000, false),
            (usize::MAX, false),
        ] {
            let offset = pc.wrapping_sub(0x1000);
            let place = is_inside.then_some(Place { module: 7, offset });
            assert_eq!(recent.place(pc), place, "{pc:#x}");
        }
        recent.forget();
        assert_eq!(recent.place(0x2000), None);
    }
}
