//! The rare steps of a walk: frames whose rules do not fit a packed row, signal frames and the
//! code that they interrupted, and code that no unwind table knows. A position goes in and moves
//! one frame out (or, from a signal frame on, many). Every word is read through
//! [`StackBounds`](super::bounds::StackBounds), every guess is checked, and what is not known ends
//! the walk.

use super::CutReason;
use super::expression::{Memory, Registers, evaluate};
use super::reader::Section;
use super::row::bytes_of;
use super::rules::{CfaRule, Rule, Span, register};
use super::walk::{EXACT, End, Found, Position, Walker, add_frame, description_of};
use crate::modules::find;

const UNKNOWN: End = End::Cut(CutReason::Unknown);
/// Frames outside of a signal frame that are walked by full rules.
const FRAMES_BY_RULES: usize = 4096;

/// Why the rules of a frame could not be applied.
enum Refusal {
    /// There are none for this code.
    NoRules,
    /// They end the walk.
    End(End),
}

impl Walker {
    /// A step by full rules. From a signal frame it goes on for many frames, because the
    /// interrupted code may need any register, and the signal frame knows them all.
    #[cold]
    #[inline(never)]
    pub(super) fn step_special(
        &mut self,
        at: &mut Position,
        frames: &mut Found,
    ) -> Result<(), End> {
        let mut registers = registers_of(at);
        match self.apply_rules(&mut registers, false) {
            Ok(is_signal) => {
                self.settle(&registers, at)?;
                if !is_signal {
                    return Ok(());
                }
                mark_exact(at, frames);
                self.walk_by_rules(registers, at, frames)
            }
            Err(Refusal::NoRules) => self.step_unknown(at, frames),
            Err(Refusal::End(end)) => Err(end),
        }
    }

    /// A step out of code without rules: a signal trampoline that is known by its instructions, or
    /// a frame pointer.
    #[cold]
    #[inline(never)]
    pub(super) fn step_unknown(
        &mut self,
        at: &mut Position,
        frames: &mut Found,
    ) -> Result<(), End> {
        if let Some(registers) = self.interrupted_by(at.pc, at.sp) {
            mark_exact(at, frames);
            self.settle(&registers, at)?;
            return self.walk_by_rules(registers, at, frames);
        }
        if !self.code.facts(at.pc).follows_call {
            return Err(forged_end(at));
        }
        match self.step_by_frame_pointer(at) {
            Some(()) => Ok(()),
            None => Err(end_without_rules(at)),
        }
    }

    /// Follows full rules from interrupted code to the end, or for so many frames that a recursion
    /// is all that can be outside of them, which rows are enough for.
    fn walk_by_rules(
        &mut self,
        mut registers: Registers,
        at: &mut Position,
        frames: &mut Found,
    ) -> Result<(), End> {
        let enough = at.count + FRAMES_BY_RULES;
        let mut is_exact = true;
        while is_exact || at.count < enough {
            if at.pc == 0 {
                let end = if is_exact { UNKNOWN } else { End::Complete };
                return Err(end);
            }
            add_frame(at, frames)?;
            if is_exact {
                mark_exact(at, frames);
            }
            match self.apply_rules(&mut registers, is_exact) {
                Ok(is_signal) => {
                    if is_signal {
                        mark_exact(at, frames);
                    }
                    is_exact = is_signal;
                }
                Err(Refusal::End(end)) => return Err(end),
                Err(Refusal::NoRules) => {
                    if let Some(interrupted) = self.interrupted_by(at.pc, at.sp) {
                        mark_exact(at, frames);
                        registers = interrupted;
                        is_exact = true;
                    } else if !is_exact && !self.code.facts(at.pc).follows_call {
                        return Err(forged_end(at));
                    } else if self.step_by_frame_pointer(at).is_some() {
                        registers = registers_of(at);
                        is_exact = false;
                    } else {
                        return Err(end_without_rules(at));
                    }
                }
            }
            self.settle(&registers, at)?;
        }
        Ok(())
    }

    /// Moves to the registers of the next frame out.
    fn settle(&mut self, registers: &Registers, at: &mut Position) -> Result<(), End> {
        let pc = registers.get(register::RETURN).ok_or(UNKNOWN)?;
        let sp = registers.get(register::RSP).ok_or(UNKNOWN)?;
        at.pc = pc;
        at.sp = sp;
        // Unknown where lost: a frame that needs it then leads nowhere readable.
        at.rbp = registers.get(register::RBP).unwrap_or(0);
        at.end = self.bounds.end_around(sp).unwrap_or(0);
        Ok(())
    }

    /// Turns the registers of a frame into those of its caller; true when the frame is a signal's.
    fn apply_rules(&mut self, registers: &mut Registers, is_exact: bool) -> Result<bool, Refusal> {
        let pc = registers
            .get(register::RETURN)
            .ok_or(Refusal::End(UNKNOWN))?;
        let lookup = if is_exact { pc } else { pc.wrapping_sub(1) };
        let object = find::object_of(lookup).ok_or(Refusal::NoRules)?;
        let (section, fde) = description_of(&object, lookup).ok_or(Refusal::NoRules)?;
        self.scratch
            .run(&fde, lookup)
            .map_err(|_| Refusal::NoRules)?;
        let rules = self.scratch.rules;
        let [.., return_rule] = rules.registers;
        if return_rule == Rule::Undefined {
            return Err(Refusal::End(End::Complete));
        }
        let cfa = self
            .cfa(rules.cfa, registers, &section)
            .ok_or(Refusal::End(UNKNOWN))?;
        let mut outer = *registers;
        outer.set(register::RSP, Some(cfa));
        for (number, rule) in rules.registers.iter().enumerate() {
            // The caller's stack pointer is the CFA unless a rule says otherwise.
            if *rule == Rule::Same && number != register::RETURN {
                continue;
            }
            let value = self.value(*rule, cfa, registers, &section);
            outer.set(number, value);
        }
        if !fde.cie.is_signal {
            forget_scratch(&mut outer, &rules.registers);
        }
        *registers = outer;
        Ok(fde.cie.is_signal)
    }

