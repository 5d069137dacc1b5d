//! A tape that grows, on a screen.
//!
//! | file | in | out |
//! |---|---|---|
//! | [`session`] | a tape | facts and rows of the moment that is shown |
//! | [`worker`] | a session in a thread of its own, and wishes | shots: all that a screen shows |
//! | [`view`] | keys and shots | what is shown, and wishes |
//! | [`screen`] | a view | letters and colours |
//! | [`table`] | rows | the same, in columns that fit |
//! | [`keys`] | bytes of a terminal | keys |
//! | [`terminal`] | a terminal | a screen of ours, given back on every way out |
//!
//! What comes in: a tape and a terminal. What goes out: letters on that terminal, and nothing that
//! a name in the tape could do to it.

pub mod keys;
pub mod screen;
pub mod session;
pub mod table;
pub mod terminal;
pub mod view;
pub mod worker;

pub use session::{Facts, Rates, Session};
pub use terminal::{Ended, Terminal};
pub use view::{Looks, View};
pub use worker::{Shot, Wish, Worker};
