//! Synthetic tapes through the real encoder and writer.
//!
//! In: [`Parameters`]. Out: a tape as a recording of such a program would have been, and the truth
//! about it, counted beside it. Equal parameters make equal bytes. Memory: the live blocks, the
//! stacks, and an encoder for each thread.
//!
//! | file | what |
//! |---|---|
//! | [`parameters`] | what the program is like |
//! | [`program`] | what its threads do |
//! | [`routines`] | what it does again and again |
//! | [`heap`] | which addresses it gets |
//! | [`stacks`] | which stacks it allocates from, and what they are called |
//! | [`writer`] | the tape |
//! | [`truth`] | what is true at its marks |
//! | [`random`] | chance |

pub mod heap;
pub mod parameters;
pub mod program;
pub mod random;
pub mod routines;
pub mod stacks;
pub mod truth;
pub mod writer;

pub use parameters::Parameters;
pub use truth::Truth;

use program::Program;
use random::Random;
use stacks::Stacks;
use std::path::Path;
use writer::Writer;

/// A generated tape.
#[derive(Debug)]
pub struct Made {
    /// What is true of it.
    pub truth: Truth,
    /// The stacks that it has.
    pub stacks: Stacks,
    /// Stamp of its end.
    pub end_stamp: u64,
}

/// Writes the tape of `parameters` to `path`, where nothing may be; `progress` is told how many
/// events are written, now and then.
///
/// # Errors
/// When it cannot be written.
pub fn generate(
    path: &Path,
    parameters: &Parameters,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Made> {
    let mut random = Random(parameters.seed);
    let stacks = u32::try_from(parameters.stacks).unwrap_or(u32::MAX);
    let stacks = Stacks::new(stacks, parameters.depth, &mut random);
    let writer = Writer::begin(path, parameters, &stacks, &mut random)?;
    let program = Program::new(parameters, &stacks, random, writer);
    let (truth, end_stamp) = program.run(progress)?;
    Ok(Made {
        truth,
        stacks,
        end_stamp,
    })
}
