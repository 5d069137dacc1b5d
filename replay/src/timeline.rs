//! The live heap over time, at evenly spaced moments.

/// The live heap at a moment and what happened in the interval that ends there. Counts and bytes
/// are those of the heap domains (native, raw, mem, obj), without inherited blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelinePoint {
    /// The moment.
    pub stamp: u64,
    /// Live bytes at the moment.
    pub bytes: u64,
    /// Live blocks at the moment.
    pub count: u64,
    /// Resident bytes of the last sample at or before the moment.
    pub resident_bytes: Option<u64>,
    /// Blocks that began to live in the interval, by allocations and reallocations.
    pub allocations: u64,
    /// Blocks that died in the interval, by frees and reallocations.
    pub frees: u64,
    /// Highest live bytes in the interval, its start included.
    pub high: u64,
}
