//! Waiting for the drainer to give something back, a bounded time.
//!
//! The drainer's heartbeat says whether waiting makes sense. A drainer that is gone, one that is
//! stopped for about two seconds, a closed session, or memory that this process cannot reach turn
//! the process off. So does one that works and is silent for a minute: before that it may wait for
//! a slow disk, or for the processor. Naps are counted and not time: a target that was stopped does
//! not find its drainer silent.

use crate::environment::Text;
use crate::{clock, gate, process};
use core::ffi::CStr;
use heaptape_session::layout::{options, state, turned_off};
use heaptape_session::ring::Memory;
use heaptape_session::sync::Ordering;
use heaptape_session::sys;
use heaptape_session::turns::{self, Turn};

/// One nap.
const NAP_NS: u32 = 1_000_000;
/// What a clock that nobody has measured yet has at least.
const TICKS_PER_SECOND_MIN: u64 = 1_000_000_000;
/// A drainer that does not beat for so many naps is stopped for long.
const SILENT_NAPS_MAX: u32 = 2000;
/// As before, when it is not stopped.
const WORKING_NAPS_MAX: u32 = 60_000;
/// After so many silent naps, and each further so many, it is asked what it does.
const SILENT_NAPS_TO_ASK: u32 = 100;

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
    /// Silent naps at which waiting ends.
    naps_max: u32,
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
            naps_max: SILENT_NAPS_MAX,
        }
    }

    /// Naps; false when waiting makes no sense (any more).
    pub fn goes_on(&mut self) -> bool {
        let header = process::session().header();
        let is_off = !matches!(gate::mode(), gate::PLAIN | gate::GENERAL);
        if is_off || process::has(options::LOSSY) {
            return false;
        }
        nap();
        let heartbeat = header.heartbeat.load(Ordering::Relaxed);
        if heartbeat != self.heartbeat && !is_out_of_reach() {
            self.heartbeat = heartbeat;
            self.silent_naps = 0;
            return true;
        }
        self.silent_naps += 1;
        if self.silent_naps.is_multiple_of(SILENT_NAPS_TO_ASK) {
            self.naps_max = match drainer() {
                Drainer::Gone => 0,
                Drainer::Works if heartbeat == self.heartbeat => WORKING_NAPS_MAX,
                Drainer::Works | Drainer::Stopped | Drainer::Unknown => SILENT_NAPS_MAX,
            };
        }
        if self.silent_naps < self.naps_max {
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

/// Waiting for a chunk, in turn with all threads of the session.
#[derive(Debug)]
pub struct ChunkWait {
    wait: Wait,
    turn: Turn,
}

impl ChunkWait {
    /// Begins to wait.
    pub fn begin() -> Self {
        Self {
            wait: Wait::begin(),
            turn: Turn::new(clock::now::<false, false>(0)),
        }
    }

    /// As [`Wait::goes_on`].
    pub fn goes_on(&mut self) -> bool {
        let goes_on = self.wait.goes_on();
        // Who could not take a chunk does not keep others from it.
        if goes_on && !is_out_of_reach() {
            self.turn.note(&process::session().header().longest_wait);
        }
        goes_on
    }
}

impl Drop for ChunkWait {
    fn drop(&mut self) {
        self.turn.end(&process::session().header().longest_wait);
    }
}

/// True when a free chunk may be taken now by who waits so, or does not wait yet.
#[must_use]
pub fn may_take_chunk(wait: Option<&ChunkWait>) -> bool {
    let session = process::session();
    let turn = wait.map(|wait| &wait.turn);
    turns::may_take(&session.header().longest_wait, turn, session)
}

/// Waits for a moment; where the program forbids itself to sleep, by doing nothing.
fn nap() {
    if !sys::is_refused(libc::SYS_nanosleep) {
        return sys::sleep_ns(NAP_NS);
    }
    let per_second = process::session()
        .header()
        .ticks_per_second
        .load(Ordering::Relaxed);
    let ticks = per_second.max(TICKS_PER_SECOND_MIN) / (1_000_000_000 / u64::from(NAP_NS));
    let start = clock::now::<false, false>(0);
    while clock::now::<false, false>(start) - start < ticks {
        core::hint::spin_loop();
    }
}

/// What the drainer's process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drainer {
    /// It has ended.
    Gone,
    /// A signal or a debugger stopped it.
    Stopped,
    /// It runs, sleeps, or waits for a device.
    Works,
    /// It is in another pid namespace, where its number means nothing, or nothing can be read.
    Unknown,
}

fn drainer() -> Drainer {
    let header = process::session().header();
    let (pid, namespace) = (
        header.drainer_pid.load(Ordering::Relaxed),
        header.drainer_pid_namespace.load(Ordering::Relaxed),
    );
    let is_here =
        process::slot().is_some_and(|slot| slot.pid_namespace.load(Ordering::Relaxed) == namespace);
    if pid == 0 || namespace == 0 || !is_here {
        return Drainer::Unknown;
    }
    // SAFETY: signal 0 is sent to nobody; the call only says whether there is such a process.
    let result = unsafe { sys::syscall6(libc::SYS_kill, [pid as usize, 0, 0, 0, 0, 0]) };
    if result == -(libc::ESRCH as isize) {
        return Drainer::Gone;
    }
    match state_of(pid) {
        // It has ended, and its parent did not ask for it yet.
        Some(b'Z' | b'X') => Drainer::Gone,
        Some(b'T' | b't') => Drainer::Stopped,
        Some(_) => Drainer::Works,
        None => Drainer::Unknown,
    }
}

/// The letter that `/proc` has for the state of a process.
fn state_of(pid: u32) -> Option<u8> {
    let mut name = [0; 32];
    let mut text = Text::new(&mut name);
    text.put(b"/proc/");
    text.put_number(pid);
    text.put(b"/stat");
    text.end();
    let mut buffer = [0; 256];
    let count = CStr::from_bytes_until_nul(&name).map_or(0, |path| {
        let fd = sys::open(path, libc::O_RDONLY);
        let count = sys::read_at(fd, &mut buffer, 0);
        sys::close(fd);
        usize::try_from(count).unwrap_or(0)
    });
    let stat = buffer.get(..count).unwrap_or_default();
    // The state stands behind the name, which may hold anything in its parentheses.
    let end = stat.iter().rposition(|byte| *byte == b')');
    end.and_then(|end| stat.get(end + 2)).copied()
}

/// True when there is a free chunk and this process cannot map it.
fn is_out_of_reach() -> bool {
    let session = process::session();
    (0..session.chunks_ready()).any(|index| {
        let owner = session.owner(index);
        let is_free = owner.is_some_and(|owner| owner.load(Ordering::Relaxed) == 0);
        is_free && session.chunk(index).is_none()
    })
}
