//! How far the threads of a process had come when it forked, as its child's memory has it.
//!
//! In: the levels of this process, noted as they open. Out: in the first stream of a forked child,
//! the last stamps of its parent's streams where the fork's own stamp does not tell.
//!
//! That stamp is taken before the fork, and until the kernel copies the memory other threads go on:
//! for microseconds, or for as long as the forking thread gets no processor. What they did is in
//! the memory of the child, and so is the last stamp of each. After a fork that the C library did
//! not make there is no stamp at all, and the last ones tell everything. A stream whose level is
//! gone has ended: all of it is there.

use crate::level::Level;
use crate::process;
use crate::recording;
use core::ptr::{self, NonNull};
use heaptape_session::record::blob;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};
use heaptape_session::sys;

/// Addresses of the levels that are open, or were opened last, by their slots: an array in private
/// memory; 0: none.
static LEVELS: AtomicU64 = AtomicU64::new(0);
/// Its length.
static LEVELS_MAX: AtomicU32 = AtomicU32::new(0);
/// The largest last stamp of the levels whose memory is gone, 0: there was none.
static FORGOTTEN: AtomicU64 = AtomicU64::new(0);
/// [`Cuts`] of the nearest ancestor that had a stream, until this process's first stream tells of
/// them; 0: none.
static CUTS: AtomicU64 = AtomicU64::new(0);

/// Cuts that one blob holds.
const BLOB_CUTS: usize = 32;
/// Bytes of a cut in a blob: u32 stream, u64 ticks.
const CUT_BYTES: usize = 12;

/// Stands for all streams that no cut names.
const OTHERS: u32 = u32::MAX;

/// How far a stream had come.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Cut {
    ticks: u64,
    stream: u32,
}

/// Cuts, in private memory of their own: this, and so many of them behind it.
#[derive(Debug)]
#[repr(C)]
struct Cuts {
    count: usize,
}

/// Makes room to note levels in `slots` slots. Once, before the first level opens. Without memory
/// none is noted.
pub fn start(slots: u32) {
    if let Some(memory) = sys::map_private(slots as usize * size_of::<AtomicU64>()) {
        LEVELS.store(memory as u64, Ordering::Relaxed);
        LEVELS_MAX.store(slots, Ordering::Relaxed);
    }
}

/// Where the level of the stream slot `index` is noted.
fn noted(index: u32) -> Option<&'static AtomicU64> {
    let all = NonNull::new(LEVELS.load(Ordering::Relaxed) as *mut AtomicU64)?;
    if index >= LEVELS_MAX.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: within the array.
    let place = unsafe { all.add(index as usize) };
    // SAFETY: zeroed memory that stays mapped; all access to it is atomic.
    Some(unsafe { place.as_ref() })
}

/// Notes that `level` writes to the stream slot `index` from now on.
pub fn note(level: &mut Level, index: u32) {
    forget(level);
    if let Some(place) = noted(index) {
        level.noted = index + 1;
        place.store(ptr::from_ref(level) as u64, Ordering::Relaxed);
    }
}

