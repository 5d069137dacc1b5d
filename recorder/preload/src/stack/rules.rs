//! Runs the call frame program of a function: an FDE and a program counter go in, the rules by
//! which the caller's registers are found come out. The work is bounded by the program's length;
//! what is not understood is an error, never a guess.

use super::cfi::Fde;
use super::reader::Reader;

/// DWARF numbers of the registers that unwinding uses.
pub mod register {
    /// The frame pointer.
    pub const RBP: usize = 6;
    /// The stack pointer.
    pub const RSP: usize = 7;
    /// The return address, a column and not a register.
    pub const RETURN: usize = 16;
    /// All columns that unwinding follows: the sixteen registers and the return address.
    pub const COUNT: usize = 17;
}

/// Where an expression lies in its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of its first byte in the section.
    pub start: u32,
    /// Its bytes.
    pub length: u32,
}

/// How the caller's value of one register is found. All zeros are `Same`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Rule {
    /// It is the same as in the callee.
    #[default]
    Same,
    /// It is lost; of the return address: this is the outermost frame.
    Undefined,
    /// It was saved this far from the CFA.
    Offset(i32),
    /// It is the CFA plus this.
    ValueOffset(i32),
    /// It is in another register.
    Register(u8),
    /// It was saved where the expression says.
    Expression(Span),
    /// It is what the expression says.
    ValueExpression(Span),
}

/// How the canonical frame address (the caller's stack pointer) is found. All zeros are `Unset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum CfaRule {
    /// The program has not said.
    #[default]
    Unset,
    /// It is a register plus an offset.
    Register {
        /// DWARF number of the register.
        register: u8,
        /// What to add, in bytes.
        offset: i32,
    },
    /// It is what the expression says.
    Expression(Span),
}

/// The rules that hold at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// The frame's own address.
    pub cfa: CfaRule,
    /// The caller's registers by DWARF number.
    pub registers: [Rule; register::COUNT],
}

/// How deep `DW_CFA_remember_state` may nest; compilers go one deep.
const REMEMBERED_MAX: usize = 8;

/// Working memory of a program, kept apart because the target's stack may be small.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The rules as far as the program ran: its result.
    pub rules: Rules,
    initial: Rules,
    remembered: [Rules; REMEMBERED_MAX],
    remembered_count: usize,
}

