//! Symbols: what the code places of a tape are called, and which of them made an allocation.
//!
//! | file | what |
//! |---|---|
//! | [`native`] | places in modules → functions, files, lines, in parallel over modules |
//! | `elf_file` | places in one file → the same, from the files of this machine |
//! | `cache` | what was found before, in the user's cache folder |
//! | `companions` | separate debug files: where they are, and that they are files |
//! | [`names`] | mangled names → the names that reports show |
//! | `itanium` | mangled names of C++ → names of C++ |
//! | [`paths`] | DWARF paths, tidied |
//! | [`pattern`] | shell-style patterns |
//! | [`frames`] | source frames, interned |
//! | [`known`] | what was found, kept for the next question |
//! | `python` | frames of Python → functions, files, lines, from the tape's code objects |
//! | [`stack_frames`] | the frames of whole stacks |
//! | [`wrappers`] | the rule that says which frames are wrappers, and its tables |
//! | `standard_library` | which functions are the standard libraries' |
//! | `bundled` | which functions Rust's standard library brings along to print stacks |
//! | [`attribution`] | the frame that is an allocation's place, by that rule |
//! | `batch` | places of several tapes, looked up together |
//! | [`embed`] | writing symbols into tapes, so that they can be read anywhere |
//!
//! What comes in: stacks of a tape. What goes out: source frames, the most recent first. Nothing
//! here counts bytes, and only [`embed`] and `cache` write.

pub mod attribution;
mod batch;
mod bundled;
mod cache;
mod companions;
mod elf_file;
pub mod embed;
mod entry;
pub mod frames;
mod itanium;
pub mod known;
pub mod names;
pub mod native;
pub mod paths;
pub mod pattern;
mod python;
mod shield;
pub mod stack_frames;
mod standard_library;
pub mod wrappers;

pub use attribution::Attribution;
pub use embed::{EmbedError, Symbolized, symbolize_tape, symbolize_tapes};
pub use frames::{FrameId, FrameTable, Language, ResolvedFrame};
pub use known::KnownSymbols;
pub use stack_frames::{StackFrames, StackSource};
