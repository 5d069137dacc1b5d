//! Several takes of one figure.

use std::fmt;

/// Median, least and greatest of several takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median; of an even number of takes the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of `takes`; None when there are none.
    #[must_use]
    pub fn of(takes: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut takes: Vec<f64> = takes.into_iter().collect();
        takes.sort_by(f64::total_cmp);
        let (min, max) = (*takes.first()?, *takes.last()?);
        let upper = *takes.get(takes.len() / 2)?;
        let lower = *takes.get((takes.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// `1.23 [1.20–1.31]`; the precision is that of the format.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(f, "{median:.digits$} [{min:.digits$}–{max:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_stands_in_the_middle() {
        let odd = Spread::of([9.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 9.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 8.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([]), None);
        assert_eq!(format!("{odd:.1}"), "2.0 [1.0–9.0]");
    }
}
