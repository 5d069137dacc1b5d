//! How long one question takes, asked again and again.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often each question is asked, at most and at least.
const ASKED_MAX: usize = 40;
const ASKED_MIN: usize = 3;
/// Behind this time no question is asked again.
const ENOUGH: Duration = Duration::from_secs(10);

/// Milliseconds of several takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    /// Sorted.
    takes: Vec<f64>,
}

impl Latency {
    /// Of `question`, which is told how often it was asked before.
    pub(crate) fn of<R>(
        mut question: impl FnMut(usize) -> anyhow::Result<R>,
    ) -> anyhow::Result<Self> {
        let (mut takes, begun) = (Vec::new(), Instant::now());
        while takes.len() < ASKED_MAX && (takes.len() < ASKED_MIN || begun.elapsed() < ENOUGH) {
            let start = Instant::now();
            black_box(question(takes.len())?);
            takes.push(start.elapsed().as_secs_f64() * 1e3);
        }
        takes.sort_by(f64::total_cmp);
        Ok(Self { takes })
    }

    /// Of figures that are known.
    pub(crate) fn of_takes(mut takes: Vec<f64>) -> Self {
        takes.sort_by(f64::total_cmp);
        Self { takes }
    }

    /// The smallest take that `percent` of them do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let place = (self.takes.len() * percent).div_ceil(100).saturating_sub(1);
        self.takes.get(place).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    pub(crate) fn p95(&self) -> f64 {
        self.percentile(95)
    }
}

/// `1.2 / 3.4`: of each a half and nineteen twentieths were no slower.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} / {:.1}", self.p50(), self.p95())
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn percentiles_are_takes() {
        let takes = Latency::of_takes((1..=40).rev().map(f64::from).collect());
        assert_eq!((takes.p50(), takes.p95()), (20.0, 38.0));
        let few = Latency::of_takes(vec![3.0, 1.0, 2.0]);
        assert_eq!(few.to_string(), "2.0 / 3.0");
    }
}
