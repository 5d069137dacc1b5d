//! How long one question takes, asked again and again.

use heaptape_benches::machine;
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
    /// CPU of each, of all threads and processes; sorted.
    cpu: Vec<f64>,
}

/// Milliseconds of CPU that this process and its children have used.
pub(crate) fn cpu_ms() -> f64 {
    let both = [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(machine::own_cpu_seconds);
    both.into_iter().sum::<f64>() * 1e3
}

impl Latency {
    /// Of `question`, which is told how often it was asked before.
    pub(crate) fn of<R>(
        mut question: impl FnMut(usize) -> anyhow::Result<R>,
    ) -> anyhow::Result<Self> {
        let (mut takes, begun) = (Vec::new(), Instant::now());
        let mut cpu = Vec::new();
        while takes.len() < ASKED_MAX && (takes.len() < ASKED_MIN || begun.elapsed() < ENOUGH) {
            let (used, start) = (cpu_ms(), Instant::now());
            black_box(question(takes.len())?);
            takes.push(start.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_ms() - used);
        }
        Ok(Self::of_takes(takes, cpu))
    }

    /// Of figures that are known.
    pub(crate) fn of_takes(mut takes: Vec<f64>, mut cpu: Vec<f64>) -> Self {
        takes.sort_by(f64::total_cmp);
        cpu.sort_by(f64::total_cmp);
        Self { takes, cpu }
    }

    pub(crate) fn p50(&self) -> f64 {
        percentile(&self.takes, 50)
    }

    pub(crate) fn p95(&self) -> f64 {
        percentile(&self.takes, 95)
    }
}

/// The smallest take that `percent` of them do not exceed.
fn percentile(takes: &[f64], percent: usize) -> f64 {
    let place = (takes.len() * percent).div_ceil(100).saturating_sub(1);
    takes.get(place).copied().unwrap_or(f64::NAN)
}

/// `1.2 / 3.4 (0.9)`: a half and nineteen twentieths were no slower; half used no more CPU.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p95, cpu) = (self.p50(), self.p95(), percentile(&self.cpu, 50));
        write!(f, "{p50:.1} / {p95:.1} ({cpu:.1})")
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn percentiles_are_takes() {
        let takes: Vec<f64> = (1..=40).rev().map(f64::from).collect();
        let takes = Latency::of_takes(takes, Vec::new());
        assert_eq!((takes.p50(), takes.p95()), (20.0, 38.0));
        let few = Latency::of_takes(vec![3.0, 1.0, 2.0], vec![0.5, 9.0, 0.1]);
        assert_eq!(few.to_string(), "2.0 / 3.0 (0.5)");
    }
}
