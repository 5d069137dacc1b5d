//! Sizes, counts, times and shares as people read them.

/// `1234567` → `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its sign: `+1,234`.
#[must_use]
pub fn signed_count(number: i64) -> String {
    format!("{}{}", sign(number), count(number.unsigned_abs()))
}

fn sign(number: i64) -> &'static str {
    match number {
        1.. => "+",
        0 => "",
        _ => "-",
    }
}

/// A size as tracemalloc writes it: `512 B`, `10.0 KiB`, `1465 KiB`, `99.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    for (place, unit) in units.into_iter().enumerate() {
        if place > 0 && scaled < 100.0 {
            return format!("{scaled:.1} {unit}");
        }
        if scaled < 10.0 * 1024.0 || unit == "TiB" {
            return format!("{scaled:.0} {unit}");
        }
        scaled /= 1024.0;
    }
    String::new()
}

/// A size with its sign: `+1465 KiB`.
#[must_use]
pub fn signed_size(bytes: i64) -> String {
    format!("{}{}", sign(bytes), size(bytes.unsigned_abs()))
}

/// Sizes either for people or to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes with thousands separators in place of KiB and MiB.
    pub exact: bool,
}

impl Sizes {
    /// A size.
    #[must_use]
    pub fn size(self, bytes: u64) -> String {
        if self.exact {
            count(bytes)
        } else {
            size(bytes)
        }
    }

    /// A size with its unit in every case.
    #[must_use]
    pub fn size_unit(self, bytes: u64) -> String {
        if self.exact {
            counted(bytes, "byte")
        } else {
            size(bytes)
        }
    }

    /// A size with its sign and its unit in every case.
    #[must_use]
    pub fn signed_unit(self, bytes: i64) -> String {
        if self.exact {
            signed_counted(bytes, "byte")
        } else {
            signed_size(bytes)
        }
    }

    /// A size with its sign.
    #[must_use]
    pub fn signed(self, bytes: i64) -> String {
        if self.exact {
            signed_count(bytes)
        } else {
            signed_size(bytes)
        }
    }
}

/// `noun` with its number: `1 block`, `2 blocks`, `3 processes`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), noun_of(number, noun))
}

/// As [`counted`], with the sign of the number: `+1 block`.
#[must_use]
pub fn signed_counted(number: i64, noun: &str) -> String {
    let noun = noun_of(number.unsigned_abs(), noun);
    format!("{} {noun}", signed_count(number))
}

/// `noun` as it stands behind `number`.
fn noun_of(number: u64, noun: &str) -> String {
    let ending = match noun {
        _ if number == 1 => "",
        hissing if hissing.ends_with('s') => "es",
        _ => "s",
    };
    format!("{noun}{ending}")
}

/// A time: `850 ns`, `12.3 µs`, `4.56 ms`, `12.345 s`, `3 min 20.5 s`, `2 h 5 min`.
#[must_use]
pub fn time(ns: u64) -> String {
    let float = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", float / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", float / 1e6),
        1_000_000_000..60_000_000_000 => format!("{:.3} s", float / 1e9),
        60_000_000_000..3_600_000_000_000 => {
            let minutes = ns / 60_000_000_000;
            let rest = (ns % 60_000_000_000) as f64 / 1e9;
            format!("{minutes} min {rest:.1} s")
        }
        _ => {
            let minutes = ns / 60_000_000_000;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// `part` of `whole` in percent; 0 of nothing is 0.
#[must_use]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_tracemalloc() {
        for (bytes, text) in [
            (0, "0 B"),
            (10_239, "10239 B"),
            (10_240, "10.0 KiB"),
            (101_376, "99.0 KiB"),
            (1_500_160, "1465 KiB"),
            (103_809_024, "99.0 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(signed_size(-10_240), "-10.0 KiB");
        assert_eq!(signed_size(1_500_160), "+1465 KiB");
        assert_eq!(signed_size(0), "0 B");
    }

    #[test]
    fn counts_have_separators() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(signed_count(-1234), "-1,234");
        assert_eq!(signed_count(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!(counted(1, "block"), "1 block");
        assert_eq!(counted(0, "block"), "0 blocks");
        assert_eq!(counted(1000, "block"), "1,000 blocks");
        assert_eq!(counted(1, "process"), "1 process");
        assert_eq!(counted(2, "process"), "2 processes");
        assert_eq!(signed_counted(1, "block"), "+1 block");
        assert_eq!(signed_counted(-1, "block"), "-1 block");
        assert_eq!(signed_counted(-2, "block"), "-2 blocks");
        let exact = Sizes { exact: true };
        assert_eq!(exact.size_unit(1), "1 byte");
        assert_eq!(exact.signed_unit(-2000), "-2,000 bytes");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (ns, text) in [
            (850, "850 ns"),
            (12_345, "12.3 µs"),
            (4_560_000, "4.56 ms"),
            (12_345_000_000, "12.345 s"),
            (200_500_000_000, "3 min 20.5 s"),
            (7_500_000_000_000, "2 h 5 min"),
        ] {
            assert_eq!(time(ns), text);
        }
    }
}
