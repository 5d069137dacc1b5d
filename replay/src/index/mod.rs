//! What is worth knowing of a tape before the first question.
//!
//! | file | what |
//! |---|---|
//! | `build` | one pass over the tape, in parallel, in the order of time |
//! | `steps` | the live heap over time at a bounded resolution |
//! | [`peaks`] | the highest separate moments |
//! | `survivors` | blocks that live across the borders of time slices |
//! | `file` | the sidecar's bytes |
//! | `place` | where the sidecar is, and whether it is still true |
//!
//! An answer is the same with an index from a file, a new one, and one in memory alone: all are
//! read from the same bytes. An index that is stale or damaged is built again, silently. Whether
//! the tape's events were damaged since is not asked of each index, as that reads the whole tape:
//! who must know it says so ([`crate::OpenOptions::check_events`]), others meet the damage when
//! they need those events, and say so.

pub(crate) mod build;
mod file;
pub mod peaks;
pub(crate) mod place;
pub(crate) mod steps;
pub(crate) mod survivors;

pub(crate) use file::{Index, MAGIC};

/// Live bytes and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeapTotal {
    /// Requested bytes.
    pub bytes: u64,
    /// Blocks.
    pub count: u64,
}

/// A moment at which the live heap was high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// First stamp of it.
    pub stamp: u64,
    /// Live bytes then.
    pub bytes: u64,
    /// Live blocks then.
    pub count: u64,
}

/// The totals of a tape. `peak`, `end`, `inherited` and `inherited_frees` count the heap domains
/// (native, raw, mem, obj); the other event counts and `bytes_allocated` include user-defined ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Events that gave a new block; a realloc of a block that is not known counts here.
    pub allocs: u64,
    /// Frees of live blocks, inherited ones left out.
    pub frees: u64,
    /// Reallocs of live blocks, inherited ones included.
    pub reallocs: u64,
    /// Maps, unmaps and remaps.
    pub maps: u64,
    /// Frees (and reallocs' old blocks) of which no live block is known.
    pub unknown_frees: u64,
    /// Allocations that found their address live: a free was lost before each.
    pub implied_frees: u64,
    /// Blocks that a forked process got from its parent.
    pub inherited: HeapTotal,
    /// False when the process was forked and its parent's tape is not there or not whole:
    /// `inherited` is then what is known of them.
    pub inherited_known: bool,
    /// Frees of inherited blocks of the heap.
    pub inherited_frees: u64,
    /// Blocks of pools (user-defined domains) that a forked process got from its parent.
    pub inherited_pools: HeapTotal,
    /// Frees of those.
    pub inherited_pool_frees: u64,
    /// Requested bytes of allocs and of reallocs (their new size), over the run.
    pub bytes_allocated: u64,
    /// The first moment of the highest live bytes.
    pub peak: Peak,
    /// The live heap at the end.
    pub end: HeapTotal,
    /// Events in readable chunks.
    pub readable_events: u64,
    /// Chunks of events that could not be read.
    pub damaged_chunks: u64,
    /// Distinct call stacks that allocated, or used memory again.
    pub stacks: u64,
    /// Times that an interpreter used a block's memory again without freeing it.
    pub reuses: u64,
}

/// An index that was built or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexInfo {
    /// Where it is; None when it could not be or was not to be written.
    pub path: Option<std::path::PathBuf>,
    /// Its size.
    pub bytes: u64,
    /// Slices of time in it.
    pub slices: u64,
    /// Blocks that live across a slice's border.
    pub survivors: u64,
}
