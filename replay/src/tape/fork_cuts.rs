//! How far the streams of the parent had come for a forked child: SPEC.md, §8.14 and §10.6.
//!
//! In: the fork cuts of the child's tape, and its cut stamp. Out: the last stamp of any stream.

use heaptape_format::tables::ForkCut;
use rustc_hash::FxHashMap;

/// Stands for all streams that no record names.
const OTHERS: u32 = u32::MAX;

/// Events of a stream of the parent up to these stamps had happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForkCuts {
    streams: FxHashMap<u32, u64>,
    /// Of the streams that are not named.
    pub(crate) others: u64,
}

impl ForkCuts {
    /// Those that `records` say; without a record for the others they stand at `cut_stamp`.
    pub(super) fn new(records: &[ForkCut], cut_stamp: u64) -> Self {
        let mut streams: FxHashMap<u32, u64> =
            records.iter().map(|cut| (cut.stream, cut.stamp)).collect();
        let others = streams.remove(&OTHERS).unwrap_or(cut_stamp);
        Self { streams, others }
    }

    /// Of a stream.
    pub(crate) fn of(&self, stream: u32) -> u64 {
        self.streams.get(&stream).copied().unwrap_or(self.others)
    }

    /// The first of all.
    pub(crate) fn first(&self) -> u64 {
        let streams = self.streams.values().copied();
        streams.min().unwrap_or(u64::MAX).min(self.others)
    }

    /// The last of all.
    pub(crate) fn last(&self) -> u64 {
        let streams = self.streams.values().copied();
        streams.max().unwrap_or(0).max(self.others)
    }

    /// True when a thread beside the one that forked may have gone on while the memory was copied.
    pub(crate) fn may_be_torn(&self) -> bool {
        self.streams.len() > 1
    }

    /// True when all streams stood at one moment.
    pub(crate) fn is_one_moment(&self) -> bool {
        self.streams.is_empty()
    }
}
