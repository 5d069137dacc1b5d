//! What the rows of each measure show: one description for text, JSON and CSV.

use super::style::Paint;
use super::table::Cell;
use super::units::{self, Sizes};
use crate::stats::order::Sortable;
use crate::stats::{Amount, Change, Churn};
use serde_json::{Value, json};

/// A measure that can be shown.
pub trait Shown: Sortable {
    /// Headings of the columns of numbers.
    const HEADINGS: &'static [&'static str];
    /// Places of the headings that a narrow terminal does without, the first first.
    const DISPENSABLE: &'static [usize];
    /// Names of the values in JSON and CSV.
    const MEMBERS: &'static [&'static str];
    /// The cells under [`Shown::HEADINGS`]; `total` is that of the answer.
    fn cells(&self, total: &Self, sizes: Sizes) -> Vec<Cell>;
    /// The values of [`Shown::MEMBERS`].
    fn values(&self, total: &Self) -> Vec<Value>;
    /// The numbers in words: `1.2 MiB in 3 blocks`.
    fn words(&self, sizes: Sizes) -> String;
    /// All numbers of a row in words, in the order of the headings.
    fn parts(&self, total: &Self, sizes: Sizes) -> Vec<Cell>;
}

impl Shown for Amount {
    const HEADINGS: &'static [&'static str] = &["bytes", "%", "blocks", "average"];
    const DISPENSABLE: &'static [usize] = &[3, 1];
    const MEMBERS: &'static [&'static str] = &["bytes", "count", "percent"];

    fn cells(&self, total: &Self, sizes: Sizes) -> Vec<Cell> {
        let percent = units::percent(self.bytes, total.bytes);
        vec![
            Cell::new(sizes.size(self.bytes), Paint::Number),
            Cell::plain(format!("{percent:.1}")),
            Cell::plain(units::count(self.count)),
            Cell::new(sizes.size(self.bytes / self.count.max(1)), Paint::Dim),
        ]
    }

    fn values(&self, total: &Self) -> Vec<Value> {
        vec![
            json!(self.bytes),
            json!(self.count),
            json!(units::percent(self.bytes, total.bytes)),
        ]
    }

    fn words(&self, sizes: Sizes) -> String {
        format!(
            "{} in {}",
            sizes.size_unit(self.bytes),
            units::counted(self.count, "block")
        )
    }

    fn parts(&self, total: &Self, sizes: Sizes) -> Vec<Cell> {
        let percent = units::percent(self.bytes, total.bytes);
        let average = sizes.size_unit(self.bytes / self.count.max(1));
        vec![
            Cell::new(sizes.size_unit(self.bytes), Paint::Number),
            Cell::plain(format!("{percent:.1} %")),
            Cell::plain(units::counted(self.count, "block")),
            Cell::new(format!("{average} average"), Paint::Dim),
        ]
    }
}

/// More memory is worse.
fn change_paint(change: i64) -> Paint {
    match change {
        1.. => Paint::Worse,
        0 => Paint::Plain,
        _ => Paint::Better,
    }
}

impl Shown for Change {
    const HEADINGS: &'static [&'static str] = &["bytes ±", "bytes", "blocks ±", "blocks"];
    const DISPENSABLE: &'static [usize] = &[3, 1, 2];
    const MEMBERS: &'static [&'static str] =
        &["bytes", "bytes_diff", "count", "count_diff", "percent"];

    fn cells(&self, _total: &Self, sizes: Sizes) -> Vec<Cell> {
        vec![
            Cell::new(sizes.signed(self.bytes()), change_paint(self.bytes())),
            Cell::plain(sizes.size(self.to.bytes)),
            Cell::new(
                units::signed_count(self.count()),
                change_paint(self.count()),
            ),
            Cell::plain(units::count(self.to.count)),
        ]
    }

    fn values(&self, total: &Self) -> Vec<Value> {
        vec![
            json!(self.to.bytes),
            json!(self.bytes()),
            json!(self.to.count),
            json!(self.count()),
            json!(units::percent(self.to.bytes, total.to.bytes)),
        ]
    }

    fn words(&self, sizes: Sizes) -> String {
        format!(
            "{} in {}, to {}",
            sizes.signed_unit(self.bytes()),
            units::signed_counted(self.count(), "block"),
            self.to.words(sizes)
        )
    }

    fn parts(&self, _total: &Self, sizes: Sizes) -> Vec<Cell> {
        let (bytes, count) = (self.bytes(), self.count());
        vec![
            Cell::new(sizes.signed_unit(bytes), change_paint(bytes)),
            Cell::plain(format!("to {}", sizes.size_unit(self.to.bytes))),
            Cell::new(units::signed_counted(count, "block"), change_paint(count)),
            Cell::plain(format!("to {}", units::count(self.to.count))),
        ]
    }
}

impl Shown for Churn {
    const HEADINGS: &'static [&'static str] = &[
        "allocated",
        "allocations",
        "temporary",
        "%",
        "mean life",
        "longest",
    ];
    const DISPENSABLE: &'static [usize] = &[3, 5, 4, 2];
    const MEMBERS: &'static [&'static str] = &[
        "allocations",
        "bytes_allocated",
        "temporary",
        "temporary_bytes",
        "mean_lifetime_ns",
        "max_lifetime_ns",
    ];

    fn cells(&self, _total: &Self, sizes: Sizes) -> Vec<Cell> {
        let temporary = units::percent(self.temporary, self.allocations);
        vec![
            Cell::new(sizes.size(self.bytes_allocated), Paint::Number),
            Cell::plain(units::count(self.allocations)),
            Cell::plain(units::count(self.temporary)),
            Cell::plain(format!("{temporary:.1}")),
            Cell::plain(units::time(self.lifetime_mean_ns())),
            Cell::new(units::time(self.lifetime_max_ns), Paint::Dim),
        ]
    }

    fn values(&self, _total: &Self) -> Vec<Value> {
        vec![
            json!(self.allocations),
            json!(self.bytes_allocated),
            json!(self.temporary),
            json!(self.temporary_bytes),
            json!(self.lifetime_mean_ns()),
            json!(self.lifetime_max_ns),
        ]
    }

    fn words(&self, sizes: Sizes) -> String {
        let share = units::percent(self.temporary, self.allocations);
        format!(
            "{} in {}, {} of them temporary ({share:.1} %)",
            sizes.size_unit(self.bytes_allocated),
            units::counted(self.allocations, "allocation"),
            units::count(self.temporary),
        )
    }

    fn parts(&self, _total: &Self, sizes: Sizes) -> Vec<Cell> {
        let share = units::percent(self.temporary, self.allocations);
        let allocated = sizes.size_unit(self.bytes_allocated);
        let temporary = units::count(self.temporary);
        let mean = units::time(self.lifetime_mean_ns());
        let longest = units::time(self.lifetime_max_ns);
        vec![
            Cell::new(format!("{allocated} allocated"), Paint::Number),
            Cell::plain(units::counted(self.allocations, "allocation")),
            Cell::plain(format!("{temporary} temporary ({share:.1} %)")),
            Cell::plain(format!("mean life {mean}")),
            Cell::new(format!("longest {longest}"), Paint::Dim),
        ]
    }
}
