//! Starting a command so that it is recorded, and watching over it until it ends.
//!
//! In: a command line and options. Out: the command's exit code, its tapes, a session that is
//! gone. The command must not notice us: it gets its terminal, its signals, its descriptors and
//! its environment as if it had been started alone.
//!
//! | file | what |
//! |---|---|
//! | [`record`] | all of it, step by step: start here |
//! | [`command`] | finding the program |
//! | [`output`] | where the tape may be |
//! | [`executed`] | which program runs: through scripts and the dynamic loader |
//! | [`image`] | can it be recorded? |
//! | [`library`] | where `libheaptape.so` is |
//! | [`unpacked`] | the library that we carry, in a folder of the user's |
//! | [`python_module`] | the module that scripts import, in such a folder |
//! | [`glibc`] | is the C library new enough? |
//! | [`memory_limits`] | is there memory enough to record? |
//! | [`open_files`] | may enough files be open? |
//! | [`last_words`] | what is still done when memory is used up |
//! | [`spawn`] | fork and exec |
//! | [`signals`] | signals on their way to the command |
//! | [`endings`] | signals that would end us before the tapes are done |
//! | [`job`] | stopping when the command stops |
//! | [`witness`] | was a signal sent to us alone? |
//! | [`started`] | what this process was started with |
//! | [`folding`] | a process that folds a tape |
//! | [`detach`] | going on in the background |
//! | [`watch`] | draining until the command has ended, then the rest of its tree |

pub(crate) mod command;
pub(crate) mod detach;
pub(crate) mod endings;
pub(crate) mod executed;
pub(crate) mod folding;
pub(crate) mod glibc;
pub(crate) mod image;
pub(crate) mod job;
pub(crate) mod last_words;
pub(crate) mod library;
pub(crate) mod memory_limits;
pub(crate) mod open_files;
mod output;
pub(crate) mod python_module;
pub(crate) mod record;
pub(crate) mod signals;
pub(crate) mod spawn;
pub(crate) mod started;
pub(crate) mod unpacked;
pub(crate) mod watch;
pub(crate) mod witness;
