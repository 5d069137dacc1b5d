//! What a seccomp filter would say to a system call: the program as the target hands it to the
//! kernel goes in, an action comes out.
//!
//! The filter is classic BPF as the kernel's seccomp takes it. It only ever jumps forward, so a run
//! ends after at most as many steps as it has instructions. Whatever the kernel would not take
//! gives no action. The target's memory is read only where it can be.

use crate::syscall::{PAGE_BYTES, is_readable};

/// Instructions that the kernel takes at most.
const INSTRUCTIONS_MAX: usize = 4096;
const INSTRUCTION_BYTES: usize = 8;
/// Words of the filter's own memory.
const MEMORY_WORDS: usize = 16;
/// `AUDIT_ARCH_X86_64` of <linux/audit.h>.
const ARCHITECTURE: u32 = 0xc000_003e;
/// Words of `struct seccomp_data`.
const DATA_WORDS: usize = 16;

// Classes, in the low three bits of a code.
const LOAD: u16 = 0;
const LOAD_INDEX: u16 = 1;
const STORE: u16 = 2;
const STORE_INDEX: u16 = 3;
const ARITHMETIC: u16 = 4;
const JUMP: u16 = 5;
const RETURN: u16 = 6;
const MISCELLANEOUS: u16 = 7;
// Where a load takes its word from; all are words of 32 bits.
const ABSOLUTE: u16 = 0x20;
const IMMEDIATE: u16 = 0x00;
const LENGTH: u16 = 0x80;
const MEMORY: u16 = 0x60;
/// The second operand is the index register, not the constant.
const BY_INDEX: u16 = 0x08;
/// A return of the accumulator.
const ACCUMULATOR: u16 = 0x10;

/// A filter that the target is about to install.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    code: *const u8,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    constant: u32,
}

impl Filter {
    /// The filter that `struct sock_fprog` at `address` describes; `None` when the kernel could not
    /// read it either, or would not take its length.
    #[must_use]
    pub fn at(address: usize) -> Option<Self> {
        let place: *const u8 = core::ptr::with_exposed_provenance(address);
        let count = usize::from(word_at(place, 0)? as u16);
        let low = word_at(place, 8)? as usize;
        let high = word_at(place, 12)? as usize;
        let code: *const u8 = core::ptr::with_exposed_provenance(low | high << 32);
        if count == 0 || count > INSTRUCTIONS_MAX {
            return None;
        }
        let filter = Self { code, count };
        let first = code as usize & !(PAGE_BYTES - 1);
        let end = (code as usize).checked_add(count * INSTRUCTION_BYTES)?;
        (first..end)
            .step_by(PAGE_BYTES)
            .all(is_readable)
            .then_some(filter)
    }

    /// The action, without its data, for a call with these arguments; `None`: the kernel does not
    /// take the filter.
    #[must_use]
    pub fn action(&self, number: i64, arguments: &[usize; 6]) -> Option<u32> {
        let mut data = [0; DATA_WORDS];
        let (head, rest) = data.split_at_mut(4);
        let origin = heaptape_session::sys::syscall6 as *const () as usize;
        head.copy_from_slice(&[
            number as u32,
            ARCHITECTURE,
            origin as u32,
            (origin >> 32) as u32,
        ]);
        for (pair, argument) in rest.chunks_exact_mut(2).zip(arguments) {
            pair.copy_from_slice(&[*argument as u32, (*argument >> 32) as u32]);
        }
        let value = self.run(&data)?;
        Some(value & libc::SECCOMP_RET_ACTION_FULL)
    }

