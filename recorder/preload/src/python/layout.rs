//! Where CPython keeps what a stack is made of: offsets in bytes, one table for each version.
//!
//! The tables of 3.9 to 3.12 were taken with `offsetof` from each version's own headers. From 3.13
//! on the interpreter tells them itself (`_Py_DebugOffsets`, at the start of `_PyRuntime`); which
//! word says what moves with each minor version, so that there is a table of these. Nothing is
//! believed before the first real frame has been looked at: see [`Layout::fits`].

use crate::syscall::is_readable;

/// How the frames of an interpreter hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 3.9: frame objects. Nothing tells where on the C stack they run.
    Objects,
    /// 3.10: frame objects; each has a structure on the C stack (`CFrame`).
    ChainedObjects,
    /// 3.11: frames; those that C code has called have a structure on the C stack (`_PyCFrame`).
    Entries,
    /// 3.12 and later: frames; each call from C begins with a frame that lies on the C stack.
    Shims,
}

/// Where the fields are. All-zero: there is no interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How frames hang together.
    pub family: Family,
    /// The version, 3.9 as 0x0309.
    pub version: u32,
    /// In a thread state: the current frame, or the structure on the C stack that leads to it.
    pub state_frame: usize,
    /// In that structure: the frame; `None` where the state has it itself.
    pub chain_frame: Option<usize>,
    /// In that structure: the one before it.
    pub chain_previous: usize,
    /// In a thread state: the structure on the C stack; 3.10 and 3.11.
    pub state_chain: usize,
    /// In a thread state: what `pthread_self` says in its thread.
    pub state_thread: usize,
    /// In a frame: the frame that called it.
    pub frame_previous: usize,
    /// In a frame: its code object.
    pub frame_code: usize,
    /// Bits of that word which are no part of the address.
    pub frame_code_tag: usize,
    /// In a frame: where it is, an address or (frame objects) a number.
    pub frame_instruction: usize,
    /// In a frame: one byte, whose it is.
    pub frame_owner: usize,
    /// In a code object: name of the file.
    pub code_file: usize,
    /// In a code object: qualified name, or name.
    pub code_name: usize,
    /// In a code object: table of lines.
    pub code_lines: usize,
    /// In a code object: the first line.
    pub code_first_line: usize,
    /// In a code object: the instructions begin here; 0: they are an object of their own.
    pub code_instructions: usize,
    /// In a code object: number of the first instruction of what the programmer wrote, 0: none.
    pub code_first_traceable: usize,
    /// Form of the table of lines, as in the tape.
    pub line_form: u8,
    /// In a text: its characters, when all are ASCII.
    pub text_ascii: usize,
    /// In a text: its characters otherwise.
    pub text_other: usize,
}

/// Owner of a frame: a generator.
pub const OWNED_BY_GENERATOR: u8 = 1;
/// Owner of a frame, from this one on: the C stack.
pub const OWNED_BY_C_STACK: u8 = 3;
/// In every object: its type.
pub const OBJECT_TYPE: usize = 8;
/// In objects of any length: the length.
pub const OBJECT_LENGTH: usize = 16;
/// In a text: the bits that say how it is stored.
pub const TEXT_STATE: usize = 32;
/// In an object of bytes: these.
pub const BYTES_DATA: usize = 32;
/// In a type: what ends its objects.
pub const TYPE_DEALLOC: usize = 48;
/// In a type: what its objects are and have.
pub const TYPE_FLAGS: usize = 168;

const OBJECTS: Layout = Layout {
    family: Family::Objects,
    version: 0x0309,
    state_frame: 24,
    chain_frame: None,
    chain_previous: 8,
    state_chain: 48,
    state_thread: 176,
    frame_previous: 24,
    frame_code: 32,
    frame_code_tag: 0,
    frame_instruction: 104,
    frame_owner: 0,
    code_file: 104,
    code_name: 112,
    code_lines: 120,
    code_first_line: 40,
    code_instructions: 0,
    code_first_traceable: 0,
    line_form: 1,
    text_ascii: 48,
    text_other: 72,
};

const CHAINED_OBJECTS: Layout = Layout {
    family: Family::ChainedObjects,
    version: 0x030a,
    frame_instruction: 96,
    line_form: 2,
    ..OBJECTS
};

