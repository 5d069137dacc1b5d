//! Peaks: the moments at which the live heap was high, each separate from the others.
//!
//! In: the live bytes after each stamp, in the order of time. Out: the highest peaks. Two peaks
//! are separate when the live bytes fall, somewhere between them, to at most nine tenths of the
//! lower one. So a peak is the first moment of the highest live bytes between two such valleys
//! (or the ends of the run), and the first of them all is the peak of the run.

use super::Peak;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Peaks that are kept.
pub const PEAKS_MAX: usize = 1000;
/// A valley is at most this many tenths of the lower peak beside it.
const VALLEY_TENTHS: u128 = 9;

/// True when `valley` separates from a peak of `bytes`.
fn is_valley(valley: u64, bytes: u64) -> bool {
    u128::from(valley) * 10 <= u128::from(bytes) * VALLEY_TENTHS
}

/// Follows the live bytes.
#[derive(Debug, Default)]
pub(super) struct PeakFinder {
    /// Lowest first, so that the least is dropped when there are too many.
    found: BinaryHeap<Reverse<(u64, Reverse<u64>, u64)>>,
    /// The highest moment since the last valley; None while falling.
    rising: Option<Peak>,
    /// The lowest bytes since the last peak.
    valley: u64,
}

impl PeakFinder {
    /// Takes the state of the heap after a stamp.
    pub(super) fn observe(&mut self, now: Peak) {
        match &mut self.rising {
            Some(high) if now.bytes > high.bytes => *high = now,
            Some(high) if is_valley(now.bytes, high.bytes) => {
                let high = *high;
                self.keep(high);
                self.rising = None;
                self.valley = now.bytes;
            }
            Some(_) => {}
            None if now.bytes < self.valley => self.valley = now.bytes,
            None if now.bytes > 0 && is_valley(self.valley, now.bytes) => self.rising = Some(now),
            None => {}
        }
    }

    fn keep(&mut self, peak: Peak) {
        self.found
            .push(Reverse((peak.bytes, Reverse(peak.stamp), peak.count)));
        if self.found.len() > PEAKS_MAX {
            self.found.pop();
        }
    }

    /// The peaks, the highest first, of equal ones the earliest.
    pub(super) fn finish(mut self) -> Vec<Peak> {
        if let Some(high) = self.rising.take() {
            self.keep(high);
        }
        let mut peaks: Vec<Peak> = self
            .found
            .into_iter()
            .map(|Reverse((bytes, Reverse(stamp), count))| Peak {
                stamp,
                bytes,
                count,
            })
            .collect();
        peaks.sort_by_key(|peak| (Reverse(peak.bytes), peak.stamp));
        peaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peaks_of(bytes: &[u64]) -> Vec<(u64, u64)> {
        let mut finder = PeakFinder::default();
        for (stamp, &bytes) in (1u64..).zip(bytes) {
            finder.observe(Peak {
                stamp,
                bytes,
                count: 1,
            });
        }
        let peaks = finder.finish();
        peaks.iter().map(|peak| (peak.stamp, peak.bytes)).collect()
    }

    #[test]
    fn a_fall_of_a_tenth_separates_and_less_does_not() {
        assert_eq!(peaks_of(&[100, 90, 100]), [(1, 100), (3, 100)]);
        assert_eq!(peaks_of(&[100, 91, 100]), [(1, 100)]);
        assert_eq!(peaks_of(&[50, 100, 90, 99, 200]), [(5, 200), (2, 100)]);
        assert_eq!(peaks_of(&[100, 90, 95, 85, 94, 0, 7]), [(1, 100), (7, 7)]);
        assert_eq!(peaks_of(&[0, 0]), []);
        assert_eq!(peaks_of(&[u64::MAX, 1, u64::MAX]).len(), 2);
    }

    #[test]
    fn only_the_highest_are_kept() {
        let bytes: Vec<u64> = (1..=1500u64).flat_map(|height| [height * 10, 0]).collect();
        let peaks = peaks_of(&bytes);
        assert_eq!(peaks.len(), PEAKS_MAX);
        assert_eq!(peaks.first().map(|peak| peak.1), Some(15_000));
        assert_eq!(peaks.last().map(|peak| peak.1), Some(5_010));
    }
}