    fn instruction(&self, index: usize) -> Option<Instruction> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `at` has found all instructions readable.
        let place = unsafe { self.code.add(index * INSTRUCTION_BYTES) }.cast::<[u8; 8]>();
        // SAFETY: as above; bytes need no alignment.
        let [code_low, code_high, if_true, if_false, a, b, c, d] = unsafe { place.read_volatile() };
        Some(Instruction {
            code: u16::from_le_bytes([code_low, code_high]),
            if_true,
            if_false,
            constant: u32::from_le_bytes([a, b, c, d]),
        })
    }

    /// What the filter returns for `data`.
    fn run(&self, data: &[u32; DATA_WORDS]) -> Option<u32> {
        let mut machine = Machine::default();
        let mut next = 0;
        loop {
            let instruction = self.instruction(next)?;
            next += 1;
            let Instruction { code, constant, .. } = instruction;
            match code & 7 {
                RETURN if code == RETURN => return Some(constant),
                RETURN if code == RETURN | ACCUMULATOR => return Some(machine.accumulator),
                JUMP => next = next.checked_add(machine.jump(instruction)?)?,
                _ => {
                    // By zero it divides as the kernel's does: the filter is over.
                    if !machine.step(code, constant, data)? {
                        return Some(0);
                    }
                }
            }
        }
    }
}

/// The registers and the memory of a run.
#[derive(Debug, Default)]
struct Machine {
    accumulator: u32,
    index: u32,
    memory: [u32; MEMORY_WORDS],
}

impl Machine {
    /// An instruction that neither jumps nor returns. False: it divides by zero. `None`: there is
    /// no such instruction.
    fn step(&mut self, code: u16, constant: u32, data: &[u32; DATA_WORDS]) -> Option<bool> {
        let place = constant as usize;
        match code & 7 {
            LOAD => {
                self.accumulator = match code & !7 {
                    ABSOLUTE if constant.is_multiple_of(4) => *data.get(place / 4)?,
                    _ => self.loaded(code, constant)?,
                }
            }
            LOAD_INDEX => self.index = self.loaded(code, constant)?,
            STORE if code == STORE => *self.memory.get_mut(place)? = self.accumulator,
            STORE_INDEX if code == STORE_INDEX => *self.memory.get_mut(place)? = self.index,
            ARITHMETIC => return self.calculate(code, constant),
            MISCELLANEOUS if code == MISCELLANEOUS => self.index = self.accumulator,
            MISCELLANEOUS if code == MISCELLANEOUS | 0x80 => self.accumulator = self.index,
            _ => return None,
        }
        Some(true)
    }

    fn loaded(&self, code: u16, constant: u32) -> Option<u32> {
        match code & !7 {
            IMMEDIATE => Some(constant),
            LENGTH => Some(DATA_WORDS as u32 * 4),
            MEMORY => self.memory.get(constant as usize).copied(),
            _ => None,
        }
    }

    fn operand(&self, code: u16, constant: u32) -> u32 {
        if code & BY_INDEX != 0 {
            self.index
        } else {
            constant
        }
    }

    fn calculate(&mut self, code: u16, constant: u32) -> Option<bool> {
        let (left, right) = (self.accumulator, self.operand(code, constant));
        self.accumulator = match code & 0xf0 {
            0x00 => left.wrapping_add(right),
            0x10 => left.wrapping_sub(right),
            0x20 => left.wrapping_mul(right),
            0x30 => match left.checked_div(right) {
                Some(quotient) => quotient,
                None => return Some(false),
            },
            0x40 => left | right,
            0x50 => left & right,
            0x60 => left.wrapping_shl(right),
            0x70 => left.wrapping_shr(right),
            0x80 => left.wrapping_neg(),
            0xa0 => left ^ right,
            _ => return None,
        };
        Some(true)
    }

    /// How many instructions are stepped over.
    fn jump(&self, instruction: Instruction) -> Option<usize> {
        let Instruction { code, constant, .. } = instruction;
        let (left, right) = (self.accumulator, self.operand(code, constant));
        let is_true = match code & 0xf0 {
            0x00 => return Some(constant as usize),
            0x10 => left == right,
            0x20 => left > right,
            0x30 => left >= right,
            0x40 => left & right != 0,
            _ => return None,
        };
        let distance = if is_true {
            instruction.if_true
        } else {
            instruction.if_false
        };
        Some(usize::from(distance))
    }
}

