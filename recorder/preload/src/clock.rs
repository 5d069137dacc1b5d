//! Stamps: ticks since the recording's start, from the time stamp counter or from the kernel.
//!
//! The session's creator has chosen which, for all processes alike. A stamp before the start
//! (another core's counter may lag by a few ticks) reads as the thread's last stamp, since stamps
//! of a stream never go back.

use core::arch::x86_64::{_mm_lfence, _rdtsc};
use heaptape_session::layout::SessionHeader;
use heaptape_session::sync::{AtomicU64, Ordering};

/// [`SessionHeader::clock`]: the time stamp counter.
pub const TIME_STAMP_COUNTER: u32 = 1;

static START: AtomicU64 = AtomicU64::new(0);
static IS_KERNELS: AtomicU64 = AtomicU64::new(0);
/// Not 0: more than one stream of this process, or of the one that it was forked from, had or has
/// events.
static HAS_SEVERAL: AtomicU64 = AtomicU64::new(0);

/// Takes over the session's choice.
pub fn start(header: &SessionHeader) {
    // Relaxed: the gate opens later.
    START.store(
        header.start_ticks.load(Ordering::Relaxed),
        Ordering::Relaxed,
    );
    let is_kernels = header.clock.load(Ordering::Relaxed) != TIME_STAMP_COUNTER;
    IS_KERNELS.store(u64::from(is_kernels), Ordering::Relaxed);
}

/// Another stream of this process than its first is about to have its first event.
///
/// The order of events of one stream is theirs in the stream, whatever their stamps are. Only
/// between streams do stamps tell what came first: whether a block was freed before it was handed
/// out again. Whoever is handed a block that another stream's thread has freed sees what that
/// thread has written before, this word too; so it needs no order as long as the word is 0.
pub fn note_another_stream() {
    // Relaxed: on this processor stores become visible in their order, and loads are made in
    // theirs.
    HAS_SEVERAL.store(1, Ordering::Relaxed);
}

/// True when stamps come from the time stamp counter.
#[must_use]
pub fn is_counter() -> bool {
    IS_KERNELS.load(Ordering::Relaxed) == 0
}

/// A stamp of this moment. With `AFTER`, of a moment that surely lies behind all loads so far, when
/// other streams have events too (see [`note_another_stream`]): the processor may otherwise read
/// its counter ahead of them; waiting for them takes as long as their cache misses do. With
/// `PLAIN`, the caller knows that the clock is the counter.
#[inline(always)]
#[must_use]
pub fn now<const AFTER: bool, const PLAIN: bool>(last: u64) -> u64 {
    let clock = if PLAIN || is_counter() {
        if AFTER && HAS_SEVERAL.load(Ordering::Relaxed) != 0 {
            // SAFETY: every x86-64 processor has the instruction.
            unsafe { _mm_lfence() };
        }
        // SAFETY: every x86-64 processor has the instruction; where the kernel forbids it to
        // programs, the session's creator could not have chosen it.
        unsafe { _rdtsc() }
    } else {
        kernels()
    };
    let ticks = clock.wrapping_sub(START.load(Ordering::Relaxed));
    if (ticks as i64) < last as i64 {
        last
    } else {
        ticks
    }
}

#[cold]
fn kernels() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call. It cannot fail with this clock, so it leaves
    // errno alone.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}