const ENTRIES: Layout = Layout {
    family: Family::Entries,
    version: 0x030b,
    state_frame: 56,
    chain_frame: Some(8),
    chain_previous: 16,
    state_chain: 56,
    state_thread: 152,
    frame_previous: 48,
    frame_code: 32,
    frame_instruction: 56,
    frame_owner: 69,
    code_file: 112,
    code_name: 128,
    code_lines: 136,
    code_first_line: 72,
    code_instructions: 184,
    code_first_traceable: 168,
    line_form: 3,
    ..OBJECTS
};

const SHIMS: Layout = Layout {
    family: Family::Shims,
    version: 0x030c,
    chain_frame: Some(0),
    state_thread: 136,
    frame_previous: 8,
    frame_code: 0,
    frame_owner: 70,
    code_first_line: 68,
    code_instructions: 192,
    code_first_traceable: 176,
    text_ascii: 40,
    text_other: 56,
    ..ENTRIES
};

/// Words of `_Py_DebugOffsets` (each 8 bytes) that say where a field is.
#[derive(Debug, Clone, Copy)]
struct Told {
    version: u32,
    /// First word on the thread state; the one on the thread that it belongs to.
    state: usize,
    thread: usize,
    /// First word on frames, on code objects.
    frame: usize,
    code: usize,
    frame_code_tag: usize,
}

const TOLD: [Told; 3] = [
    Told {
        version: 0x030d,
        state: 19,
        thread: 24,
        frame: 28,
        code: 34,
        frame_code_tag: 0,
    },
    Told {
        version: 0x030e,
        state: 22,
        thread: 27,
        frame: 31,
        code: 39,
        frame_code_tag: 3,
    },
    Told {
        version: 0x030f,
        state: 22,
        thread: 30,
        frame: 39,
        code: 47,
        frame_code_tag: 3,
    },
];

/// What `_PyRuntime` begins with from 3.13 on.
const COOKIE: usize = usize::from_ne_bytes(*b"xdebugpy");
/// No structure is larger.
const OFFSET_MAX: usize = 4096;

/// Why the frames of an interpreter are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// A version that is not known.
    Version = 1,
    /// Built without the global lock.
    FreeThreaded = 2,
    /// What was found is not where it should be.
    Layout = 3,
    /// They are; but the interpreter does not tell of memory that it uses again.
    Reuses = 4,
}

impl Layout {
    /// The layout of a version; `runtime` is the address of `_PyRuntime`.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Safety
    /// From 3.13 on `runtime` is 0 or the address of the interpreter's own structure.
    pub unsafe fn of(version: u32, runtime: usize) -> Result<Self, Refusal> {
        match version {
            0x0309 => Ok(OBJECTS),
            0x030a => Ok(CHAINED_OBJECTS),
            0x030b => Ok(ENTRIES),
            0x030c => Ok(SHIMS),
            // SAFETY: as for this function.
            _ => unsafe { Self::told(version, runtime) },
        }
    }

    unsafe fn told(version: u32, runtime: usize) -> Result<Self, Refusal> {
        let known = TOLD.iter().find(|told| told.version == version);
        let told = known.ok_or(Refusal::Version)?;
        if runtime == 0 {
            return Err(Refusal::Layout);
        }
        let word = |index: usize| {
            // SAFETY: the structure has more words than the tables name, by the caller's contract.
            unsafe { load(runtime + index * 8) }
        };
        if word(0) != COOKIE || word(1) >> 16 != version as usize {
            return Err(Refusal::Layout);
        }
        if word(2) != 0 {
            return Err(Refusal::FreeThreaded);
        }
        let code_instructions = word(told.code + 9);
        let layout = Self {
            version,
            chain_frame: None,
            state_frame: word(told.state + 4),
            state_thread: word(told.thread),
            frame_previous: word(told.frame + 1),
            frame_code: word(told.frame + 2),
            frame_code_tag: told.frame_code_tag,
            frame_instruction: word(told.frame + 3),
            frame_owner: word(told.frame + 5),
            code_file: word(told.code + 1),
            code_name: word(told.code + 3),
            code_lines: word(told.code + 4),
            code_first_line: word(told.code + 5),
            code_instructions,
            code_first_traceable: code_instructions.wrapping_sub(16),
            ..SHIMS
        };
        let offsets = [
            layout.state_frame,
            layout.state_thread,
            layout.frame_previous,
            layout.frame_code,
            layout.frame_instruction,
            layout.frame_owner,
            layout.code_file,
            layout.code_name,
            layout.code_lines,
            layout.code_first_line,
            layout.code_first_traceable,
        ];
        if offsets.iter().any(|&offset| offset > OFFSET_MAX) {
            return Err(Refusal::Layout);
        }
        Ok(layout)
    }

