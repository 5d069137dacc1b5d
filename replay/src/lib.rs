//! heaptape's replay: everything that is known from a tape.
//!
//! | room | what comes out |
//! |---|---|
//! | [`tape`] | an opened tape: its tables, its chunks, its stack table, its damage |
//! | `history` | events of all streams in one order, resolved into blocks that live and die |
//! | [`index`] | totals, steps, slices and survivors, kept in a sidecar file |
//! | `snapshot` | live blocks at a moment, lifetimes in a window, owners of an address |
//! | [`timeline`] | live bytes over time |
//! | [`moment`] | `12.5s`, `peak:2`, `mark:load` and what they stand for |
//! | [`recording`] | all of it behind one type: start here |
//! | [`symbols`] | code places → source frames; which frame is an allocation's place |
//! | [`stats`] | blocks, grouped and filtered: numbers only |
//! | [`export`] | a moment in other tools' formats |
//! | [`repack`] | the same tape, smaller |
//! | [`follow`] | a tape that is still being written, read as it grows |
//! | [`fold`] | a tape that forgets the events up to a moment, and keeps what they left |
//! | [`rewrite`] | how a tape is written anew |
//! | [`cache_folder`] | where what can be made again is kept |
//! | [`replaceable`] | which files a new tape may replace |
//! | [`temporary`] | files that are put in their place when they are whole |
//! | [`report`] | text for people, JSON, CSV |
//! | [`top`] | a tape that grows, on a screen |
pub mod block;
pub mod cache_folder;
pub mod error;
pub mod export;
pub mod fold;
pub mod follow;
pub mod gap;
mod history;
pub mod index;
pub mod moment;
pub mod recording;
pub mod repack;
pub mod replaceable;
pub mod report;
pub mod rewrite;
mod snapshot;
pub mod stats;
pub mod symbols;
pub mod tape;
pub mod temporary;
pub mod timeline;
pub mod top;

pub use error::Error;
pub use gap::Gap;
pub use moment::{Moment, ResolvedMoment};
pub use recording::{OpenOptions, Recording};
pub use tape::Tape;
