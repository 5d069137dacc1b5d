//! Sizes as users write them, and the sums that rows hold.

use std::ops::AddAssign;

/// What a row sums up.
pub trait Measure: Clone + Default + PartialEq + AddAssign + std::fmt::Debug {}

/// Live bytes and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Requested bytes.
    pub bytes: u64,
    /// Blocks.
    pub count: u64,
}

impl Measure for Amount {}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.count = self.count.saturating_add(other.count);
    }
}

impl Amount {
    /// One block of `bytes`.
    #[must_use]
    pub fn of_block(bytes: u64) -> Self {
        Self { bytes, count: 1 }
    }
}

/// The same at two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// At the first moment.
    pub from: Amount,
    /// At the second.
    pub to: Amount,
}

impl Measure for Change {}

impl AddAssign for Change {
    fn add_assign(&mut self, other: Self) {
        self.from += other.from;
        self.to += other.to;
    }
}

fn difference(to: u64, from: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(if to > from {
        i64::MAX
    } else {
        i64::MIN
    })
}

impl Change {
    /// Bytes at `to` less bytes at `from`.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        difference(self.to.bytes, self.from.bytes)
    }

    /// Blocks at `to` less blocks at `from`.
    #[must_use]
    pub fn count(&self) -> i64 {
        difference(self.to.count, self.from.count)
    }
}

/// All allocations of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Churn {
    /// Blocks that began to live.
    pub allocations: u64,
    /// Their requested bytes.
    pub bytes_allocated: u64,
    /// Of these, temporary ones.
    pub temporary: u64,
    /// The temporary ones' requested bytes.
    pub temporary_bytes: u64,
    /// Sum of the lifetimes in nanoseconds.
    pub lifetime_sum_ns: u128,
    /// The longest lifetime in nanoseconds.
    pub lifetime_max_ns: u64,
}

impl Measure for Churn {}

impl AddAssign for Churn {
    fn add_assign(&mut self, other: Self) {
        self.allocations = self.allocations.saturating_add(other.allocations);
        self.bytes_allocated = self.bytes_allocated.saturating_add(other.bytes_allocated);
        self.temporary = self.temporary.saturating_add(other.temporary);
        self.temporary_bytes = self.temporary_bytes.saturating_add(other.temporary_bytes);
        self.lifetime_sum_ns = self.lifetime_sum_ns.saturating_add(other.lifetime_sum_ns);
        self.lifetime_max_ns = self.lifetime_max_ns.max(other.lifetime_max_ns);
    }
}

impl Churn {
    /// Mean lifetime in nanoseconds, rounded down; 0 without allocations.
    #[must_use]
    pub fn lifetime_mean_ns(&self) -> u64 {
        let mean = self.lifetime_sum_ns / u128::from(self.allocations.max(1));
        u64::try_from(mean).unwrap_or(u64::MAX)
    }
}

/// Reads a size: `1000`, `4KiB`, `4k`, `1.5MB`. Units with an `i` and bare letters are powers of
/// 1024, those with only a `B` powers of 1000. None when it is not one.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let bytes = whole.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(bytes);
    }
    let fraction = fraction.get(..fraction.len().min(15))?;
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    let part = parts / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    bytes.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("4KiB", Some(4096)),
            ("4k", Some(4096)),
            ("4 MiB", Some(4 << 20)),
            ("1.5MB", Some(1_500_000)),
            ("0.5k", Some(512)),
            (".5k", Some(512)),
            ("2g", Some(2 << 30)),
            ("", None),
            ("k", None),
            ("-1", None),
            ("1..5k", None),
            ("1x", None),
            ("99999999999999999999", None),
            ("99999999t", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn differences_do_not_wrap() {
        let amount = |bytes| Amount { bytes, count: 1 };
        let change = |from, to| Change {
            from: amount(from),
            to: amount(to),
        };
        assert_eq!(change(5, 3).bytes(), -2);
        assert_eq!(change(0, u64::MAX).bytes(), i64::MAX);
        assert_eq!(change(u64::MAX, 0).bytes(), i64::MIN);
        assert_eq!(change(5, 3).count(), 0);
    }
}
