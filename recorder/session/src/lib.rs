//! The shared memory of one recording: how the target's threads hand events to the drainer.
//!
//! One *session* is one file on tmpfs that every process of the recorded tree and the drainer
//! map. It holds, in this order (see [`layout`]):
//!
//! 1. the [`layout::SessionHeader`]: options, the clock, the drainer's heartbeat;
//! 2. [`layout::ProcessSlot`]s: one for each recorded process image;
//! 3. [`layout::StreamSlot`]s: one for each thread that records (two when a signal handler
//!    interrupted the recorder itself);
//! 4. the owners of the chunks, one word each;
//! 5. the [`layout::Chunk`]s: pieces of the rings.
//!
//! | file | what |
//! |---|---|
//! | [`sync`] | atomics, exchanged for loom's in model checking |
//! | [`sys`] | raw system calls: no errno, no interposed symbol |
//! | [`layout`] | the structures and where they lie |
//! | [`map`] | creating, opening and mapping the file |
//! | [`slots`] | claiming and giving back process and stream slots |
//! | [`ring`] | the single-producer, single-consumer sequence of chunks |
//! | [`turns`] | who gets the next free chunk when they are scarce |
//! | [`record`] | the words of a record, encoding and decoding side by side |
//! | [`limits`] | limits under which an image is not recorded |
//! | [`loader`] | what the dynamic loader does when it is started as a command |
//! | [`linked`] | which static programs are linked with the recorder |
//! | [`allocators`] | which programs bring an allocator of their own |
//! | [`reasons`] | why an image cannot be recorded, in words |
//!
//! Guarantees. No lock lives here: a slot or a chunk is claimed by one compare-and-swap of its
//! owner word, which names the claimer, so a process that dies between any two instructions
//! leaves nothing that the drainer cannot give back. A record is visible to the drainer wholly or
//! not at all, and what is visible survives the death of its writer. The other side may be
//! damaged: whatever is read from shared memory is checked before it is used as an index.
#![cfg_attr(not(any(test, loom)), no_std)]

pub mod allocators;
pub mod layout;
pub mod limits;
pub mod linked;
pub mod loader;
pub mod map;
pub mod reasons;
pub mod record;
pub mod ring;
pub mod slots;
pub mod sync;
pub mod sys;
pub mod turns;

/// Rises with every change of the layout or of the records: processes of one session must agree.
pub const SESSION_VERSION: u32 = 4;
