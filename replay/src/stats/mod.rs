//! Statistics: blocks, grouped and filtered. Numbers only, no text for people.
//!
//! | file | what |
//! |---|---|
//! | [`amount`] | sizes as users write them, and the sums that rows hold |
//! | [`filter`] | which blocks count |
//! | [`bucket`] | blocks, summed by what the grouping needs of them |
//! | [`key`] | the keys of rows: what stands for a block in each grouping |
//! | [`trace`] | the lists that tracebacks are |
//! | [`group`] | buckets → rows |
//! | `grouped` | the same, of a tape's buckets |
//! | [`profile`] | what lives, counted by all that a grouping or a filter looks at |
//! | [`order`] | which row comes first |
//! | [`gate`] | limits that a diff must keep |
//! | [`query`] | all of it behind one type: the answers of `stats`, `diff`, `leaks`, `churn` |
//! | `standing` | the same, of profiles: the answers of `top` |
//!
//! What comes in: blocks and lifetimes of a recording. What goes out: rows that (without
//! `--cumulative`) add up to their total, in an order that is total.

pub mod amount;
pub mod bucket;
pub mod filter;
pub mod gate;
pub mod group;
mod grouped;
pub mod key;
pub mod order;
pub mod profile;
pub mod query;
mod standing;
pub mod trace;

pub use amount::{Amount, Change, Churn, Measure};
pub use filter::{BlockFilter, FilePattern, FrameFilter};
pub use gate::Gate;
pub use group::{Cumulative, Grouper, Rows};
pub use key::{GroupBy, KeyId};
pub use order::SortBy;
pub use profile::Profile;
pub use query::{Query, QueryError};