/// The four bytes at `offset` from `place`, where they can be read.
fn word_at(place: *const u8, offset: usize) -> Option<u32> {
    let word = place.wrapping_add(offset).cast::<[u8; 4]>();
    let last = (word as usize).checked_add(3)?;
    if !is_readable(word as usize & !(PAGE_BYTES - 1)) || !is_readable(last & !(PAGE_BYTES - 1)) {
        return None;
    }
    // SAFETY: all four bytes can be read; bytes need no alignment.
    Some(u32::from_le_bytes(unsafe { word.read_volatile() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, proptest};

    /// A call that nobody makes.
    const NUMBER: i64 = libc::SYS_lookup_dcookie;

    fn instruction(code: u16, if_true: u8, if_false: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code,
            jt: if_true,
            jf: if_false,
            k,
        }
    }

    /// `middle` between a head that lets all other calls through and fills all memory, and an end
    /// that makes an error number of the accumulator.
    fn program(middle: &[libc::sock_filter]) -> Vec<libc::sock_filter> {
        let mut code = vec![
            instruction(LOAD | ABSOLUTE, 0, 0, 0),
            instruction(JUMP | 0x10, 1, 0, NUMBER as u32),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        code.extend((0..16).map(|place| instruction(STORE, 0, 0, place)));
        code.extend_from_slice(middle);
        // Where the last jumps end.
        code.extend([instruction(STORE, 0, 0, 0); 3]);
        code.push(instruction(ARITHMETIC | 0x50, 0, 0, 0xfff));
        code.push(instruction(
            ARITHMETIC | 0x40,
            0,
            0,
            libc::SECCOMP_RET_ERRNO,
        ));
        code.push(instruction(RETURN | ACCUMULATOR, 0, 0, 0));
        code
    }

    /// What the kernel answers to the call under the filter: the error number, or `None` when it
    /// does not take the filter; a killed child is -1.
    fn by_kernel(code: &[libc::sock_filter], arguments: &[usize; 6]) -> Option<i64> {
        let filter = libc::sock_fprog {
            len: code.len() as u16,
            filter: code.as_ptr().cast_mut(),
        };
        let mut pipe = [0; 2];
        // SAFETY: the place holds two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        // SAFETY: the child only makes system calls.
        let child = unsafe { libc::fork() };
        if child == 0 {
            answer_in_child(&filter, arguments, pipe[1]);
        }
        let mut answer = -1i64;
        // SAFETY: a descriptor of this test.
        unsafe { libc::close(pipe[1]) };
        // SAFETY: eight valid bytes.
        unsafe { libc::read(pipe[0], (&raw mut answer).cast(), 8) };
        // SAFETY: as above.
        unsafe { libc::close(pipe[0]) };
        // SAFETY: the test's own child.
        unsafe { libc::waitpid(child, core::ptr::null_mut(), 0) };
        (answer != i64::MAX).then_some(answer)
    }

    fn answer_in_child(filter: &libc::sock_fprog, arguments: &[usize; 6], pipe: i32) -> ! {
        // SAFETY: forbids this child to gain rights.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: a valid structure; what it forbids concerns this child.
        let is_taken = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, filter) } == 0;
        let answer = if is_taken {
            // SAFETY: the filter keeps the call from being made.
            -unsafe { heaptape_session::sys::syscall6(NUMBER, *arguments) } as i64
        } else {
            i64::MAX
        };
        // SAFETY: eight valid bytes.
        unsafe { libc::write(pipe, (&raw const answer).cast(), 8) };
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }

    /// What the filter answers, as [`by_kernel`].
    fn by_us(code: &[libc::sock_filter], arguments: &[usize; 6]) -> Option<i64> {
        let filter = libc::sock_fprog {
            len: code.len() as u16,
            filter: code.as_ptr().cast_mut(),
        };
        let filter = Filter::at((&raw const filter) as usize)?;
        filter.action(NUMBER, arguments)?;
        let mut data = [0; DATA_WORDS];
        let words = arguments
            .iter()
            .flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        data[0] = NUMBER as u32;
        data[1] = ARCHITECTURE;
        for (place, word) in data[4..].iter_mut().zip(words) {
            *place = word;
        }
        let value = filter.run(&data)?;
        match value & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_ERRNO => Some(i64::from(value & 0xfff)),
            libc::SECCOMP_RET_KILL_THREAD => Some(-1),
            _ => panic!("{value:#x}"),
        }
    }

    /// Any instruction that stands in filters, but the address of the call, which is another one
    /// here.
    fn any_instruction() -> impl Strategy<Value = libc::sock_filter> {
        let codes = [
            0x20, 0x20, 0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x04, 0x0c, 0x14,
            0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84,
            0xa4, 0xac, 0x07, 0x87, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d,
        ];
        let code = (0..codes.len()).prop_map(move |index| codes[index]);
        (code, 0..4u8, 0..4u8, any::<u32>(), 0..16u32).prop_map(|(code, yes, no, large, small)| {
            let k = match code {
                0x20 => {
                    [0, 4, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 16, 20][small as usize]
                }
                0x60 | 0x61 | 0x02 | 0x03 | 0x64 | 0x74 => small,
                0x05 => small % 4,
                0x34 => large | 1,
                _ if small < 8 => small,
                _ => large,
            };
            instruction(code, yes, no, k)
        })
    }

    proptest! {
        #[test]
        fn a_filter_answers_as_the_kernels_does(
            middle in proptest::collection::vec(any_instruction(), 1..40),
            arguments in any::<[usize; 6]>(),
        ) {
            let code = program(&middle);
            let kernels = by_kernel(&code, &arguments);
            // The kernel reads code that is never reached, too.
            if kernels.is_some() {
                assert_eq!(by_us(&code, &arguments), kernels);
            }
        }
    }

    #[test]
    fn most_such_filters_are_taken_and_bad_ones_are_not() {
        let halves = [
            instruction(LOAD | ABSOLUTE, 0, 0, 16),
            instruction(ARITHMETIC | 0x70, 0, 0, 1),
        ];
        assert_eq!(by_kernel(&program(&halves), &[14, 0, 0, 0, 0, 0]), Some(7));
        assert_eq!(by_us(&program(&halves), &[14, 0, 0, 0, 0, 0]), Some(7));
        for bad in [
            instruction(LOAD | ABSOLUTE, 0, 0, 64),
            instruction(LOAD | ABSOLUTE, 0, 0, 2),
            instruction(LOAD | 0x28, 0, 0, 0),
            instruction(LOAD | MEMORY, 0, 0, 16),
            instruction(ARITHMETIC | 0x90, 0, 0, 3),
            instruction(JUMP, 0, 0, 9),
            instruction(RETURN | BY_INDEX, 0, 0, 0),
        ] {
            assert_eq!(
                by_kernel(&program(&[bad]), &[0; 6]),
                None,
                "{:#x}",
                bad.code
            );
            assert_eq!(by_us(&program(&[bad]), &[0; 6]), None, "{:#x}", bad.code);
        }
    }

    #[test]
    fn memory_that_cannot_be_read_is_no_filter() {
        assert!(Filter::at(0).is_none());
        assert!(Filter::at(8).is_none());
        assert!(Filter::at(usize::MAX - 6).is_none());
        for (length, code) in [
            (0, 4096usize),
            (1, 0),
            (1, 8),
            (4097, 4096),
            (9, usize::MAX - 20),
        ] {
            let filter = libc::sock_fprog {
                len: length,
                filter: core::ptr::with_exposed_provenance_mut(code),
            };
            assert!(Filter::at((&raw const filter) as usize).is_none());
        }
        // The last instructions lie behind the end of what is mapped.
        let page = crate::arena::map(2 * PAGE_BYTES).expect("memory").as_ptr() as usize;
        // SAFETY: the second page of the test's own mapping.
        let result = unsafe { libc::munmap((page + PAGE_BYTES) as *mut _, PAGE_BYTES) };
        assert_eq!(result, 0);
        for (count, is_there) in [(8, true), (9, false)] {
            let filter = libc::sock_fprog {
                len: count,
                filter: core::ptr::with_exposed_provenance_mut(page + PAGE_BYTES - 64),
            };
            assert_eq!(Filter::at((&raw const filter) as usize).is_some(), is_there);
        }
    }
}
