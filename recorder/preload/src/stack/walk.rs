//! Walks a stack outwards: the state of an interposed call's caller goes in, the program counters
//! of its frames come out, innermost first.
//!
//! The loop in [`Walker::run`] is the hot path: per frame one look into the cache of packed rows
//! and two loads from the stack. All that is rare happens outside of it. It never reads memory that
//! was not found readable, and each step adds a frame to a bounded array, so it ends.

use super::bounds::{StackBounds, load};
use super::cfi::{self, Fde, Lookup};
use super::expression::Memory;
use super::reader::Section;
use super::row::{Row, RowKind};
use super::rules::Scratch;
use super::{CallerContext, CutReason};
use crate::modules::elf::Headers;
use crate::modules::find::{self, Object};

/// Frames of a stack that are looked at; outer ones are cut off.
pub const FRAMES_MAX: usize = 4096;
/// Rows that a thread remembers.
const ROWS: usize = 4096;

const _: () = assert!(ROWS.is_power_of_two());

/// Marks a program counter that was interrupted, or is a signal trampoline's: it is no return
/// address. No address of user memory has this bit.
pub const EXACT: usize = 1 << 63;

/// One frame, and the state of the machine in it: what a comparison with the next event's stack
/// needs. The return address that led to it lies in the word below `sp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frame {
    /// The program counter, with [`EXACT`] where it is no return address.
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer register, whatever it is used for.
    pub rbp: usize,
}

#[derive(Debug, Clone, Copy)]
struct CachedRow {
    /// The return address; 0 is none.
    pc: usize,
    row: Row,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the outermost frame.
    Complete,
    /// Before it.
    Cut(CutReason),
}

/// The state between two frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) pc: usize,
    pub(super) sp: usize,
    pub(super) rbp: usize,
    /// End of the readable stretch that `sp` lies in.
    pub(super) end: usize,
    /// Frames found so far.
    pub(super) count: usize,
}

/// Why the loop stopped.
enum Pause {
    /// No row is remembered for the program counter, which is not yet a frame.
    Miss,
    /// The array is full.
    Full,
    /// The frame was added, but its row is not one for the loop.
    Row(Row),
    /// The frame was added, but its words lie outside of the known stretch.
    Astray(Row),
}

/// What a thread needs to walk its stacks.
#[derive(Debug)]
pub struct Walker {
    rows: [CachedRow; ROWS],
    pub(super) bounds: StackBounds,
    pub(super) scratch: Scratch,
}

#[inline(always)]
fn slot_of(pc: usize) -> usize {
    const SHIFT: u32 = usize::BITS - ROWS.trailing_zeros();
    pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHIFT
}

impl Walker {
    /// Forgets everything and learns the calling thread's stack.
    pub fn start(&mut self) {
        self.forget();
        self.scratch = Scratch::default();
        self.bounds.start();
    }

    /// Forgets all rows: objects were unloaded.
    pub fn forget(&mut self) {
        let free = CachedRow {
            pc: 0,
            row: Row::bare(RowKind::Unknown),
        };
        self.rows.fill(free);
        // The slot where address 0, the end of a chain, would be looked up must not hold 0.
        let [first, ..] = &mut self.rows;
        first.pc = usize::MAX;
    }

    /// Fills `frames` and returns their count and how the walk ended.
    #[inline]
    pub fn walk(&mut self, caller: CallerContext, frames: &mut [Frame]) -> (usize, End) {
        let mut at = Position {
            pc: caller.pc,
            sp: caller.sp,
            rbp: caller.rbp,
            end: 0,
            count: 0,
        };
        // Unknown: the first step that reads will look.
        at.end = self.bounds.end_around(at.sp).unwrap_or(0);
        loop {
            let pause = self.run(&mut at, frames);
            if let Err(end) = self.resume(pause, &mut at, frames) {
                return (at.count, end);
            }
        }
    }

    /// The hot loop.
    #[inline(always)]
    fn run(&self, at: &mut Position, frames: &mut [Frame]) -> Pause {
        let Position {
            mut pc,
            mut sp,
            mut rbp,
            end,
            count,
        } = *at;
        let total = frames.len();
        let mut free = frames.get_mut(count..).unwrap_or_default().iter_mut();
        let pause = loop {
            // In bounds by the shift; the compiler sees it.
            let Some(&CachedRow { pc: key, row }) = self.rows.get(slot_of(pc)) else {
                break Pause::Miss;
            };
            if key != pc {
                break Pause::Miss;
            }
            let Some(frame) = free.next() else {
                break Pause::Full;
            };
            *frame = Frame { pc, sp, rbp };
            if !row.is_plain() {
                break Pause::Row(row);
            }
            let base = if row.counts_from_rbp() { rbp } else { sp };
            let cfa = base.wrapping_add_signed(row.cfa_offset());
            // Signed: a base so high that the sum wraps counts as low.
            if base.cast_signed() < sp.cast_signed() || cfa > end {
                break Pause::Astray(row);
            }
            if row.saves_rbp() {
                // SAFETY: rows put this word into `base .. cfa`, which lies in `sp .. end`, a
                // stretch that was found readable.
                rbp = unsafe { load(cfa.wrapping_add_signed(row.rbp_offset())) };
            }
            // SAFETY: rows put the CFA at least 8 above the base; as before.
            pc = unsafe { load(cfa.wrapping_sub(8)) };
            sp = cfa;
        };
        *at = Position {
            pc,
            sp,
            rbp,
            end,
            count: total - free.len(),
        };
        pause
    }

