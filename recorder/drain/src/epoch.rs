//! Epochs: cuts through all threads, below which nothing new appears.
//!
//! In: the guards that recorders hold while they are between a stamp and its record. Out: epoch
//! records. The cut is the clock before a barrier that every running thread passes; a thread whose
//! guard is clear afterwards takes all its later stamps above the cut. A thread that does not
//! clear its guard soon (it lost its processor) is counted as inexact.

use crate::clock::clock_ns;
use crate::drainer::Drainer;
use heaptape_format::tables::Epoch;
use heaptape_session::layout::phase;
use heaptape_session::ring::Memory;
use heaptape_session::slots::stream_owner;
use heaptape_session::sync::Ordering;
use rustc_hash::FxHashMap;

/// How long all guards together are waited for, in nanoseconds.
const WAIT_NS: u64 = 200_000;
/// `MEMBARRIER_CMD_GLOBAL` of <linux/membarrier.h>.
const MEMBARRIER_GLOBAL: libc::c_int = 1;

/// A cut that is being made.
#[derive(Debug)]
pub(crate) struct Cut {
    watermark: u64,
    /// Streams that could not be cut exactly, by process slot.
    inexact: FxHashMap<u32, u32>,
}

impl Drainer {
    /// Makes a cut; everything below it is published afterwards. None: nothing has happened since
    /// the last one, or the kernel has no barrier.
    pub(crate) fn begin_epoch(&mut self) -> Option<Cut> {
        let memory = &self.session.map;
        let mut streams = self.streams.iter_mut().flatten();
        if !streams.any(|stream| stream.pending(memory) > 0) {
            return None;
        }
        let watermark = self.clock.now();
        // SAFETY: a plain call without pointers.
        if unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0) } != 0 {
            return None;
        }
        // A thread that took a stamp before the barrier had its slot before it.
        self.discover_streams();
        let deadline = clock_ns(libc::CLOCK_MONOTONIC) + WAIT_NS;
        let mut inexact = FxHashMap::default();
        let memory = &self.session.map;
        let high = memory
            .stream_high()
            .load(Ordering::Relaxed)
            .min(memory.streams());
        for slot in (0..high).filter_map(|index| memory.stream(index)) {
            let owner = stream_owner(slot);
            if owner.phase == phase::FREE {
                continue;
            }
            // Acquire: pairs with the recorder's release when it clears the guard, so that what it
            // published before is seen by the sealing that follows.
            while slot.guard.load(Ordering::Acquire) != 0 {
                if clock_ns(libc::CLOCK_MONOTONIC) >= deadline {
                    *inexact.entry(owner.process).or_insert(0) += 1;
                    break;
                }
                std::hint::spin_loop();
            }
        }
        Some(Cut { watermark, inexact })
    }

    /// States the cut in every tape that got events since its last one; all streams are sealed.
    pub(crate) fn end_epoch(&mut self, cut: &Cut) {
        for process in self.processes.iter_mut().flatten() {
            let Some(tape) = &mut process.tape else {
                continue;
            };
            let events = tape.counts().events();
            let (number, before) = process.epochs;
            // What is published is not in the tape when that holds.
            if events == before || process.folding.is_behind {
                continue;
            }
            process.epochs = (number + 1, events);
            let epoch = Epoch {
                number: number + 1,
                watermark: cut.watermark,
                inexact_streams: cut.inexact.get(&process.slot).copied().unwrap_or(0),
            };
            tape.table(&mut self.press, &[epoch], (cut.watermark, cut.watermark));
        }
    }
}
