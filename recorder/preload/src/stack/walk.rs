//! Walks a stack outwards: the state of an interposed call's caller goes in, the program counters
//! of its frames come out, innermost first.
//!
//! The loop in `run` is the hot path: per frame one look into the cache of packed rows
//! and two loads from the stack. All that is rare happens outside of it. It stops at the first
//! frame that the last stack had too, with everything outside of it (see `last`). It never reads
//! memory that was not found readable, and each step adds a frame, of which there is a limit, so it
//! ends.

use core::ptr::NonNull;

use super::bounds::{StackBounds, load};
use super::cfi::{self, Fde, Lookup};
use super::code::Code;
use super::depth::FRAMES_USUAL;
use super::expression::Memory;
use super::growing::Growing;
use super::last::LastStack;
use super::reader::Section;
use super::row::{Row, RowKind};
use super::rows::Rows;
use super::rules::Scratch;
use super::{CallerContext, CutReason};
use crate::arena::Plain;
use crate::modules::elf::Headers;
use crate::modules::find::{self, Object};

/// Marks a program counter that was interrupted, or is a signal trampoline's: it is no return
/// address. No address of user memory has this bit.
pub const EXACT: usize = 1 << 63;

/// The frames that a walk finds, innermost first.
#[derive(Debug)]
pub struct Found {
    frames: Growing<Frame>,
    /// More are not looked for.
    most: usize,
}

impl Found {
    /// None, in this memory.
    ///
    /// # Safety
    /// It holds `FRAMES_USUAL` frames and outlives this, and nobody else uses it.
    #[must_use]
    pub unsafe fn new(memory: NonNull<Frame>) -> Self {
        Self {
            // SAFETY: as for this function.
            frames: unsafe { Growing::new(memory, FRAMES_USUAL) },
            most: 0,
        }
    }

    /// The first `count` frames.
    #[inline(always)]
    #[must_use]
    pub fn first(&self, count: usize) -> &[Frame] {
        self.frames.values().get(..count).unwrap_or_default()
    }

    /// From here on so many frames are looked for.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Frames that there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.frames.values().len()
    }

    /// Gives back what was taken for deep stacks.
    pub fn shrink(&mut self) {
        self.frames.shrink();
    }

    #[inline(always)]
    fn free(&mut self) -> &mut [Frame] {
        let most = self.most.min(self.frames.values().len());
        self.frames.values_mut().get_mut(..most).unwrap_or_default()
    }

    /// The last of `count` frames.
    pub(super) fn last_mut(&mut self, count: usize) -> Option<&mut Frame> {
        self.frames.values_mut().get_mut(count.checked_sub(1)?)
    }
}

// SAFETY: numbers.
unsafe impl Plain for Frame {}

/// One frame: the state of the machine in it. The return address that led to it lies in the word
/// below `sp`.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// The program counter, with [`EXACT`] where it is no return address.
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer register, whatever it is used for.
    pub rbp: usize,
    /// How the walk left the frame; [`RowKind::Special`] also when it left otherwise.
    pub row: Row,
}

/// Why a walk did not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It came to its end.
    End(End),
    /// At the state of this kept frame, and all outside of it is as it was.
    Joined(usize),
}

impl Stop {
    /// The index of the kept frame that it came to; 0: none.
    #[inline(always)]
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Joined(index) => index,
            Self::End(_) => 0,
        }
    }
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
pub struct Position {
    pub(super) pc: usize,
    pub(super) sp: usize,
    pub(super) rbp: usize,
    /// End of the readable stretch that `sp` lies in.
    pub(super) end: usize,
    /// Frames found so far.
    pub(super) count: usize,
    /// The innermost kept frame that the walk may still come to; 0: none.
    kept: usize,
    /// Kept frames that were compared in vain: one outside of them had changed.
    pub(super) vain: usize,
    /// What is known of memory was found out since the walk began to guess.
    pub(super) is_guessed: bool,
}

/// What a thread needs to walk its stacks.
#[derive(Debug)]
pub struct Walker {
    rows: Rows,
    pub(super) bounds: StackBounds,
    pub(super) code: Code,
    pub(super) scratch: Scratch,
}

impl Walker {
    /// Forgets everything and learns the calling thread's stack.
    pub fn start(&mut self) {
        self.forget();
        self.bounds.start();
    }

    /// Forgets all rows and what is known of code: objects were unloaded.
    pub fn forget(&mut self) {
        self.code.forget();
        self.rows.forget();
    }

    /// Fills `frames` from `caller` on until the walk ends or comes to a frame of `last` outside of
    /// which nothing has changed. `kept` is the frame of `last` to look out for first.
    #[inline(always)]
    pub fn walk(
        &mut self,
        caller: CallerContext,
        frames: &mut Found,
        last: &LastStack,
        kept: usize,
    ) -> (Position, Stop) {
        let mut at = Position {
            pc: caller.pc,
            sp: caller.sp,
            rbp: caller.rbp,
            end: 0,
            count: 0,
            kept,
            vain: 0,
            is_guessed: false,
        };
        // Unknown: the first step that reads will look.
        at.end = self.bounds.end_around(at.sp).unwrap_or(0);
        let epoch = self.bounds.epoch();
        loop {
            while self.run(&mut at, frames, last) {
                match last.verify(at.kept) {
                    Ok(()) if last.joins(at.count, at.kept) => {
                        return (at, Stop::Joined(at.kept));
                    }
                    // Another depth, so another end.
                    Ok(()) => at.kept = 0,
                    Err(outer) => {
                        at.vain += at.kept - outer;
                        at.kept = outer;
                    }
                }
            }
            if let Err(end) = self.step(&mut at, frames) {
                return (at, Stop::End(end));
            }
            if self.bounds.epoch() != epoch {
                at.kept = 0;
            }
        }
    }