    /// Does what the loop does not, so that it can go on; or tells how the walk ends.
    #[cold]
    #[inline(never)]
    fn resume(&mut self, pause: Pause, at: &mut Position, frames: &mut [Frame]) -> Result<(), End> {
        match pause {
            Pause::Miss if at.pc == 0 => Err(End::Complete),
            Pause::Miss => match self.learn(at.pc) {
                Some(_) => Ok(()),
                None => {
                    add_frame(at, frames)?;
                    self.step_unknown(at, frames)
                }
            },
            Pause::Full if at.pc == 0 => Err(End::Complete),
            Pause::Full => Err(End::Cut(CutReason::Depth)),
            Pause::Astray(row) => self
                .step_astray(row, at)
                .ok_or(End::Cut(CutReason::Unknown)),
            Pause::Row(row) => match row.kind() {
                RowKind::End => Err(End::Complete),
                RowKind::Realigned => self
                    .step_realigned(row, at)
                    .ok_or(End::Cut(CutReason::Unknown)),
                RowKind::Unknown => self.step_unknown(at, frames),
                RowKind::StackPointer | RowKind::FramePointer | RowKind::Special => {
                    self.step_special(at, frames)
                }
            },
        }
    }

    /// Applies a plain row where the stretch must be extended first, or is another one.
    fn step_astray(&mut self, row: Row, at: &mut Position) -> Option<()> {
        let base = if row.counts_from_rbp() { at.rbp } else { at.sp };
        let cfa = base.checked_add_signed(row.cfa_offset())?;
        at.end = self.bounds.cover(base, cfa)?;
        if row.saves_rbp() {
            // SAFETY: rows put this word into `base .. cfa`, all of which was found readable.
            at.rbp = unsafe { load(cfa.wrapping_add_signed(row.rbp_offset())) };
        }
        // SAFETY: rows put the CFA at least 8 above the base; as before.
        at.pc = unsafe { load(cfa.wrapping_sub(8)) };
        at.sp = cfa;
        Some(())
    }

    /// Applies the row of a frame that was realigned and keeps the CFA in a word of its own.
    fn step_realigned(&mut self, row: Row, at: &mut Position) -> Option<()> {
        let cfa = self
            .bounds
            .read(at.rbp.wrapping_add_signed(row.cfa_offset()))?;
        let rbp = self
            .bounds
            .read(at.rbp.wrapping_add_signed(row.rbp_offset()))?;
        at.pc = self.bounds.read(cfa.wrapping_sub(8))?;
        at.rbp = rbp;
        at.sp = cfa;
        at.end = self.bounds.end_around(cfa)?;
        Some(())
    }

    /// Decodes the row of a return address and remembers it; `None` outside of all objects, where
    /// nothing is remembered because code may come and go unannounced.
    fn learn(&mut self, pc: usize) -> Option<Row> {
        let object = find::object_of(pc.wrapping_sub(1))?;
        let row = self
            .decode(&object, pc)
            .unwrap_or(Row::bare(RowKind::Unknown));
        if let Some(slot) = self.rows.get_mut(slot_of(pc)) {
            *slot = CachedRow { pc, row };
        }
        Some(row)
    }

    fn decode(&mut self, object: &Object, pc: usize) -> Option<Row> {
        // The call is the instruction before the return address, which may already belong to
        // another row, or to another function when the call never returns.
        let call = pc.wrapping_sub(1);
        let (section, fde) = description_of(object, call)?;
        self.scratch.run(&fde, call).ok()?;
        Some(Row::pack(&self.scratch.rules, &fde, &section))
    }
}

/// Adds the position as a frame.
pub(super) fn add_frame(at: &mut Position, frames: &mut [Frame]) -> Result<(), End> {
    let Some(frame) = frames.get_mut(at.count) else {
        return Err(End::Cut(CutReason::Depth));
    };
    *frame = Frame {
        pc: at.pc,
        sp: at.sp,
        rbp: at.rbp,
    };
    at.count += 1;
    Ok(())
}

/// The unwind tables' word on the code at `pc`, and the section that it refers to.
pub(super) fn description_of(object: &Object, pc: usize) -> Option<(Section<'_>, Fde<'_>)> {
    let header = object.unwind_header;
    let headers = Headers::of(object)?;
    let section = headers.section_around(header)?;
    let (section, fde) = match cfi::look_up(&section, header, pc)? {
        Lookup::At(address) => {
            let section = headers.section_around(address)?;
            (section, cfi::fde_at(&section, address, header)?)
        }
        Lookup::ScanFrom(address) => {
            let section = headers.section_around(address)?;
            (section, cfi::scan(&section, address, pc)?)
        }
        Lookup::Nowhere => return None,
    };
    fde.covers(pc).then_some((section, fde))
}
