//! The drainer: empties the rings of a session into tapes.
//!
//! What comes in: the shared memory of one recording ([`heaptape_session`]) and what the kernel
//! says about its processes. What goes out: one tape ([`heaptape_format`]) for each process image
//! that allocated. It never writes to a target, never takes a lock that a target may hold, and
//! what it has read stays in shared memory until it is in a tape.
//!
//! | file | what |
//! |---|---|
//! | [`drainer`] | one pass after another: start here |
//! | `discover` | new images and streams |
//! | `seal` | words of the rings become chunks of tapes |
//! | `oldest_first` | sealing where tapes must stay under a size |
//! | `pool` | memory for the rings, ahead of demand |
//! | `epoch` | cuts through all threads |
//! | `folding`, `cuts` | tapes that stay under a size |
//! | `ending` | images that are gone: last events, exit, lineage |
//! | `lineage` | parents and children |
//! | `silent` | images that get no tape |
//! | [`stream`] | one thread's records: nodes, events, notes |
//! | [`notes`] | modules, marks, names: what stands between events |
//! | `code` | code objects of Python, put together from their parts |
//! | [`process`] | one image: facts, memory samples |
//! | [`tape`], [`press`], [`tape_file`] | chunks, encoders, the append-only file |
//! | [`names`] | which file is whose tape |
//! | [`clock`] | ticks, stamps, the rate |
//! | [`session_file`] | the file of the shared memory |
//! | [`left`] | sessions that are left over |
//! | `session_room` | where that can be, and how large |
//! | [`recovered`] | going on after a drainer that died |
//! | `ancestors` | parents that only the dead one knew |
//! | `relate` | parents and children after that |
//! | [`outside`] | pause, go on, marks: asked from outside |
//! | [`tape_of`] | which tape a running process is recorded to |
//! | [`process_info`] | what the kernel says |
//! | [`outcome`] | what became of it all |

mod ancestors;
pub mod clock;
mod code;
mod cuts;
mod discover;
pub mod drainer;
mod ending;
mod epoch;
pub mod error;
mod folding;
pub mod left;
mod lineage;
pub mod names;
pub mod notes;
mod oldest_first;
pub mod outcome;
pub mod outside;
mod pool;
pub mod press;
pub mod process;
pub mod process_info;
pub mod recovered;
mod relate;
mod seal;
pub mod session_file;
mod session_room;
mod silent;
pub mod stream;
pub mod tape;
pub mod tape_file;
pub mod tape_of;

pub use drainer::Drainer;
pub use error::DrainError;
pub use folding::{FoldJob, SizeLimit};
pub use left::{LeftSession, LeftState, left_sessions};
pub use names::Names;
pub use outcome::{LOST, NOT_STARTED, Outcome, TapeOutcome};
pub use process::Ending;
pub use recovered::recover;
pub use session_file::Settings;
