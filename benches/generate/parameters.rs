//! What a generated tape is like.

use clap::Args;

/// The most threads of a model program.
pub const THREADS_MAX: u32 = 64;

/// See each field; the same parameters make the same bytes.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Parameters {
    /// Events: allocations, frees and reallocations (K, M and G are thousands, millions, ...).
    #[arg(long, default_value = "10M", value_parser = number)]
    pub events: u64,
    /// Threads, 1 to 64.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Blocks that are alive at a time; no more than an eighth of the events.
    #[arg(long, default_value = "200K", value_parser = number)]
    pub live: u64,
    /// Percent of the blocks that die young: within some tens of allocations of their thread.
    #[arg(long, default_value_t = 92.0)]
    pub lifetimes: f64,
    /// Distinct call stacks that allocate.
    #[arg(long, default_value = "10K", value_parser = number)]
    pub stacks: u64,
    /// Frames of a stack; half of it to one and a half.
    #[arg(long, default_value_t = 20)]
    pub depth: u32,
    /// Percent of the frees that another thread does than the one that allocated.
    #[arg(long, default_value_t = 5.0)]
    pub cross_thread: f64,
    /// Percent of the freed addresses that are handed out again.
    #[arg(long, default_value_t = 98.0)]
    pub reuse: f64,
    /// Percent of the allocations that are reallocations of a block.
    #[arg(long, default_value_t = 3.0)]
    pub reallocs: f64,
    /// Percent of the events that free what was never allocated.
    #[arg(long, default_value_t = 0.0)]
    pub unknown_frees: f64,
    /// Nanoseconds between two events of a running thread, on average; four run at a time.
    #[arg(long, default_value_t = 300)]
    pub gap_ns: u64,
    /// Marks m0, m1, ... spread over the run, at which the truth is told.
    #[arg(long, default_value_t = 8)]
    pub moments: u32,
    /// Stacks whose live blocks are told at each of them.
    #[arg(long, default_value = "32", value_parser = number)]
    pub told_stacks: u64,
    /// Another seed makes another tape of the same kind.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Default for Parameters {
    /// As on the command line.
    fn default() -> Self {
        Self {
            events: 10_000_000,
            threads: 4,
            live: 200_000,
            lifetimes: 92.0,
            stacks: 10_000,
            depth: 20,
            cross_thread: 5.0,
            reuse: 98.0,
            reallocs: 3.0,
            unknown_frees: 0.0,
            gap_ns: 300,
            moments: 8,
            told_stacks: 32,
            seed: 1,
        }
    }
}

/// `12`, `200K`, `100M`, `1G`, `2.5M`.
///
/// # Errors
/// When it is none of these.
pub fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let refuse = || format!("'{text}' is no number such as 200K, 2.5M or 1G");
    let whole: u64 = whole.parse().map_err(|_| refuse())?;
    let mut value = whole.checked_mul(unit).ok_or_else(refuse)?;
    let mut unit = unit;
    for digit in part.chars() {
        let digit = digit.to_digit(10).ok_or_else(refuse)?;
        if unit % 10 != 0 {
            return Err(refuse());
        }
        unit /= 10;
        value += u64::from(digit) * unit;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        parameters: Parameters,
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(number("12"), Ok(12));
        assert_eq!(number("200K"), Ok(200_000));
        assert_eq!(number("2.5M"), Ok(2_500_000));
        assert_eq!(number("1g"), Ok(1_000_000_000));
        for wrong in ["", "M", "1.5", "-3", "1.2345K", "1e6", "99999999999G"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let line = Line::parse_from(["generate"]);
        assert_eq!(line.parameters, Parameters::default());
    }
}
