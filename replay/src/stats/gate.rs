//! Gates: limits that a change must keep, as `diff --fail-on` states them.
//!
//! `METRIC>LIMIT`: METRIC is `bytes`, `count` or `allocations` of the totals, or `row:METRIC` of
//! any row. LIMIT is an amount (`1000`, `4MiB`) that the second moment must not exceed, or, with a
//! plus sign, one that the growth must not exceed: `+1000`, `+4MiB`, `+5%`.

use super::amount::parse_size;

/// What a gate measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Live bytes.
    Bytes,
    /// Live blocks.
    Count,
    /// Allocations since the start of the recording.
    Allocations,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Amount(u64),
    Growth(u64),
    Percent(f64),
}

/// One expression of `--fail-on`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As it was written.
    pub text: String,
    /// What it measures.
    pub metric: Metric,
    /// Each row must keep the limit, not the total.
    pub each_row: bool,
    limit: Limit,
}

impl Gate {
    /// Reads an expression.
    ///
    /// # Errors
    /// A line that says what is wrong and shows the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = |what: &str| {
            Err(format!(
                "'{text}' is not a gate: {what}; write METRIC>LIMIT, as bytes>4MiB, count>+1000, \
                 bytes>+5% or row:bytes>+64KiB"
            ))
        };
        let Some((metric, limit)) = text.split_once('>') else {
            return refuse("the '>' is missing");
        };
        let (each_row, name) = match metric.trim().strip_prefix("row:") {
            Some(name) => (true, name),
            None => (false, metric.trim()),
        };
        let metric = match name {
            "bytes" => Metric::Bytes,
            "count" => Metric::Count,
            "allocations" => Metric::Allocations,
            _ => return refuse("the metric is not bytes, count or allocations"),
        };
        let limit = limit.trim();
        let limit = match limit.strip_prefix('+') {
            None => parse_size(limit).map(Limit::Amount),
            Some(growth) => match growth.strip_suffix('%') {
                Some(percent) => percent
                    .trim()
                    .parse()
                    .ok()
                    .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0)
                    .map(Limit::Percent),
                None => parse_size(growth).map(Limit::Growth),
            },
        };
        let Some(limit) = limit else {
            return refuse("the limit is no amount");
        };
        Ok(Self {
            text: text.to_owned(),
            metric,
            each_row,
            limit,
        })
    }

    /// True when the limit is one of growth, and none of what there is.
    #[must_use]
    pub fn is_of_growth(&self) -> bool {
        !matches!(self.limit, Limit::Amount(_))
    }

    /// True when it can be judged by the heap at one moment.
    #[must_use]
    pub fn is_of_one_moment(&self) -> bool {
        self.metric != Metric::Allocations && !self.is_of_growth()
    }

    /// True when the limit is a part of what there was.
    #[must_use]
    pub fn is_of_percent(&self) -> bool {
        matches!(self.limit, Limit::Percent(_))
    }

    /// True when going from `from` to `to` is more than the gate allows.
    #[must_use]
    pub fn fails(&self, from: u64, to: u64) -> bool {
        match self.limit {
            Limit::Amount(most) => to > most,
            Limit::Growth(most) => to.saturating_sub(from) > most,
            // A percentage of nothing: any growth is more than it.
            Limit::Percent(percent) => {
                let growth = to.saturating_sub(from) as f64;
                growth > from as f64 * percent / 100.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_hold_or_fail() {
        for (text, from, to, fails) in [
            ("bytes>4KiB", 0, 4096, false),
            ("bytes>4KiB", 0, 4097, true),
            ("bytes > +1000", 500, 1500, false),
            ("bytes>+1000", 500, 1501, true),
            ("count>+5%", 100, 105, false),
            ("count>+5%", 100, 106, true),
            ("count>+5%", 0, 1, true),
            ("count>+5%", 10, 3, false),
            ("row:allocations>+0", 10, 10, false),
            ("row:allocations>+0", 10, 11, true),
        ] {
            assert_eq!(Gate::parse(text).unwrap().fails(from, to), fails, "{text}");
        }
        assert!(Gate::parse("row:bytes>1").unwrap().each_row);
    }

    #[test]
    fn what_is_no_gate_is_refused_with_the_forms() {
        for text in [
            "",
            "bytes",
            "bytes>",
            "bytes>x",
            "size>1",
            "bytes>+-5%",
            "bytes>+nan%",
        ] {
            let error = Gate::parse(text).unwrap_err();
            assert!(error.contains("METRIC>LIMIT"), "{error}");
        }
    }
}
