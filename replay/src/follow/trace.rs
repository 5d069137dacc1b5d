//! Live bytes over the whole run, in as many steps as a screen can show.
//!
//! In: the live bytes after each stamp that changed them. Out: the highest of each of some hundred
//! stretches of equal length, which join in pairs as the run goes on.

/// Stretches that are kept at most.
const STRETCHES_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    start: u64,
    /// Stamps in a stretch: a power of two.
    width_log2: u32,
    /// The highest live bytes in each stretch, its start included.
    highs: Vec<u64>,
    /// The live bytes now.
    now: u64,
}

impl Trace {
    /// Nothing lives from stamp `start` on.
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            width_log2: 0,
            highs: Vec::new(),
            now: 0,
        }
    }

    /// From `stamp` on, which is not before the last one, `bytes` live.
    pub(super) fn observe(&mut self, stamp: u64, bytes: u64) {
        self.pass(stamp);
        self.now = bytes;
        if let Some(high) = self.highs.last_mut() {
            *high = (*high).max(bytes);
        }
    }

    /// Nothing changed up to `stamp`.
    pub(super) fn pass(&mut self, stamp: u64) {
        let passed = stamp.saturating_sub(self.start);
        while passed >> self.width_log2 >= STRETCHES_MAX as u64 {
            self.join();
        }
        // Fewer than the most, by the loop above.
        let count = (passed >> self.width_log2) as usize + 1;
        if self.highs.len() < count {
            self.highs.resize(count, self.now);
        }
    }

    fn join(&mut self) {
        self.width_log2 += 1;
        let pairs = self.highs.chunks(2);
        self.highs = pairs
            .filter_map(|pair| pair.iter().max().copied())
            .collect();
    }

    /// The run so far in `columns` stretches of equal length: the highest live bytes of each.
    #[must_use]
    pub fn columns(&self, columns: usize) -> Vec<u64> {
        let count = self.highs.len();
        let highest = |place: usize| {
            let from = place * count / columns.max(1);
            let to = ((place + 1) * count).div_ceil(columns.max(1)).min(count);
            let part = self.highs.get(from..to.max(from + 1)).unwrap_or_default();
            part.iter().max().copied().unwrap_or(0)
        };
        (0..columns).map(highest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_its_highest() {
        // What lives at its start counts.
        let mut trace = Trace::new(100);
        trace.observe(100, 5);
        trace.observe(101, 9);
        trace.observe(102, 1);
        trace.pass(107);
        assert_eq!(trace.columns(8), [5, 9, 9, 1, 1, 1, 1, 1]);
        assert_eq!(trace.columns(4), [9, 9, 1, 1]);
        assert_eq!(trace.columns(1), [9]);
        assert_eq!(trace.columns(0), [0; 0]);
        assert_eq!(trace.columns(16).len(), 16);
    }

    #[test]
    fn a_long_run_takes_no_more_room_and_loses_no_peak() {
        let mut trace = Trace::new(0);
        for stamp in 0..1_000_000u64 {
            let bytes = if stamp == 654_321 { 1000 } else { stamp % 7 };
            trace.observe(stamp, bytes);
        }
        trace.pass(u64::MAX);
        assert!(trace.highs.len() <= STRETCHES_MAX);
        let columns = trace.columns(50);
        assert_eq!(columns.iter().max(), Some(&1000));
        assert_eq!(columns.last(), Some(&(999_999 % 7)));
        assert_eq!(Trace::new(7).columns(3), [0, 0, 0]);
    }
}
