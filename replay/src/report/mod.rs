//! Reports: numbers → text for people, JSON, CSV.
//!
//! | file | what |
//! |---|---|
//! | [`units`] | sizes, counts, times and shares as people read them |
//! | [`style`] | colours, the terminal's width |
//! | [`table`] | aligned tables with one wide column |
//! | [`shell`] | words as a shell reads them back |
//! | [`source`] | lines of source files that are still there |
//! | [`rows`] | the rows of stats, leaks, churn and diff: one description for text, JSON and CSV |
//! | [`rows_text`], [`rows_json`], [`csv`] | and their three forms |
//! | [`info`], [`timeline`], [`object`] | the other verbs, text and JSON |
//! | [`summary`] | what `heaptape run` says at the end |
//!
//! What comes in: answers of the replay. What goes out: bytes for a writer. Nothing here asks a
//! tape anything but [`summary`].

pub mod csv;
pub mod info;
pub mod object;
pub mod rows;
pub mod rows_json;
pub mod rows_text;
pub mod shell;
pub mod source;
pub mod style;
pub mod summary;
pub mod table;
pub mod timeline;
pub mod units;

pub use style::{ColorChoice, Style};
pub use summary::{Fuller, summary_for_run};
