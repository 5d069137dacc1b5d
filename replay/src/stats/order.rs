//! Which row comes first. Every order is total: ties end at the key's text.

use super::amount::{Amount, Change, Churn, Measure};
use super::group::Grouper;
use super::key::{GroupBy, KeyId};
use std::cmp::{Ordering, Reverse};

/// What rows are sorted by, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// Bytes (of a diff: the size of their change).
    #[default]
    Bytes,
    /// Blocks (of a diff: the size of their change; of churn: allocations).
    Count,
    /// Bytes by block.
    Average,
    /// The key, the smallest first.
    Key,
    /// Diff: the change of bytes, from what grew most to what shrank most.
    Growth,
    /// Diff: bytes at the second moment.
    LiveBytes,
    /// Diff: blocks at the second moment.
    LiveCount,
    /// Churn: temporary allocations.
    Temporary,
    /// Churn: their bytes.
    TemporaryBytes,
    /// Churn: mean lifetime.
    Lifetime,
    /// Churn: longest lifetime.
    LifetimeMax,
}

impl SortBy {
    /// Every order.
    pub const ALL: [Self; 11] = [
        Self::Bytes,
        Self::Count,
        Self::Average,
        Self::Key,
        Self::Growth,
        Self::LiveBytes,
        Self::LiveCount,
        Self::Temporary,
        Self::TemporaryBytes,
        Self::Lifetime,
        Self::LifetimeMax,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Average => "average",
            Self::Key => "key",
            Self::Growth => "growth",
            Self::LiveBytes => "live-bytes",
            Self::LiveCount => "live-count",
            Self::Temporary => "temporary",
            Self::TemporaryBytes => "temporary-bytes",
            Self::Lifetime => "lifetime",
            Self::LifetimeMax => "max-lifetime",
        }
    }
}

/// A measure that rows can be sorted by.
pub trait Sortable: Measure {
    /// The numbers to compare in turn, larger ones first; None when the measure has no such order.
    fn ranks(&self, by: SortBy) -> Option<[u128; 4]>;
}

fn average(bytes: u64, count: u64) -> u128 {
    // In thousandths of a byte: rows with close averages stay apart.
    u128::from(bytes) * 1000 / u128::from(count.max(1))
}

impl Sortable for Amount {
    fn ranks(&self, by: SortBy) -> Option<[u128; 4]> {
        let (bytes, count) = (u128::from(self.bytes), u128::from(self.count));
        match by {
            SortBy::Bytes => Some([bytes, count, 0, 0]),
            SortBy::Count => Some([count, bytes, 0, 0]),
            SortBy::Average => Some([average(self.bytes, self.count), bytes, count, 0]),
            SortBy::Key => Some([0; 4]),
            _ => None,
        }
    }
}

impl Sortable for Change {
    fn ranks(&self, by: SortBy) -> Option<[u128; 4]> {
        let (bytes, count) = (u128::from(self.to.bytes), u128::from(self.to.count));
        let bytes_diff = u128::from(self.bytes().unsigned_abs());
        let count_diff = u128::from(self.count().unsigned_abs());
        match by {
            SortBy::Bytes => Some([bytes_diff, bytes, count_diff, count]),
            SortBy::Count => Some([count_diff, count, bytes_diff, bytes]),
            SortBy::Growth => {
                let grown = (i128::from(self.bytes()) - i128::from(i64::MIN)).unsigned_abs();
                Some([grown, bytes, count_diff, count])
            }
            SortBy::LiveBytes => Some([bytes, count, bytes_diff, count_diff]),
            SortBy::LiveCount => Some([count, bytes, count_diff, bytes_diff]),
            SortBy::Average => {
                let average = average(self.to.bytes, self.to.count);
                Some([average, bytes_diff, bytes, count_diff])
            }
            SortBy::Key => Some([0; 4]),
            _ => None,
        }
    }
}

impl Sortable for Churn {
    fn ranks(&self, by: SortBy) -> Option<[u128; 4]> {
        let (bytes, count) = (
            u128::from(self.bytes_allocated),
            u128::from(self.allocations),
        );
        let temporary = u128::from(self.temporary);
        let temporary_bytes = u128::from(self.temporary_bytes);
        let first = match by {
            SortBy::Bytes => return Some([bytes, count, 0, 0]),
            SortBy::Count => return Some([count, bytes, 0, 0]),
            SortBy::Temporary => return Some([temporary, temporary_bytes, bytes, count]),
            SortBy::TemporaryBytes => return Some([temporary_bytes, temporary, bytes, count]),
            SortBy::Average => average(self.bytes_allocated, self.allocations),
            SortBy::Lifetime => u128::from(self.lifetime_mean_ns()),
            SortBy::LifetimeMax => u128::from(self.lifetime_max_ns),
            SortBy::Key => return Some([0; 4]),
            SortBy::Growth | SortBy::LiveBytes | SortBy::LiveCount => return None,
        };
        Some([first, bytes, count, 0])
    }
}

/// Compares two rows: the one that comes first is `Less`.
pub fn compare<M: Sortable>(
    one: &(KeyId, M),
    other: &(KeyId, M),
    by: SortBy,
    grouper: &Grouper,
) -> Ordering {
    let ranks = |row: &(KeyId, M)| Reverse(row.1.ranks(by).unwrap_or_default());
    let keys = || match (by, grouper.group_by()) {
        (SortBy::Key, GroupBy::Traceback) => grouper.compare(one.0, other.0),
        (SortBy::Key, _) => by_value(&grouper.text(one.0), &grouper.text(other.0)),
        _ => grouper.compare(one.0, other.0).reverse(),
    };
    ranks(one).cmp(&ranks(other)).then_with(keys)
}

/// Compares two texts, the numbers in them by value: sizes, ids of threads, lines of files.
fn by_value(one: &str, other: &str) -> Ordering {
    let parts =
        |text| str::as_bytes(text).chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let mut others = parts(other);
    for left in parts(one) {
        let Some(right) = others.next() else {
            return Ordering::Greater;
        };
        let order = match (number(left), number(right)) {
            // Of two numbers without zeros in front the longer one is larger.
            (Some(left), Some(right)) => (left.len(), left).cmp(&(right.len(), right)),
            _ => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
    match others.next() {
        Some(_) => Ordering::Less,
        None => one.cmp(other),
    }
}

/// The digits of a number without zeros in front; None for what is no number.
fn number(part: &[u8]) -> Option<&[u8]> {
    let is_number = part.first().is_some_and(u8::is_ascii_digit);
    let zeros = part.iter().take_while(|&&digit| digit == b'0').count();
    is_number.then_some(part.get(zeros..).unwrap_or_default())
}

/// The rows of a map in order.
pub fn sorted<M: Sortable>(
    rows: impl IntoIterator<Item = (KeyId, M)>,
    by: SortBy,
    grouper: &Grouper,
) -> Vec<(KeyId, M)> {
    let mut rows: Vec<(KeyId, M)> = rows.into_iter().collect();
    rows.sort_unstable_by(|one, other| compare(one, other, by, grouper));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_keys_are_compared_by_value() {
        let sorted = [
            "", "0", "007", "7", "10", "1003", "a", "a 9 (8)", "a 9 (10)", "a 10 (1)", "a.c:9",
            "a.c:10", "a.c:10b", "b",
        ];
        for (place, one) in sorted.iter().enumerate() {
            for (other_place, other) in sorted.iter().enumerate() {
                assert_eq!(
                    by_value(one, other),
                    place.cmp(&other_place),
                    "{one} {other}"
                );
            }
        }
    }
}
