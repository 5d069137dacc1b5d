//! What a simulated process does, step by step.

/// What one step of a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Allocates through entry point number `entry`.
    Alloc { entry: u8, size: u32 },
    /// Frees a live block, the `pick`-th modulo their number.
    Free { pick: u32 },
    /// Reallocates a live block; it ends when the thread does its next step.
    Realloc { pick: u32, size: u32 },
    /// Frees an address that may hold nothing.
    WildFree { slot: u8 },
    /// Uses a live block's memory again.
    Reuse { pick: u32 },
    /// Tells of memory that is used again, at an address that may hold nothing.
    WildReuse { slot: u8 },
    /// Reports an allocation in a pool.
    PoolAlloc { pool: u8, size: u32 },
    /// Reports a free in a pool.
    PoolFree { pool: u8, pick: u32 },
    /// Reports a reallocation in a pool.
    PoolRealloc { pool: u8, pick: u32, size: u32 },
    /// Maps pages.
    Map { page: u8, pages: u8 },
    /// Unmaps pages, whatever is there.
    Unmap { page: u8, pages: u8 },
    /// Moves pages.
    Remap {
        page: u8,
        pages: u8,
        to: u8,
        to_pages: u8,
    },
}

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The stream that does it, modulo their number.
    pub stream: u8,
    /// How far the clock goes before it.
    pub advance: u16,
    /// What it does.
    pub act: Act,
    /// Which of its stream's stack nodes it has; 0 is none.
    pub node: u8,
    /// True when the event happened and was not recorded.
    pub is_lost: bool,
}
