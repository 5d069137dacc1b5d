//! What an entry point of an allocator does with its arguments: which is the size, which the
//! block, what it returns.
//!
//! A table of functions goes in, the operation to record comes out. Nothing here runs a function.

use crate::recording::operation;

/// Arguments that travel in registers.
pub(super) const ARGUMENTS: usize = 6;
/// There is no such argument.
const NONE: u8 = u8::MAX;
/// The part of jemalloc's flags that is the logarithm of the alignment.
const FLAGS_ALIGNMENT: usize = 63;
/// jemalloc's flag for zeroed memory.
const FLAG_ZEROED: usize = 0x40;

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A block is returned.
    Alloc,
    /// A block's address is written through a pointer, 0 is returned.
    AllocAt,
    /// A zero-terminated text is returned, whose length nobody told.
    Text,
    /// A block is given back.
    Free,
    /// A block moves to the one that is returned.
    Realloc,
    /// A block moves, its address is read and written through a pointer, 0 is returned.
    ReallocAt,
    /// A block grows or shrinks where it is; its length is returned.
    Resize,
}

/// A function's shape. Fields that are [`NONE`] say that it has no such argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// What it does.
    pub action: Action,
    block: u8,
    count: u8,
    size: u8,
    alignment: u8,
    flags: u8,
    extra: u8,
    /// The memory comes zeroed.
    pub is_zeroed: bool,
    /// `operator new` and `delete`: recorded only where they belong to the allocator itself.
    pub is_operator: bool,
    /// It never returns null.
    pub throws: bool,
    /// A reallocation that fails gives the old block back.
    pub frees_on_failure: bool,
    /// A reallocation to 0 bytes does not give the block back.
    pub keeps_empty: bool,
}

const PLAIN: Shape = Shape {
    action: Action::Alloc,
    block: NONE,
    count: NONE,
    size: NONE,
    alignment: NONE,
    flags: NONE,
    extra: NONE,
    is_zeroed: false,
    is_operator: false,
    throws: false,
    frees_on_failure: false,
    keeps_empty: false,
};

/// `malloc(size)`.
pub(super) const fn alloc() -> Shape {
    Shape { size: 0, ..PLAIN }
}

/// `mallocn(count, size)`.
pub(super) const fn alloc_many() -> Shape {
    Shape {
        count: 0,
        size: 1,
        ..PLAIN
    }
}

/// `memalign(alignment, size)`.
pub(super) const fn alloc_aligned() -> Shape {
    Shape {
        alignment: 0,
        size: 1,
        ..PLAIN
    }
}

/// `posix_memalign(place, alignment, size)`.
pub(super) const fn alloc_at() -> Shape {
    Shape {
        action: Action::AllocAt,
        block: 0,
        alignment: 1,
        size: 2,
        ..PLAIN
    }
}

/// `strdup(text)`.
pub(super) const fn text() -> Shape {
    Shape {
        action: Action::Text,
        ..PLAIN
    }
}

/// `realpath(name, place)`: what already lies at the place is no new block.
pub(super) const fn text_unless_at(place: u8) -> Shape {
    Shape {
        action: Action::Text,
        block: place,
        ..PLAIN
    }
}

/// `free(block)`, whatever follows.
pub(super) const fn free() -> Shape {
    Shape {
        action: Action::Free,
        block: 0,
        ..PLAIN
    }
}

/// `realloc(block, size)`.
pub(super) const fn realloc() -> Shape {
    Shape {
        action: Action::Realloc,
        block: 0,
        size: 1,
        ..PLAIN
    }
}

/// `reallocarray(block, count, size)`.
pub(super) const fn realloc_many() -> Shape {
    Shape {
        count: 1,
        size: 2,
        ..realloc()
    }
}

/// `reallocarr(place, count, size)`.
pub(super) const fn realloc_at() -> Shape {
    Shape {
        action: Action::ReallocAt,
        ..realloc_many()
    }
}

/// `xallocx(block, size, extra, flags)`.
pub(super) const fn resize() -> Shape {
    Shape {
        action: Action::Resize,
        extra: 2,
        ..realloc()
    }
}

const fn after_heap(index: u8) -> u8 {
    if index == NONE { NONE } else { index + 1 }
}

impl Shape {
    /// The memory comes zeroed.
    pub(super) const fn zeroed(self) -> Self {
        Self {
            is_zeroed: true,
            ..self
        }
    }

    /// The argument `index` is the alignment.
    pub(super) const fn aligned(self, index: u8) -> Self {
        Self {
            alignment: index,
            ..self
        }
    }

    /// The argument `index` is jemalloc's flags.
    pub(super) const fn flagged(self, index: u8) -> Self {
        Self {
            flags: index,
            ..self
        }
    }

    /// The first argument is a heap, before all others.
    pub(super) const fn of_heap(self) -> Self {
        Self {
            block: after_heap(self.block),
            count: after_heap(self.count),
            size: after_heap(self.size),
            alignment: after_heap(self.alignment),
            ..self
        }
    }

