//! One frame of Python: which words tell it, how they are read and compared, and where in its code
//! it is.

use super::NOWHERE;
use crate::arena::Plain;
use crate::python::codes;
use crate::python::layout::{
    Family, Layout, OBJECT_TYPE, OWNED_BY_C_STACK, OWNED_BY_GENERATOR, load,
};

/// One frame. The one outside of it has the index below.
#[derive(Debug, Clone, Copy)]
pub struct PythonFrame {
    /// Its address.
    pub(super) frame: usize,
    /// The word that says where it is in its code.
    pub(super) instruction: usize,
    /// Its caller's address.
    pub(super) previous: usize,
    /// What else tells it: the code object (frame objects), or whose it is and how it was called.
    pub(super) extra: usize,
    /// Its code object, or what stands in its place; 0: nothing does.
    pub code: usize,
    /// Where its segment runs, when it is the outermost of one; else 0.
    pub(super) address: usize,
    /// Deaths at the code object's address when it was read.
    pub(super) deaths: u32,
    /// Its node; 0: not named yet.
    pub node: u32,
}

// SAFETY: numbers.
unsafe impl Plain for PythonFrame {}

/// [`Family`], for the functions that are made once for each.
pub(super) mod family {
    pub(in crate::stack::python) const OBJECTS: u8 = 0;
    pub(in crate::stack::python) const CHAINED: u8 = 1;
    pub(in crate::stack::python) const ENTRIES: u8 = 2;
    pub(in crate::stack::python) const SHIMS: u8 = 3;
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// The next frame outwards; 0: there is none.
    pub(super) frame: usize,
    /// The structure on the C stack that belongs to its segment; 0: none is known.
    pub(super) chain: usize,
}

/// The words of a frame that tell it, beside its address and code.
///
/// # Safety
/// The frame is alive, and the layout is right.
#[inline(always)]
unsafe fn words<const FAMILY: u8>(layout: &Layout, frame: usize) -> [usize; 3] {
    // SAFETY: a field of the frame.
    let instruction = unsafe { load(frame + layout.frame_instruction) };
    // SAFETY: as before.
    let previous = unsafe { load(frame + layout.frame_previous) };
    match FAMILY {
        family::OBJECTS | family::CHAINED => {
            // SAFETY: as before.
            let code = unsafe { load(frame + layout.frame_code) };
            [instruction as u32 as usize, previous, code]
        }
        family::ENTRIES => {
            // SAFETY: the byte before the owner says whether C code has called the frame.
            let how = unsafe { load(frame + layout.frame_owner - 1) };
            [instruction, previous, how & 0xffff]
        }
        _ => {
            // SAFETY: as before.
            let owner = unsafe { load(frame + layout.frame_owner) };
            [instruction, previous, owner & 0xff]
        }
    }
}

/// True when the frame at `at`, which has the kept one's address, is as it was; goes on outwards.
///
/// # Safety
/// As for [`words`].
#[inline(always)]
pub(super) unsafe fn is_same<const FAMILY: u8>(
    layout: &Layout,
    kept: &PythonFrame,
    at: &mut At,
) -> bool {
    // SAFETY: as for this function.
    let [instruction, previous, extra] = unsafe { words::<FAMILY>(layout, at.frame) };
    let differing =
        (instruction ^ kept.instruction) | (previous ^ kept.previous) | (extra ^ kept.extra);
    if differing != 0 {
        return false;
    }
    if matches!(FAMILY, family::CHAINED | family::ENTRIES) && kept.address != 0 {
        if at.chain != kept.address {
            return false;
        }
        // SAFETY: the structure of a segment that runs, on the C stack of this thread.
        at.chain = unsafe { load(at.chain + layout.chain_previous) };
    }
    at.frame = previous;
    true
}

/// Reads a frame; and what is outside of it.
///
/// # Safety
/// As for [`words`].
#[inline(always)]
pub(super) unsafe fn read<const FAMILY: u8>(layout: &Layout, at: At) -> (PythonFrame, At) {
    let At { frame, mut chain } = at;
    // SAFETY: as for this function.
    let [instruction, previous, extra] = unsafe { words::<FAMILY>(layout, frame) };
    let is_entry = match FAMILY {
        family::ENTRIES => extra & 0xff != 0,
        family::SHIMS => extra >= OWNED_BY_C_STACK as usize,
        _ => true,
    };
    let code = if FAMILY == family::SHIMS && is_entry {
        0
    } else {
        // SAFETY: as before.
        unsafe { layout.code_of(frame) }
    };
    let address = match FAMILY {
        _ if !is_entry => 0,
        family::OBJECTS => NOWHERE,
        family::SHIMS => frame,
        _ if chain == 0 => NOWHERE,
        _ => {
            let address = chain;
            // SAFETY: the structure of a segment that runs, on the C stack of this thread.
            chain = unsafe { load(address + layout.chain_previous) };
            address
        }
    };
    let read = PythonFrame {
        frame,
        instruction,
        previous,
        extra,
        code,
        address,
        deaths: codes::deaths_at(code),
        node: 0,
    };
    let outer = At {
        frame: previous,
        chain,
    };
    (read, outer)
}

impl PythonFrame {
    /// Where it is in its code: the number of the unit of two bytes, `u32::MAX` before the first.
    /// `None`: it has no code, or is only being set up, which is none of the programmer's.
    ///
    /// # Safety
    /// It is alive, and the layout is right.
    #[must_use]
    pub unsafe fn unit(&self, layout: &Layout, code_type: usize) -> Option<u32> {
        if self.code == 0 {
            return None;
        }
        if layout.code_instructions == 0 {
            let number = self.instruction as u32 as i32;
            let unit = match layout.family {
                Family::Objects => number >> 1,
                _ => number,
            };
            return Some(unit.cast_unsigned());
        }
        // SAFETY: an object of the interpreter's.
        if unsafe { load(self.code + OBJECT_TYPE) } != code_type {
            return None;
        }
        let start = self.code + layout.code_instructions;
        let unit = (self.instruction.wrapping_sub(start) as isize >> 1) as i32;
        // SAFETY: a field of the code object.
        let first = unsafe { load(self.code + layout.code_first_traceable) } as i32;
        let owner = match layout.family {
            Family::Entries => self.extra >> 8,
            _ => self.extra,
        };
        let is_begun = unit >= first || owner as u8 == OWNED_BY_GENERATOR;
        is_begun.then_some(unit.cast_unsigned())
    }
}
