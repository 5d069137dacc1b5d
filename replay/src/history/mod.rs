//! The history of the heap: events of all streams, in one order, as blocks that live and die.
//!
//! | file | in | out |
//! |---|---|---|
//! | `transitions` | an event chunk | what begins to live or dies at which address |
//! | `windows` | the chunks of all streams | transitions of a stretch of time, in order |
//! | `ties` | transitions of one address at one stamp | the order in which they fit |
//! | `heap` | windows | who is alive, and every death |
//! | `mappings` | maps and unmaps | the same for address space |
//! | `folded` | a folded tape | who is alive at its first moment |
//! | `reuses` | retags | the same for memory that is used again without being freed |
//!
//! Memory: the live blocks, one window, and for each stream what is left of one chunk. The result
//! does not depend on how events are cut into chunks or windows, nor on the number of threads.

pub(crate) mod folded;
pub(crate) mod heap;
pub(crate) mod mappings;
pub(crate) mod reuses;
pub(crate) mod ties;
pub(crate) mod transitions;
pub(crate) mod windows;
