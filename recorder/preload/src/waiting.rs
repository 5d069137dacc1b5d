//! Waiting for the drainer to give something back, a bounded time.
//!
//! The drainer's heartbeat says whether waiting makes sense. A drainer that is silent for about two
//! seconds, a closed session, or memory that this process cannot reach turn the process off. Naps
//! are counted and not time: a target that was stopped does not find its drainer silent.

use crate::{gate, process};
use heaptape_session::layout::{options, state, turned_off};
use heaptape_session::ring::Memory;
use heaptape_session::sync::Ordering;
use heaptape_session::sys;

/// One nap.
const NAP_NS: u32 = 1_000_000;
/// A drainer that does not beat for so many naps is dead or stopped for long.
const SILENT_NAPS_MAX: u32 = 2000;

/// True when nobody will read what we write; turns the process off then.
#[must_use]
pub fn is_closed() -> bool {
    let header = process::session().header();
    let is_closed = header.state.load(Ordering::Relaxed) == state::CLOSED;
    if is_closed {
        process::turn_off(turned_off::CLOSED);
    }
    is_closed
}

/// Waiting for the drainer, which is to give something back.
#[derive(Debug)]
pub struct Wait {
    heartbeat: u64,
    silent_naps: u32,
}

impl Wait {
    /// Begins to wait.
    pub fn begin() -> Self {
        let header = process::session().header();
        // Relaxed: a hint for the drainer.
        header.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            heartbeat: header.heartbeat.load(Ordering::Relaxed),
            silent_naps: 0,
        }
    }

    /// Naps; false when waiting makes no sense (any more).
    pub fn goes_on(&mut self) -> bool {
        let header = process::session().header();
        let is_off = !matches!(gate::mode(), gate::PLAIN | gate::GENERAL);
        if is_off || process::has(options::LOSSY) {
            return false;
        }
        sys::sleep_ns(NAP_NS);
        let heartbeat = header.heartbeat.load(Ordering::Relaxed);
        if heartbeat != self.heartbeat && !is_out_of_reach() {
            self.heartbeat = heartbeat;
            self.silent_naps = 0;
            return true;
        }
        self.silent_naps += 1;
        if self.silent_naps < SILENT_NAPS_MAX {
            return true;
        }
        process::turn_off(if heartbeat == self.heartbeat {
            turned_off::DRAINER_SILENT
        } else {
            turned_off::NO_MEMORY
        });
        false
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let header = process::session().header();
        header.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// True when there are free chunks and this process cannot map them.
fn is_out_of_reach() -> bool {
    let session = process::session();
    (0..session.chunks_ready()).any(|index| {
        session
            .owner(index)
            .is_some_and(|owner| owner.load(Ordering::Relaxed) == 0)
    })
}
