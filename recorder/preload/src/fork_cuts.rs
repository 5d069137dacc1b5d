//! How far the threads of a process had come when it forked, as its child's memory has it.
//!
//! In: the levels of this process, noted as they open. Out: in the first stream of a forked child,
//! the last stamps of its parent's streams where the fork's own stamp does not tell.
//!
//! That stamp is taken before the fork, and until the kernel copies the memory other threads go on:
//! for microseconds, or for as long as the forking thread gets no processor. What they did is in
//! the memory of the child, and so is the last stamp of each. After a fork that the C library did
//! not make there is no stamp at all, and the last ones tell everything.

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
/// [`Cut`]s of the nearest ancestor that had a stream, in private memory of their own, until this
/// process's first stream tells of them; 0: none.
static CUTS: AtomicU64 = AtomicU64::new(0);
/// How many.
static CUTS_COUNT: AtomicU32 = AtomicU32::new(0);

/// Cuts that one blob holds.
const BLOB_CUTS: usize = 32;
/// Bytes of a cut in a blob: u32 stream, u64 ticks.
const CUT_BYTES: usize = 12;

/// How far a stream had come.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Cut {
    ticks: u64,
    stream: u32,
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
    let place = level.noted.checked_sub(1).and_then(noted);
    level.noted = 0;
    let address = ptr::from_ref(level) as u64;
    if let Some(place) = place {
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
fn levels() -> impl Iterator<Item = Cut> {
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

/// In a fresh fork, before anything of the parent's is used again: keeps the cuts of streams that
/// went on after `ticks`, the moment before the fork; all for 0, which stands for a fork that was
/// not seen. Returns the moment to count from, 0 when it is not known. What a parent without
/// streams has kept of its own parent stays.
pub fn take_over(ticks: u64) -> u64 {
    let last = levels().map(|cut| cut.ticks).max();
    let Some(last) = last else {
        return ticks;
    };
    drop_cuts();
    let went_on = || levels().filter(|cut| cut.ticks > ticks);
    let count = went_on().count();
    if count > 0
        && let Some(memory) = sys::map_private(count * size_of::<Cut>())
    {
        let cuts: *mut Cut = memory.cast();
        for (place, cut) in went_on().enumerate() {
            // SAFETY: within the memory that was mapped for so many.
            let slot = unsafe { cuts.add(place) };
            // SAFETY: as above, and nobody else has it.
            unsafe { slot.write(cut) };
        }
        CUTS.store(memory as u64, Ordering::Relaxed);
        CUTS_COUNT.store(count as u32, Ordering::Relaxed);
    }
    for place in (0..slots()).filter_map(noted) {
        // Writing zero where zero is would make the page resident.
        if place.load(Ordering::Relaxed) != 0 {
            place.store(0, Ordering::Relaxed);
        }
    }
    if ticks == 0 { last } else { ticks }
}

fn cuts() -> &'static [Cut] {
    let cuts = CUTS.load(Ordering::Relaxed) as *const Cut;
    if cuts.is_null() {
        return &[];
    }
    // SAFETY: so many were written there, and nothing changes them until they are dropped.
    unsafe { core::slice::from_raw_parts(cuts, CUTS_COUNT.load(Ordering::Relaxed) as usize) }
}

fn drop_cuts() {
    let bytes = size_of_val(cuts());
    let memory = CUTS.swap(0, Ordering::Relaxed) as *mut u8;
    CUTS_COUNT.store(0, Ordering::Relaxed);
    if !memory.is_null() {
        // SAFETY: mapped by `take_over`, and no slice of it is left.
        unsafe { sys::unmap(memory, bytes) };
    }
}

/// Writes the cuts into the first stream of the process. The level is being born: nobody else has
/// it.
pub fn write(level: &mut Level) {
    for some in cuts().chunks(BLOB_CUTS) {
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
    drop_cuts();
}