/// The level goes away: its memory may be unmapped.
pub fn forget(level: &mut Level) {
    let Some(slot) = level.noted.checked_sub(1) else {
        return;
    };
    level.noted = 0;
    FORGOTTEN.fetch_max(level.ticks, Ordering::Relaxed);
    let address = ptr::from_ref(level) as u64;
    if let Some(place) = noted(slot) {
        // Another level may have got the slot since.
        let _ = place.compare_exchange(address, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// All slots that a level was ever noted for have an index below this.
fn slots() -> u32 {
    let header = process::session().header();
    header.stream_high.load(Ordering::Relaxed)
}

/// The cuts of the levels in memory, in a child that has not begun: it is one thread, and nobody
/// changes what it reads.
fn levels() -> impl Iterator<Item = Cut> + Clone {
    (0..slots()).filter_map(|index| {
        let level = NonNull::new(noted(index)?.load(Ordering::Relaxed) as *mut Level)?;
        // SAFETY: levels are forgotten before their memory is unmapped, and the kernel changes no
        // mapping while it copies them.
        let ticks = unsafe { (*level.as_ptr()).ticks };
        // SAFETY: as above.
        let stream = unsafe { (*level.as_ptr()).stream };
        Some(Cut { ticks, stream })
    })
}

/// In a fresh fork, before anything of the parent's is used again: keeps how far the parent's
/// streams had come, when one went on after `ticks`, the moment before the fork; 0 stands for a
/// fork that was not seen. What a parent without streams has kept of its own parent stays.
pub fn take_over(ticks: u64) {
    let forgotten = FORGOTTEN.swap(0, Ordering::Relaxed);
    let last = levels().fold(forgotten, |last, cut| last.max(cut.ticks));
    if last == 0 {
        return;
    }
    let others = Cut {
        ticks: last,
        stream: OTHERS,
    };
    let went_on = ticks < last;
    let cuts = went_on.then(|| Cuts::new(levels().chain([others])));
    let cuts = cuts.flatten().map_or(0, |cuts| cuts.as_ptr() as u64);
    drop_cuts(CUTS.swap(cuts, Ordering::Relaxed));
    for place in (0..slots()).filter_map(noted) {
        // Writing zero where zero is would make the page resident.
        if place.load(Ordering::Relaxed) != 0 {
            place.store(0, Ordering::Relaxed);
        }
    }
}

impl Cuts {
    /// `None` without memory for them.
    fn new(cuts: impl Iterator<Item = Cut> + Clone) -> Option<NonNull<Self>> {
        let count = cuts.clone().count();
        let memory = sys::map_private(Self::bytes(count))?;
        let place: NonNull<Self> = NonNull::new(memory.cast())?;
        // SAFETY: fresh memory, large enough.
        unsafe { place.write(Self { count }) };
        let mut next: NonNull<Cut> = Self::first(place);
        for cut in cuts.take(count) {
            // SAFETY: one of `count` places in the memory.
            unsafe { next.write(cut) };
            // SAFETY: behind it, at most at the end.
            next = unsafe { next.add(1) };
        }
        Some(place)
    }

    fn bytes(count: usize) -> usize {
        size_of::<Self>() + count * size_of::<Cut>()
    }

    fn first(place: NonNull<Self>) -> NonNull<Cut> {
        // SAFETY: the memory goes on behind the count.
        unsafe { place.add(1) }.cast()
    }
}

/// Gives the memory at `address` back, the former value of [`CUTS`].
fn drop_cuts(address: u64) {
    if let Some(cuts) = NonNull::new(address as *mut Cuts) {
        // SAFETY: made by `Cuts::new`; whoever took it out of `CUTS` has it alone.
        let count = unsafe { cuts.as_ref() }.count;
        // SAFETY: as above, and mapped with this length.
        unsafe { sys::unmap(cuts.as_ptr().cast(), Cuts::bytes(count)) };
    }
}

/// Writes the cuts into the first stream of the process. The level is being born: nobody else has
/// it.
pub fn write(level: &mut Level) {
    // Taken out first: a signal handler that forks in between leaves these to this call, which
    // comes back in its child, too.
    let address = CUTS.swap(0, Ordering::Relaxed);
    let Some(cuts) = NonNull::new(address as *mut Cuts) else {
        return;
    };
    // SAFETY: made by `Cuts::new`, and taken out of `CUTS`.
    let count = unsafe { cuts.as_ref() }.count;
    let first = Cuts::first(cuts).as_ptr();
    // SAFETY: so many were written there, and nobody else has them.
    let all = unsafe { core::slice::from_raw_parts(first, count) };
    for some in all.chunks(BLOB_CUTS) {
        let mut bytes = [0; BLOB_CUTS * CUT_BYTES];
        for (place, cut) in bytes.chunks_exact_mut(CUT_BYTES).zip(some) {
            let fields = cut.stream.to_le_bytes().into_iter();
            let fields = fields.chain(cut.ticks.to_le_bytes());
            for (byte, value) in place.iter_mut().zip(fields) {
                *byte = value;
            }
        }
        let used = bytes.get(..some.len() * CUT_BYTES);
        recording::append_blob(level, blob::FORK_CUTS, &[used.unwrap_or_default()]);
    }
    drop_cuts(address);
}
