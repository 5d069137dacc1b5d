//! Blocks, summed by their stack and by what else the grouping needs: few, whatever the number of
//! blocks.

use super::amount::{Amount, Churn, Measure};
use super::filter::TapeFilter;
use super::key::GroupBy;
use crate::block::{Block, Lifetime, StackId, StreamId};
use heaptape_format::TapeHeader;
use heaptape_format::event::{DomainId, Operation, OperationKind};
use rustc_hash::{FxHashMap, FxHashSet};

/// The part of a block, beside its stack, that a grouping needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facet {
    /// Nothing: the grouping looks at the stack.
    Stack,
    /// The thread that allocated.
    Thread(StreamId),
    /// The size.
    Size(u64),
    /// The domain.
    Domain(DomainId),
    /// The entry point.
    Kind(Operation),
}

/// What blocks have in common that share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The stack.
    pub stack: StackId,
    /// The rest.
    pub facet: Facet,
}

/// Sums by bucket.
#[derive(Debug, Clone)]
pub struct Buckets<M> {
    /// The sums.
    pub sums: FxHashMap<Bucket, M>,
}

impl<M> Default for Buckets<M> {
    fn default() -> Self {
        Self {
            sums: FxHashMap::default(),
        }
    }
}

impl<M: Measure> Buckets<M> {
    /// Adds `value` to the bucket of `block`.
    pub fn add(&mut self, block: &Block, group_by: GroupBy, value: M) {
        let bucket = Bucket {
            stack: block.stack,
            facet: facet(block, group_by),
        };
        *self.sums.entry(bucket).or_default() += value;
    }

    /// Adds all sums of `other`.
    pub fn merge(&mut self, other: Self) {
        for (bucket, value) in other.sums {
            *self.sums.entry(bucket).or_default() += value;
        }
    }

    /// Every stack that occurs.
    pub fn stacks(&self) -> FxHashSet<StackId> {
        self.sums.keys().map(|bucket| bucket.stack).collect()
    }
}

impl Buckets<Amount> {
    /// The buckets of `blocks`, those that `filter` admits.
    pub fn of_blocks<'b>(
        blocks: impl IntoIterator<Item = &'b Block>,
        filter: &TapeFilter,
        group_by: GroupBy,
    ) -> Self {
        let mut buckets = Self::default();
        for block in blocks.into_iter().filter(|block| filter.admits(block)) {
            buckets.add(block, group_by, Amount::of_block(block.size));
        }
        buckets
    }
}

/// How lifetimes become churn.
#[derive(Debug, Clone, Copy)]
pub struct ChurnRule<'t> {
    /// The tape's clock.
    pub header: &'t TapeHeader,
    /// Lifetimes of blocks that never die last until here.
    pub end_stamp: u64,
    /// A block is temporary when its thread frees it after at most so many other allocations.
    pub temporary_within: u64,
}

impl ChurnRule<'_> {
    /// What one lifetime adds; at `last_end` the last byte of the block was given back.
    #[must_use]
    pub fn churn(&self, lifetime: &Lifetime, last_end: Option<u64>) -> Churn {
        let block = &lifetime.block;
        let end = last_end.unwrap_or(self.end_stamp);
        let (born_ns, end_ns) = (
            self.header.stamp_to_ns(block.born),
            self.header.stamp_to_ns(end.max(block.born)),
        );
        let lifetime_ns = end_ns - born_ns;
        // A death that was only implied (its free was lost) is no free of that thread.
        let is_temporary = lifetime.death.is_some_and(|death| {
            let kind = death.operation.kind();
            matches!(kind, OperationKind::Free | OperationKind::Realloc)
                && death
                    .allocations_between
                    .is_some_and(|between| between <= self.temporary_within)
        });
        Churn {
            allocations: 1,
            bytes_allocated: block.size,
            temporary: u64::from(is_temporary),
            temporary_bytes: if is_temporary { block.size } else { 0 },
            lifetime_sum_ns: u128::from(lifetime_ns),
            lifetime_max_ns: lifetime_ns,
        }
    }
}

fn facet(block: &Block, group_by: GroupBy) -> Facet {
    match group_by {
        GroupBy::Thread => Facet::Thread(block.stream),
        GroupBy::Size => Facet::Size(block.size),
        GroupBy::Domain => Facet::Domain(block.domain),
        GroupBy::Kind => Facet::Kind(block.operation),
        GroupBy::File
        | GroupBy::Line
        | GroupBy::Function
        | GroupBy::Module
        | GroupBy::Traceback => Facet::Stack,
    }
}
