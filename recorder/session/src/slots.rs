//! Claiming and giving back process and stream slots.
//!
//! A slot's owner word names its owner and its phase; one compare-and-swap claims it. The owner
//! moves it to RUNNING and FINISHED, the drainer alone moves it back to FREE, with the next
//! generation, after it has read everything.

use crate::layout::{ProcessSlot, StreamSlot, phase};
use crate::map::SessionMap;
use crate::ring::{Memory, sweep_chunks};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The parts of a process slot's owner word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessOwner {
    /// Process id; 0 when free.
    pub pid: u32,
    /// Changes with every owner.
    pub generation: u32,
    /// See [`phase`].
    pub phase: u64,
}

impl ProcessOwner {
    /// Takes a word apart.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        Self {
            pid: (word >> 32) as u32,
            generation: (word >> 8) as u32 & 0xff_ffff,
            phase: word & 0xff,
        }
    }

    /// Puts it together.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.generation & 0xff_ffff) << 8 | self.phase
    }
}

/// The parts of a stream slot's owner word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamOwner {
    /// Slot of the process.
    pub process: u32,
    /// Changes with every owner.
    pub generation: u32,
    /// See [`phase`].
    pub phase: u64,
}

impl StreamOwner {
    /// Takes a word apart.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        Self {
            process: (word >> 40) as u32,
            generation: (word >> 8) as u32,
            phase: word & 0xff,
        }
    }

    /// Puts it together.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.process & 0xff_ffff) << 40 | u64::from(self.generation) << 8 | self.phase
    }
}

/// Claims a free process slot for `pid`: its index and generation. The slot is CLAIMED; its
/// owner fills in the fields and calls [`set_process_phase`] with RUNNING.
#[must_use]
pub fn claim_process(session: &SessionMap, pid: u32) -> Option<(u32, u32)> {
    for index in 0..session.layout().processes as u32 {
        let slot = session.process(index)?;
        let word = slot.owner.load(Ordering::Relaxed);
        let owner = ProcessOwner::unpack(word);
        if owner.phase != phase::FREE {
            continue;
        }
        let claimed = ProcessOwner {
            pid,
            phase: phase::CLAIMED,
            ..owner
        };
        // Acquire: pairs with Release in `free_process`; the fields are clean before we fill them.
        let swap =
            slot.owner
                .compare_exchange(word, claimed.pack(), Ordering::Acquire, Ordering::Relaxed);
        if swap.is_ok() {
            raise(&session.header().process_high, index + 1);
            return Some((index, owner.generation));
        }
    }
    None
}

/// Claims a free stream slot for the process in slot `process`: its index and generation. The
/// slot is CLAIMED; its owner fills in the fields and calls [`set_stream_phase`] with RUNNING.
#[must_use]
pub fn claim_stream<M: Memory>(memory: &M, process: u32) -> Option<(u32, u32)> {
    for index in 0..memory.streams() {
        let slot = memory.stream(index)?;
        let word = slot.owner.load(Ordering::Relaxed);
        let owner = StreamOwner::unpack(word);
        if owner.phase != phase::FREE {
            continue;
        }
        let claimed = StreamOwner {
            process,
            phase: phase::CLAIMED,
            ..owner
        };
        // Acquire: pairs with Release in `free_stream`.
        let swap =
            slot.owner
                .compare_exchange(word, claimed.pack(), Ordering::Acquire, Ordering::Relaxed);
        if swap.is_ok() {
            raise(memory.stream_high(), index + 1);
            return Some((index, owner.generation));
        }
    }
    None
}

fn raise(high: &AtomicU32, to: u32) {
    // Relaxed: the drainer also looks at slots on its slow rounds; nothing depends on the order.
    high.fetch_max(to, Ordering::Relaxed);
}

/// Moves a slot that the caller owns to another phase; what was stored before is visible to
/// whoever sees it.
pub fn set_process_phase(slot: &ProcessSlot, phase: u64) {
    set_phase(&slot.owner, phase);
}

/// As [`set_process_phase`], for a stream.
pub fn set_stream_phase(slot: &StreamSlot, phase: u64) {
    set_phase(&slot.owner, phase);
}