/// The program cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Scratch {
    /// Leaves in `rules` what holds at `pc`, an address of code that `fde` covers.
    ///
    /// # Errors
    /// When the program is cut off or has an instruction that is not known here.
    pub fn run(&mut self, fde: &Fde<'_>, pc: usize) -> Result<(), Malformed> {
        self.rules = Rules::default();
        self.initial = Rules::default();
        self.remembered_count = 0;
        if fde.cie.return_register != register::RETURN as u64 {
            return Err(Malformed);
        }
        self.part(fde, fde.cie.program.clone(), usize::MAX)
            .ok_or(Malformed)?;
        self.initial = self.rules;
        self.part(fde, fde.program.clone(), pc).ok_or(Malformed)
    }

    /// Runs one program until it passes `pc` or ends.
    fn part(&mut self, fde: &Fde<'_>, mut program: Reader<'_>, pc: usize) -> Option<()> {
        let mut location = fde.start;
        while !program.is_empty() {
            let code = program.u8()?;
            let low = code & 0x3f;
            match code & 0xc0 {
                0x40 => location = advance(fde, location, u64::from(low)),
                0x80 => {
                    let factored = program.uleb()?;
                    let rule = Rule::Offset(scale(fde, factored)?);
                    self.set(u64::from(low), rule);
                }
                0xc0 => self.restore(u64::from(low)),
                _ => match code {
                    0x01 => location = program.pointer(fde.cie.encoding, 0)?,
                    0x02 => location = advance(fde, location, u64::from(program.u8()?)),
                    0x03 => location = advance(fde, location, u64::from(program.u16()?)),
                    0x04 => location = advance(fde, location, u64::from(program.u32()?)),
                    0x0c..=0x0f | 0x12 | 0x13 => self.set_cfa(fde, code, &mut program)?,
                    _ => self.set_register(fde, code, &mut program)?,
                },
            }
            if location > pc {
                break;
            }
        }
        Some(())
    }

    /// The instructions that say how the CFA is found.
    fn set_cfa(&mut self, fde: &Fde<'_>, code: u8, program: &mut Reader<'_>) -> Option<()> {
        let old = self.rules.cfa;
        self.rules.cfa = match code {
            0x0c => CfaRule::Register {
                register: u8::try_from(program.uleb()?).ok()?,
                offset: i32::try_from(program.uleb()?).ok()?,
            },
            0x12 => CfaRule::Register {
                register: u8::try_from(program.uleb()?).ok()?,
                offset: scale_signed(fde, program.sleb()?)?,
            },
            0x0d => CfaRule::Register {
                register: u8::try_from(program.uleb()?).ok()?,
                offset: offset_of(old)?,
            },
            0x0e => CfaRule::Register {
                register: register_of(old)?,
                offset: i32::try_from(program.uleb()?).ok()?,
            },
            0x13 => CfaRule::Register {
                register: register_of(old)?,
                offset: scale_signed(fde, program.sleb()?)?,
            },
            _ => CfaRule::Expression(span(program)?),
        };
        Some(())
    }

    /// The instructions that say how one register is found, and those that change nothing.
    fn set_register(&mut self, fde: &Fde<'_>, code: u8, program: &mut Reader<'_>) -> Option<()> {
        match code {
            0x00 => return Some(()),
            0x0a => return self.remember(),
            0x0b => return self.recall(),
            // DW_CFA_GNU_args_size: what a landing pad pops; no rule depends on it.
            0x2e => return program.uleb().map(|_| ()),
            _ => {}
        }
        let number = program.uleb()?;
        let rule = match code {
            0x05 => Rule::Offset(scale(fde, program.uleb()?)?),
            0x06 => {
                self.restore(number);
                return Some(());
            }
            0x07 => Rule::Undefined,
            0x08 => Rule::Same,
            0x09 => Rule::Register(u8::try_from(program.uleb()?).ok()?),
            0x10 => Rule::Expression(span(program)?),
            0x11 => Rule::Offset(scale_signed(fde, program.sleb()?)?),
            0x14 => Rule::ValueOffset(scale(fde, program.uleb()?)?),
            0x15 => Rule::ValueOffset(scale_signed(fde, program.sleb()?)?),
            0x16 => Rule::ValueExpression(span(program)?),
            0x2f => Rule::Offset(scale(fde, program.uleb()?)?.checked_neg()?),
            _ => return None,
        };
        self.set(number, rule);
        Some(())
    }

    /// Columns beyond the return address (vector registers) are of no use here.
    fn set(&mut self, number: u64, rule: Rule) {
        if let Some(slot) = index(number).and_then(|at| self.rules.registers.get_mut(at)) {
            *slot = rule;
        }
    }

    fn restore(&mut self, number: u64) {
        if let Some(&rule) = index(number).and_then(|at| self.initial.registers.get(at)) {
            self.set(number, rule);
        }
    }

    fn remember(&mut self) -> Option<()> {
        *self.remembered.get_mut(self.remembered_count)? = self.rules;
        self.remembered_count += 1;
        Some(())
    }

    fn recall(&mut self) -> Option<()> {
        let last = self.remembered_count.checked_sub(1)?;
        self.rules = *self.remembered.get(last)?;
        self.remembered_count = last;
        Some(())
    }
}

fn index(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}

fn advance(fde: &Fde<'_>, location: usize, steps: u64) -> usize {
    location.wrapping_add(steps.wrapping_mul(fde.cie.code_factor) as usize)
}

fn scale(fde: &Fde<'_>, factored: u64) -> Option<i32> {
    scale_signed(fde, i64::try_from(factored).ok()?)
}

fn scale_signed(fde: &Fde<'_>, factored: i64) -> Option<i32> {
    i32::try_from(factored.checked_mul(fde.cie.data_factor)?).ok()
}

fn register_of(cfa: CfaRule) -> Option<u8> {
    match cfa {
        CfaRule::Register { register, .. } => Some(register),
        CfaRule::Unset | CfaRule::Expression(_) => None,
    }
}

fn offset_of(cfa: CfaRule) -> Option<i32> {
    match cfa {
        CfaRule::Register { offset, .. } => Some(offset),
        CfaRule::Unset | CfaRule::Expression(_) => None,
    }
}

/// An expression behind its length.
fn span(program: &mut Reader<'_>) -> Option<Span> {
    let length = usize::try_from(program.uleb()?).ok()?;
    let start = u32::try_from(program.offset()).ok()?;
    program.skip(length)?;
    Some(Span {
        start,
        length: u32::try_from(length).ok()?,
    })
}