    /// `operator new` or `delete` itself.
    pub(super) const fn operator(self) -> Self {
        Self {
            is_operator: true,
            ..self
        }
    }

    /// It never returns null.
    pub(super) const fn throwing(self) -> Self {
        Self {
            throws: true,
            ..self
        }
    }

    /// As BSD's `reallocf`.
    pub(super) const fn freeing_on_failure(self) -> Self {
        Self {
            frees_on_failure: true,
            ..self
        }
    }

    /// Null means that the old block lives on, whatever the size.
    pub(super) const fn keeping_empty(self) -> Self {
        Self {
            keeps_empty: true,
            ..self
        }
    }

    /// The argument that is the block, or the pointer to it; 0 when there is none.
    pub(super) fn block(&self, arguments: &[usize; ARGUMENTS]) -> usize {
        argument(arguments, self.block).unwrap_or(0)
    }

    /// Bytes asked for; `None`: more than there can be.
    pub(super) fn bytes(&self, arguments: &[usize; ARGUMENTS]) -> Option<usize> {
        let size = argument(arguments, self.size).unwrap_or(0);
        let count = argument(arguments, self.count).unwrap_or(1);
        size.checked_mul(count)
    }

    /// Bytes more than asked for that may be taken.
    pub(super) fn extra_bytes(&self, arguments: &[usize; ARGUMENTS]) -> usize {
        argument(arguments, self.extra).unwrap_or(0)
    }

    /// The alignment asked for; 0: any.
    pub(super) fn alignment(&self, arguments: &[usize; ARGUMENTS]) -> usize {
        let by_flags = argument(arguments, self.flags).map_or(0, |flags| flags & FLAGS_ALIGNMENT);
        match argument(arguments, self.alignment) {
            Some(alignment) => alignment,
            None if by_flags != 0 => 1 << by_flags,
            None => 0,
        }
    }

    /// True when the memory must be zeroed.
    pub(super) fn wants_zeroes(&self, arguments: &[usize; ARGUMENTS]) -> bool {
        let by_flags =
            argument(arguments, self.flags).is_some_and(|flags| flags & FLAG_ZEROED != 0);
        self.is_zeroed || by_flags
    }

    /// The operation that a new block is recorded with.
    pub(super) fn alloc_operation(&self, arguments: &[usize; ARGUMENTS]) -> u8 {
        match self.action {
            Action::AllocAt => operation::POSIX_MEMALIGN,
            Action::Realloc | Action::ReallocAt | Action::Resize => {
                if self.count == NONE {
                    operation::REALLOC_NEW
                } else {
                    operation::REALLOCARRAY_NEW
                }
            }
            Action::Alloc | Action::Text | Action::Free => {
                if self.alignment(arguments) != 0 {
                    operation::ALIGNED_ALLOC
                } else if self.wants_zeroes(arguments) {
                    operation::CALLOC
                } else {
                    operation::MALLOC
                }
            }
        }
    }

    /// The operation that a changed block is recorded with.
    pub(super) fn change_operation(&self) -> u8 {
        if self.count == NONE {
            operation::REALLOC
        } else {
            operation::REALLOCARRAY
        }
    }
}

fn argument(arguments: &[usize; ARGUMENTS], index: u8) -> Option<usize> {
    arguments.get(usize::from(index)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found() {
        let given = [64, 3, 5, 7, 11, 13];
        assert_eq!(alloc().bytes(&given), Some(64));
        assert_eq!(alloc_many().bytes(&given), Some(192));
        assert_eq!(alloc().of_heap().bytes(&given), Some(3));
        assert_eq!(alloc_many().of_heap().bytes(&given), Some(15));
        assert_eq!(alloc_many().bytes(&[usize::MAX, 2, 0, 0, 0, 0]), None);
        assert_eq!(alloc_aligned().alignment(&given), 64);
        assert_eq!(alloc_at().of_heap().alignment(&given), 5);
        assert_eq!(realloc_many().aligned(3).alignment(&given), 7);
        assert_eq!(realloc_many().bytes(&given), Some(15));
        assert_eq!(resize().extra_bytes(&given), 5);
        assert_eq!(text_unless_at(1).block(&given), 3);
        assert_eq!(text().block(&given), 0);
    }

    #[test]
    fn flags_of_jemalloc_say_alignment_and_zeroes() {
        let shape = alloc().flagged(1);
        let with = |flags| [10, flags, 0, 0, 0, 0];
        assert_eq!(shape.alignment(&with(0)), 0);
        assert_eq!(shape.alignment(&with(12)), 4096);
        assert_eq!(shape.alignment(&with(0x100 | 6)), 64);
        assert!(shape.wants_zeroes(&with(0x40)) && !shape.wants_zeroes(&with(12)));
        assert_eq!(shape.alloc_operation(&with(0)), operation::MALLOC);
        assert_eq!(shape.alloc_operation(&with(0x40)), operation::CALLOC);
        assert_eq!(shape.alloc_operation(&with(5)), operation::ALIGNED_ALLOC);
    }
}
