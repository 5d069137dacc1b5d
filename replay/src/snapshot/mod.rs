//! Answers about blocks: who lives at a moment, who lived in a window, who owned an address, how
//! many live at each of many moments.
//!
//! In: a tape and its index. Out: blocks, lifetimes and steps. Each answer reads what the index
//! keeps of the borders of slices and replays only the slices that it must.

pub(crate) mod lifetimes;
pub(crate) mod live_heap;
pub(crate) mod owners;
pub(crate) mod steps;

use crate::index::Index;
use heaptape_format::error::DecodeError;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The index does not read back.
    Index,
    /// The events chunk at this offset cannot be read, and could be when the index was made.
    Events(u64),
}

impl From<DecodeError> for Fault {
    fn from(_: DecodeError) -> Self {
        Self::Index
    }
}

/// Fails when one of the `damaged` chunks is none that the index was made without.
fn check(index: &Index, damaged: &[u64]) -> Result<(), Fault> {
    let is_new = |offset: &&u64| index.damaged.binary_search(offset).is_err();
    match damaged.iter().find(is_new) {
        Some(&offset) => Err(Fault::Events(offset)),
        None => Ok(()),
    }
}