    /// The frame that a thread state runs; 0: none.
    ///
    /// # Safety
    /// `state` is a thread state of the calling thread, and the layout is right.
    #[inline(always)]
    #[must_use]
    pub unsafe fn top(&self, state: usize) -> usize {
        // SAFETY: a field of the state.
        let first = unsafe { load(state + self.state_frame) };
        match self.chain_frame {
            // SAFETY: a field of the structure that the state leads to.
            Some(offset) if first != 0 => unsafe { load(first + offset) },
            _ => first,
        }
    }

    /// As [`Layout::top`], where nothing is known of the layout yet: reads only what can be read.
    /// `None`: it cannot be.
    #[must_use]
    pub fn peek_top(&self, state: usize) -> Option<usize> {
        match (peek(state + self.state_frame)?, self.chain_frame) {
            (0, _) => Some(0),
            (first, Some(offset)) => peek(first.wrapping_add(offset)),
            (first, None) => Some(first),
        }
    }

    /// The code object of a frame, or whatever stands in its place.
    ///
    /// # Safety
    /// `frame` is a live frame of the calling thread, and the layout is right.
    #[inline(always)]
    #[must_use]
    pub unsafe fn code_of(&self, frame: usize) -> usize {
        // SAFETY: a field of the frame.
        unsafe { load(frame + self.frame_code) & !self.frame_code_tag }
    }

    /// Whether a frame looks as the table says: its code object is one, whose name is a text and
    /// whose lines are bytes, and it is inside of its instructions. `None`: it is a frame without
    /// code, which says nothing. Reads only what can be read.
    #[must_use]
    pub fn fits(&self, frame: usize, types: &Types) -> Option<bool> {
        let Some(code) = peek(frame.wrapping_add(self.frame_code)) else {
            return Some(false);
        };
        let code = code & !self.frame_code_tag;
        if self.family == Family::Shims {
            let owner = peek(frame.wrapping_add(self.frame_owner)).map(|word| word as u8);
            if owner.is_none_or(|owner| owner >= OWNED_BY_C_STACK) {
                return owner.map_or(Some(false), |_| None);
            }
        }
        Some(self.is_code(code, types) && self.is_inside(frame, code))
    }

    fn is_code(&self, code: usize, types: &Types) -> bool {
        let has_type = |object: Option<usize>, of: usize| {
            let found = object.and_then(|object| peek(object.wrapping_add(OBJECT_TYPE)));
            found == Some(of)
        };
        has_type(Some(code), types.code)
            && has_type(peek(code.wrapping_add(self.code_file)), types.text)
            && has_type(peek(code.wrapping_add(self.code_name)), types.text)
            && has_type(peek(code.wrapping_add(self.code_lines)), types.bytes)
    }

    fn is_inside(&self, frame: usize, code: usize) -> bool {
        const UNITS_MAX: usize = 1 << 28;
        let Some(at) = peek(frame.wrapping_add(self.frame_instruction)) else {
            return false;
        };
        if self.code_instructions == 0 {
            let number = at as u32 as i32;
            return (-1..UNITS_MAX as i32).contains(&number);
        }
        let Some(units) = peek(code + OBJECT_LENGTH) else {
            return false;
        };
        let start = code + self.code_instructions;
        let into = at.wrapping_sub(start.wrapping_sub(2));
        units <= UNITS_MAX && into.is_multiple_of(2) && into <= units * 2 + 2
    }
}

/// Addresses of three of the interpreter's types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Types {
    /// `PyCode_Type`.
    pub code: usize,
    /// `PyUnicode_Type`.
    pub text: usize,
    /// `PyBytes_Type`.
    pub bytes: usize,
}

/// The word at an address.
///
/// # Safety
/// It can be read.
#[inline(always)]
#[must_use]
pub unsafe fn load(address: usize) -> usize {
    // SAFETY: as for this function. The interpreter's structures are aligned, but for what a wrong
    // table would say.
    unsafe { (address as *const usize).read_unaligned() }
}

/// The word at an address, if it can be read.
#[must_use]
pub fn peek(address: usize) -> Option<usize> {
    let is_there = address != 0
        && address < isize::MAX as usize - 8
        && is_readable(address)
        && is_readable(address + 7);
    // SAFETY: the kernel has just read it.
    is_there.then(|| unsafe { load(address) })
}
