//! What the bytes of code at an address tell where no unwind table does: an address goes in;
//! whether a call stands before it, and whether a signal trampoline stands there, come out.
//!
//! Code is read only after a system call found it readable, so answers are remembered: a program
//! that spends its time in such code would make several calls for each frame of each event. Code of
//! a loaded object stays as it is until objects are unloaded, when all answers are forgotten. Other
//! code may be another one at any time, and is looked at again now and then; a stale answer makes a
//! guess better or worse, and nothing is read for it.

use crate::modules::find;
use crate::syscall::{PAGE_BYTES, is_readable};

/// Answers that a thread remembers.
const ANSWERS: usize = 1024;
/// How often an answer holds for code outside of all objects.
const USES: u32 = 64;

const _: () = assert!(ANSWERS.is_power_of_two());

/// What is known of the code at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// The instruction before it looks like a call.
    pub(super) follows_call: bool,
    /// It begins with the instructions that return from a signal handler.
    pub(super) returns_from_signal: bool,
}

/// An answer. All zeros are none.
#[derive(Debug, Clone, Copy)]
struct Answer {
    pc: usize,
    /// How often it may still be used.
    uses: u32,
    facts: Facts,
}

/// The answers of a thread. All-zero bytes are valid and empty.
#[derive(Debug)]
pub(super) struct Code {
    answers: [Answer; ANSWERS],
    /// Some are in use; otherwise they are not touched, so that they cost no memory.
    has_answers: bool,
}

impl Code {
    /// Forgets all answers: objects were unloaded.
    pub(super) fn forget(&mut self) {
        if self.has_answers {
            let none = Answer {
                pc: 0,
                uses: 0,
                facts: Facts::default(),
            };
            self.answers.fill(none);
            self.has_answers = false;
        }
    }

    /// What the code at `pc` is, as of now or of a short while ago.
    #[must_use]
    pub(super) fn facts(&mut self, pc: usize) -> Facts {
        const SHIFT: u32 = usize::BITS - ANSWERS.trailing_zeros();
        let place = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHIFT;
        let Some(answer) = self.answers.get_mut(place) else {
            return Facts::default();
        };
        if answer.pc == pc && answer.uses > 0 {
            answer.uses -= 1;
            return answer.facts;
        }
        *answer = Answer::of(pc);
        self.has_answers = true;
        answer.facts
    }
}

impl Answer {
    #[cold]
    #[inline(never)]
    fn of(pc: usize) -> Self {
        // Maybe only a guess: what it lies in may be unloaded meanwhile, and must not be read.
        let uses = if find::is_in_object(pc) {
            u32::MAX
        } else {
            USES
        };
        Self {
            pc,
            uses,
            facts: Facts::of(pc),
        }
    }
}

/// `mov $15, %rax; syscall`: the kernel asks for nothing else of a trampoline.
const RETURN_FROM_SIGNAL: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// Bytes of the longest instruction that calls, prefixes left out.
const LONGEST_CALL: usize = 7;

impl Facts {
    /// What the bytes around `pc` say now.
    fn of(pc: usize) -> Self {
        let bytes = code_around(pc);
        let (before, from) = bytes.split_at(LONGEST_CALL);
        Self {
            follows_call: ends_with_call(before),
            returns_from_signal: from == RETURN_FROM_SIGNAL,
        }
    }
}

/// The bytes before `pc` and those from there on; those that cannot be read are zeros.
fn code_around(pc: usize) -> [u8; LONGEST_CALL + RETURN_FROM_SIGNAL.len()] {
    let start = pc.wrapping_sub(LONGEST_CALL);
    let mut bytes = [0; _];
    let mut tried = (0, false);
    for (offset, byte) in bytes.iter_mut().enumerate() {
        let address = start.wrapping_add(offset);
        let page = address & !(PAGE_BYTES - 1);
        if offset == 0 || tried.0 != page {
            tried = (page, is_readable(page));
        }
        if tried.1 {
            let pointer: *const u8 = core::ptr::with_exposed_provenance(address);
            // SAFETY: in a page that was found readable.
            *byte = unsafe { pointer.read() };
        }
    }
    bytes
}

/// True when code looks like a call at its end: `e8` with a distance, or `ff /2`.
fn ends_with_call(code: &[u8]) -> bool {
    let from_end = |length: usize| code.len().checked_sub(length);
    let byte = |length| from_end(length).and_then(|place| code.get(place)).copied();
    let is_indirect = |length| {
        let reads_call = byte(length - 1).is_some_and(|byte| byte >> 3 & 7 == 2);
        byte(length) == Some(0xff) && reads_call
    };
    byte(5) == Some(0xe8) || [2, 3, 4, 6, 7].into_iter().any(is_indirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows_call(pc: usize) -> bool {
        Facts::of(pc).follows_call
    }

    #[test]
    fn what_follows_a_call() {
        let ends = |bytes: [u8; 7]| follows_call(bytes.as_ptr() as usize + bytes.len());
        assert!(ends([0x90, 0x90, 0xe8, 1, 2, 3, 4]));
        assert!(ends([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0]));
        assert!(ends([0x90, 0xff, 0x15, 1, 2, 3, 4]));
        assert!(ends([0xff, 0x94, 0x24, 1, 2, 3, 4]));
        assert!(!ends([0x90, 0x90, 0xe9, 1, 2, 3, 4]));
        assert!(!ends([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0]));
        assert!(!follows_call(3));
        assert!(!follows_call(usize::MAX));
    }

    /// The first instructions of a mapping, with nothing readable before them.
    #[test]
    fn a_call_at_the_start_of_a_page() {
        let memory = crate::arena::map(2 * PAGE_BYTES).expect("memory");
        let code = memory.as_ptr() as usize + PAGE_BYTES;
        // SAFETY: the first page is ours and unused.
        unsafe { crate::arena::unmap(memory, PAGE_BYTES) };
        let second = core::ptr::with_exposed_provenance_mut::<[u8; 5]>(code);
        // SAFETY: the second page is ours.
        unsafe { second.write([0xff, 0xd7, 0xe8, 1, 2]) };
        assert!(follows_call(code + 2));
        assert!(!follows_call(code + 1));
        assert!(!follows_call(code + 5));
        assert!(!follows_call(code));
        assert!(follows_call(code + 7));
    }

    /// Code that is generated anew is looked at again, and that of an object only once.
    #[test]
    fn answers_about_unknown_code_wear_off() {
        find::start();
        let memory = crate::arena::map(PAGE_BYTES).expect("memory");
        let code = memory.cast::<[u8; 5]>();
        let pc = memory.as_ptr() as usize + 5;
        let mut known = Box::new(Code {
            answers: [Answer::of(0); ANSWERS],
            has_answers: false,
        });
        // SAFETY: the page is ours.
        unsafe { code.write([0xe8, 1, 2, 3, 4]) };
        assert!(known.facts(pc).follows_call);
        // SAFETY: the page is ours.
        unsafe { code.write([0x90; 5]) };
        let uses = (0..USES).take_while(|_| known.facts(pc).follows_call);
        assert_eq!(uses.count(), USES as usize);
        assert!(!known.facts(pc).follows_call);

        let own = answers_about_unknown_code_wear_off as *const () as usize + 1;
        let _facts = known.facts(own);
        assert!(known.answers.iter().any(|answer| answer.uses == u32::MAX));
        known.forget();
        assert!(known.answers.iter().all(|answer| answer.uses == 0));
    }
}
