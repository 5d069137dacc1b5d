//! Tapes with frames of Python, made by chance.

use crate::tape::{Tape, app};
use heaptape_format::event::{Event, Operation};
use heaptape_format::line_table::{FORM_LNOTAB, FORM_NONE};
use heaptape_format::tables::{CodeObject, Frame};

/// Small numbers that look like chance.
pub(crate) struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// Code whose instruction n is in line `first_line + n`.
pub(crate) fn code(number: u32, file: &str, name: &str, first_line: u32) -> CodeObject {
    CodeObject {
        number,
        form: FORM_LNOTAB,
        first_line,
        file: file.into(),
        name: name.into(),
        line_table: [2, 1].repeat(20),
    }
}

pub(crate) fn python(code: u32, instruction: u32) -> Frame {
    Frame::Python { code, instruction }
}

/// A tape with the code objects of the tests and no event.
pub(crate) fn empty_tape() -> Tape {
    let mut tape = Tape::new();
    for (number, (file, name, line)) in (1..).zip([
        ("/app/main.py", "main", 1),
        ("/app/main.py", "grow", 10),
        // The same lines, of another function.
        ("/app/main.py", "grow.<locals>.<lambda>", 12),
        ("/app/lib/util.py", "Cache.put", 100),
        ("/usr/lib/python3/json/decoder.py", "decode", 340),
        ("<string>", "<module>", 1),
        ("/app/lib/[odd] ä*.py", "f", 70_000),
    ]) {
        tape.codes.push(code(number, file, name, line));
    }
    // No line is known of this one.
    let mut lineless = code(8, "/app/gone.py", "gone", 5);
    lineless.form = FORM_NONE;
    tape.codes.push(lineless);
    for offset in 0..4 {
        let name = ["malloc_more", "PyObject_Malloc", "PyMem_RawMalloc", "eval"][offset as usize];
        tape.symbol(offset, &[(name, "obmalloc.c", 7)]);
    }
    tape
}

/// How a block is allocated, reallocated and freed in each domain.
const KINDS: [(Operation, Operation, Operation); 4] = [
    (
        Operation::RAW_MALLOC,
        Operation::RAW_REALLOC,
        Operation::RAW_FREE,
    ),
    (
        Operation::MEM_MALLOC,
        Operation::MEM_REALLOC,
        Operation::MEM_FREE,
    ),
    (
        Operation::OBJ_MALLOC,
        Operation::OBJ_REALLOC,
        Operation::OBJ_FREE,
    ),
    (Operation::MALLOC, Operation::REALLOC, Operation::FREE),
];

/// Forty stacks of up to eight frames.
fn random_stacks(tape: &mut Tape, thread: usize, random: &mut Random) -> Vec<u32> {
    let mut stack = || {
        let depth = random.below(9);
        let frame = |_| match random.below(3) {
            0 => app(random.below(4) as u64),
            _ => python(1 + random.below(8) as u32, random.below(4) as u32),
        };
        let frames: Vec<Frame> = (0..depth).map(frame).collect();
        tape.stack(thread, &frames)
    };
    (0..40).map(|_| stack()).collect()
}

/// Two threads that allocate, reallocate and free in all domains, below frames of Python and
/// native ones between them.
pub(crate) fn random_tape(seed: u64) -> Tape {
    let mut tape = empty_tape();
    let other = tape.thread("worker");
    let mut random = Random(seed);
    let stacks = [0, other].map(|thread| random_stacks(&mut tape, thread, &mut random));
    let mut live: Vec<(u64, usize)> = Vec::new();
    for step in 0..600 {
        let (stamp, thread) = (1000 + step * 1000, random.below(2));
        let stack = stacks[thread][random.below(40)];
        let size = [16, 16, 48, 56, 1 << 20, 5 << 30][random.below(6)];
        let picked = (!live.is_empty()).then(|| random.below(live.len()));
        match (random.below(5), picked) {
            (0, Some(place)) => {
                let (address, kind) = live.swap_remove(place);
                let mut event = Event::new(KINDS[kind].2, stamp);
                event.old_address = address;
                tape.event(thread, event);
            }
            (1, Some(place)) => {
                let (address, kind) = live[place];
                let mut event = Event::new(KINDS[kind].1, stamp);
                (event.old_address, event.address) = (address, address);
                (event.size, event.stack) = (size, stack);
                event.end_stamp = stamp + 1;
                tape.event(thread, event);
            }
            _ => {
                let kind = random.below(4);
                let address = 0x10_0000 + step * 64;
                let mut event = Event::new(KINDS[kind].0, stamp);
                (event.address, event.size, event.stack) = (address, size, stack);
                tape.event(thread, event);
                live.push((address, kind));
            }
        }
    }
    tape
}