    /// The hot loop: adds frames as long as their rows are remembered and plain, and their words
    /// lie in the known stretch. True when it stopped because the state is that of a kept frame.
    /// Apart, so that it has all registers for itself.
    #[inline(never)]
    fn run(&self, at: &mut Position, frames: &mut Found, last: &LastStack) -> bool {
        let Position {
            mut pc,
            mut sp,
            mut rbp,
            end,
            count,
            mut kept,
            vain,
            is_guessed,
        } = *at;
        let frames = frames.free();
        let range = frames.as_mut_ptr_range();
        // SAFETY: within the array, or just behind it.
        let mut free = unsafe { range.start.add(count.min(frames.len())) };
        let mut outer = last.frame(kept);
        let mut limit = outer.sp;
        let mut is_kept = false;
        loop {
            if sp >= limit {
                // Ends at frame 0, which lies above all memory.
                while outer.sp < sp {
                    kept = kept.wrapping_sub(1);
                    outer = last.frame(kept);
                }
                if outer.sp == sp && outer.is_at(pc, rbp) {
                    is_kept = kept != 0;
                    break;
                }
                // When it was at this place, then outer ones are above it.
                limit = outer.sp.max(sp.wrapping_add(1));
            }
            let Some(row) = self.rows.get(pc) else {
                break;
            };
            if free == range.end {
                break;
            }
            // SAFETY: not at the end, so this is an element of the array, which is borrowed alone.
            // It counts only when the step is made.
            unsafe { free.write(Frame { pc, sp, rbp, row }) };
            let base = if row.counts_from_rbp() { rbp } else { sp };
            let cfa = base.wrapping_add_signed(row.cfa_offset());
            // Signed: a base so high that the sum wraps counts as low.
            if !row.is_plain() || base.cast_signed() < sp.cast_signed() || cfa > end {
                break;
            }
            if row.saves_rbp() {
                // SAFETY: rows put this word into `base .. cfa`, which lies in `sp .. end`, a
                // stretch that was found readable.
                rbp = unsafe { load(cfa.wrapping_add_signed(row.rbp_offset())) };
            }
            // SAFETY: rows put the CFA at least 8 above the base; as before.
            pc = unsafe { load(cfa.wrapping_sub(8)) };
            sp = cfa;
            // SAFETY: at most just behind the array.
            free = unsafe { free.add(1) };
        }
        // SAFETY: both point into the array.
        let count = unsafe { free.offset_from_unsigned(range.start) };
        *at = Position {
            pc,
            sp,
            rbp,
            end,
            count,
            kept,
            vain,
            is_guessed,
        };
        is_kept
    }

    /// Makes one step of any kind; or tells how the walk ends.
    #[inline(never)]
    fn step(&mut self, at: &mut Position, frames: &mut Found) -> Result<(), End> {
        if at.pc == 0 {
            return Err(End::Complete);
        }
        add_frame(at, frames)?;
        let row = match self.rows.get(at.pc) {
            Some(row) => row,
            None => self.learn(at.pc),
        };
        if let Some(frame) = frames.last_mut(at.count) {
            frame.row = row;
        }
        match row.kind() {
            RowKind::End => Err(End::Complete),
            RowKind::StackPointer | RowKind::FramePointer => {
                self.step_plain(row, at).ok_or(End::Cut(CutReason::Unknown))
            }
            RowKind::Realigned => self
                .step_realigned(row, at)
                .ok_or(End::Cut(CutReason::Unknown)),
            RowKind::Special => self.step_special(at, frames),
            RowKind::Unknown => self.step_unknown(at, frames),
        }
    }

    /// Applies a plain row, also where the stretch must be extended first, or is another one.
    fn step_plain(&mut self, row: Row, at: &mut Position) -> Option<()> {
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

    /// Decodes the row of a return address and remembers it. Outside of all objects it is not
    /// remembered, because such code may come and go unannounced.
    #[cold]
    #[inline(never)]
    fn learn(&mut self, pc: usize) -> Row {
        let unknown = Row::bare(RowKind::Unknown);
        let call = pc.wrapping_sub(1);
        let Some(object) = find::object_of(call).filter(|object| object.holds(call)) else {
            return unknown;
        };
        let row = self.decode(&object, pc).unwrap_or(unknown);
        self.rows.insert(pc, row);
        row
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
pub(super) fn add_frame(at: &mut Position, frames: &mut Found) -> Result<(), End> {
    if at.count == frames.room() && at.count < frames.most {
        // Without memory it is cut here.
        let more = frames.most.min(2 * at.count);
        let _is_grown = frames.frames.grow(more, at.count);
    }
    let Some(frame) = frames.free().get_mut(at.count) else {
        return Err(End::Cut(CutReason::Depth));
    };
    *frame = Frame {
        pc: at.pc,
        sp: at.sp,
        rbp: at.rbp,
        row: Row::bare(RowKind::Special),
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
