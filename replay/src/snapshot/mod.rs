//! Answers about blocks: who lives at a moment, who lived in a window, who owned an address.
//!
//! In: a tape and its index. Out: blocks and lifetimes. Each answer reads what the index keeps of
//! the borders of slices and replays only the slices that it must.

pub(crate) mod lifetimes;
pub(crate) mod live_heap;
pub(crate) mod owners;