    fn cfa(
        &mut self,
        rule: CfaRule,
        registers: &Registers,
        section: &Section<'_>,
    ) -> Option<usize> {
        match rule {
            CfaRule::Unset => None,
            CfaRule::Register { register, offset } => {
                let base = registers.get(usize::from(register))?;
                base.checked_add_signed(offset as isize)
            }
            CfaRule::Expression(span) => self.expression(span, None, registers, section),
        }
    }

    fn value(
        &mut self,
        rule: Rule,
        cfa: usize,
        registers: &Registers,
        section: &Section<'_>,
    ) -> Option<usize> {
        match rule {
            // Of the return address only: it cannot be its own.
            Rule::Same | Rule::Undefined => None,
            Rule::Offset(offset) => self.bounds.read(cfa.wrapping_add_signed(offset as isize)),
            Rule::ValueOffset(offset) => Some(cfa.wrapping_add_signed(offset as isize)),
            Rule::Register(number) => registers.get(usize::from(number)),
            Rule::Expression(span) => {
                let address = self.expression(span, Some(cfa), registers, section)?;
                self.bounds.read(address)
            }
            Rule::ValueExpression(span) => self.expression(span, Some(cfa), registers, section),
        }
    }

    fn expression(
        &mut self,
        span: Span,
        initial: Option<usize>,
        registers: &Registers,
        section: &Section<'_>,
    ) -> Option<usize> {
        evaluate(
            bytes_of(span, section)?,
            initial,
            registers,
            &mut self.bounds,
        )
    }

    /// Follows the frame pointer out of code without rules. A guess: so the words must lie on the
    /// stack at hand, and what is taken for a return address must follow a call.
    fn step_by_frame_pointer(&mut self, at: &mut Position) -> Option<()> {
        let frame = at.rbp;
        if frame < at.sp || frame & 7 != 0 {
            return None;
        }
        if !at.is_guessed {
            self.bounds.doubt();
            at.is_guessed = true;
        }
        self.bounds.cover_guess(at.sp, frame.checked_add(16)?)?;
        let rbp = self.bounds.read(frame)?;
        let pc = self.bounds.read(frame + 8)?;
        if pc != 0 && !self.code.facts(pc).follows_call {
            return None;
        }
        at.pc = pc;
        at.rbp = rbp;
        at.sp = frame + 16;
        at.end = self.bounds.end_around(at.sp)?;
        Some(())
    }

    /// The registers that a signal interrupted, when `pc` is a trampoline that returns from one
    /// and has no rules of its own.
    fn interrupted_by(&mut self, pc: usize, sp: usize) -> Option<Registers> {
        /// Flags of a `ucontext` are few; most words on a stack are not below this.
        const FLAGS_END: usize = 16;
        /// Offset of the saved registers in a `ucontext`.
        const SAVED: usize = 40;
        /// DWARF numbers of the saved registers, in the kernel's order.
        const ORDER: [usize; register::COUNT] =
            [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];
        if self.bounds.read(sp)? >= FLAGS_END || !self.code.facts(pc).returns_from_signal {
            return None;
        }
        let mut registers = Registers::default();
        for (place, number) in ORDER.into_iter().enumerate() {
            let word = self.bounds.read(sp.wrapping_add(SAVED + place * 8))?;
            registers.set(number, Some(word));
        }
        Some(registers)
    }
}

/// The end of a walk at a return address that no call has left behind. In an object's code somebody
/// laid it there for the end of a stack (as `makecontext` does); anywhere else it is no frame.
fn forged_end(at: &mut Position) -> End {
    if find::object_of(at.pc).is_some() {
        return End::Complete;
    }
    if at.count > 1 {
        at.count -= 1;
    }
    UNKNOWN
}

/// The end of a walk in code without rules. The dynamic linker's entry code, which calls
/// constructors, has none, and clears the frame pointer to mark the outermost frame.
fn end_without_rules(at: &Position) -> End {
    // SAFETY: getauxval only looks into the auxiliary vector.
    let linker = unsafe { libc::getauxval(libc::AT_BASE) } as usize;
    match find::object_of(at.pc) {
        Some(object) if at.rbp == 0 && object.start == linker => End::Complete,
        _ => UNKNOWN,
    }
}

/// A call may change the scratch registers: after a frame's rules only what they say is known.
fn forget_scratch(registers: &mut Registers, rules: &[Rule; register::COUNT]) {
    const SCRATCH: [usize; 9] = [0, 1, 2, 4, 5, 8, 9, 10, 11];
    for number in SCRATCH {
        if rules.get(number) == Some(&Rule::Same) {
            registers.set(number, None);
        }
    }
}

fn registers_of(at: &Position) -> Registers {
    let mut registers = Registers::default();
    registers.set(register::RETURN, Some(at.pc));
    registers.set(register::RSP, Some(at.sp));
    registers.set(register::RBP, Some(at.rbp));
    registers
}

/// Notes that the last frame's program counter is no return address.
fn mark_exact(at: &Position, frames: &mut Found) {
    if let Some(frame) = frames.last_mut(at.count) {
        frame.pc |= EXACT;
    }
}