fn set_phase(owner: &AtomicU64, phase: u64) {
    let word = owner.load(Ordering::Relaxed);
    // Release: pairs with Acquire in `process_owner` and `stream_owner`.
    owner.store(word & !0xff | phase, Ordering::Release);
}

/// Who owns a process slot now.
#[must_use]
pub fn process_owner(slot: &ProcessSlot) -> ProcessOwner {
    // Acquire: pairs with Release in `set_process_phase`.
    ProcessOwner::unpack(slot.owner.load(Ordering::Acquire))
}

/// Who owns a stream slot now.
#[must_use]
pub fn stream_owner(slot: &StreamSlot) -> StreamOwner {
    // Acquire: pairs with Release in `set_stream_phase`.
    StreamOwner::unpack(slot.owner.load(Ordering::Acquire))
}

/// Cleans a stream slot, gives its chunks back and frees it. For the drainer, after it has read
/// everything, and only when the owner is FINISHED or dead.
pub fn free_stream<M: Memory>(memory: &M, index: u32) {
    let Some(slot) = memory.stream(index) else {
        return;
    };
    let owner = stream_owner(slot);
    sweep_chunks(memory, crate::ring::owner_word(index, owner.generation));
    // Relaxed: the Release below publishes them.
    slot.guard.store(0, Ordering::Relaxed);
    slot.first_chunk.store(0, Ordering::Relaxed);
    slot.thread_id.store(0, Ordering::Relaxed);
    slot.level.store(0, Ordering::Relaxed);
    slot.number.store(0, Ordering::Relaxed);
    slot.birth_ticks.store(0, Ordering::Relaxed);
    slot.lost.store(0, Ordering::Relaxed);
    slot.lost_first.store(0, Ordering::Relaxed);
    slot.lost_last.store(0, Ordering::Relaxed);
    slot.lost_reason.store(0, Ordering::Relaxed);
    let words = slot.name.iter().chain(&slot.done_place);
    for word in words.chain(&slot.done_events) {
        word.store(0, Ordering::Relaxed);
    }
    for word in &slot.done_nodes {
        word.store(0, Ordering::Relaxed);
    }
    let free = StreamOwner {
        process: 0,
        generation: owner.generation.wrapping_add(1),
        phase: phase::FREE,
    };
    // Release: pairs with Acquire in `claim_stream`.
    slot.owner.store(free.pack(), Ordering::Release);
}

/// Cleans a process slot and frees it. For the drainer, after its streams are freed.
pub fn free_process(slot: &ProcessSlot) {
    let owner = process_owner(slot);
    // Relaxed: the Release below publishes them.
    slot.start_time.store(0, Ordering::Relaxed);
    slot.pid_namespace.store(0, Ordering::Relaxed);
    slot.cut_ticks.store(0, Ordering::Relaxed);
    slot.end_ticks.store(0, Ordering::Relaxed);
    slot.ancestor_ticks.store(0, Ordering::Relaxed);
    slot.left_ticks.store(0, Ordering::Relaxed);
    for field in [
        &slot.parent,
        &slot.parent_generation,
        &slot.origin,
        &slot.image,
        &slot.next_stream,
        &slot.exit_known,
        &slot.exit_code,
        &slot.paused,
        &slot.began_paused,
        &slot.turned_off,
        &slot.lost,
        &slot.threads_forbidden,
        &slot.ancestor_pid,
        &slot.ancestor_image,
    ] {
        field.store(0, Ordering::Relaxed);
    }
    for word in &slot.tape_id {
        word.store(0, Ordering::Relaxed);
    }
    let free = ProcessOwner {
        pid: 0,
        generation: owner.generation.wrapping_add(1) & 0xff_ffff,
        phase: phase::FREE,
    };
    // Release: pairs with Acquire in `claim_process`.
    slot.owner.store(free.pack(), Ordering::Release);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn owner_words_come_apart_as_they_were_put_together() {
        let process = ProcessOwner {
            pid: u32::MAX,
            generation: 0xff_fffe,
            phase: phase::EXEC,
        };
        assert_eq!(ProcessOwner::unpack(process.pack()), process);
        let stream = StreamOwner {
            process: 0xff_fffe,
            generation: u32::MAX,
            phase: phase::FINISHED,
        };
        assert_eq!(StreamOwner::unpack(stream.pack()), stream);
    }
}
