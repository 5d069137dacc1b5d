//! A moment of a tape in the formats of other tools: one file a format.
//!
//! | file | what |
//! |---|---|
//! | [`tracemalloc`] | a snapshot that Python's `tracemalloc.Snapshot.load` opens |
//! | `pickle` | the bytes of Python's objects |
//! | [`place`] | where an export may go, and how it comes there whole |
//!
//! What comes in: a recording and a [`Query`](crate::stats::Query). What goes out: bytes, written
//! as they are made. Nothing here asks what a number means to the other tool's user.

mod pickle;
pub mod place;
pub mod tracemalloc;

pub use place::{Place, PlaceError};
