//! What a model program does again and again: series of allocations, always from the same stacks
//! in the same order, whose young blocks are freed together at the end.
//!
//! Real programs are like that: a request, a statement, a frame of a picture allocates what the one
//! before did. So the columns of a tape repeat, and the addresses too.

use super::random::{Popularity, Random, Share};
use super::stacks::Stacks;

/// Longest series.
const STEPS_MAX: u64 = 24;
/// Stacks for each routine.
const STACKS_PER_ROUTINE: u32 = 4;
/// How often a thread does a routine before it looks for another one, at most.
const REPEATS_MAX: u64 = 24;

/// A step of a routine.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Which stack allocates.
    pub leaf: u32,
    /// The block becomes old.
    pub gets_old: bool,
    /// The last young block is reallocated rather than another one allocated.
    pub reallocates: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Routine {
    first: u32,
    steps: u32,
    /// Its young blocks are freed in the order of their allocation, else the last one first.
    pub frees_first_first: bool,
}

/// All routines of a program.
#[derive(Debug)]
pub struct Routines {
    routines: Vec<Routine>,
    steps: Vec<Step>,
    popularity: Popularity,
}

impl Routines {
    /// `young` of the steps make young blocks, `reallocs` reallocate.
    #[must_use]
    pub fn new(stacks: &Stacks, young: Share, reallocs: Share, random: &mut Random) -> Self {
        let leaves = stacks.leaves.len() as u32;
        let count = (leaves / STACKS_PER_ROUTINE).max(8);
        let mut steps = Vec::new();
        let mut routines = Vec::with_capacity(count as usize);
        let popularity = Popularity::new(leaves);
        for _ in 0..count {
            let first = steps.len() as u32;
            for _ in 0..=random.below(STEPS_MAX) {
                let leaf = match random.below(2) {
                    0 => popularity.draw(random),
                    _ => random.below(u64::from(leaves)) as u32,
                };
                steps.push(Step {
                    leaf,
                    gets_old: !random.is(young),
                    reallocates: random.is(reallocs),
                });
            }
            routines.push(Routine {
                first,
                steps: steps.len() as u32 - first,
                frees_first_first: random.below(4) == 0,
            });
        }
        Self {
            routines,
            steps,
            popularity: Popularity::new(count),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.routines.len() as u32
    }

    /// One of the first `known` ones, and how often it is done.
    pub fn draw(&self, known: u32, random: &mut Random) -> (Routine, u32) {
        let place = self.popularity.draw(random) % known.max(1);
        let repeats = 1 + random.below(REPEATS_MAX) as u32;
        (self.routines[place as usize], repeats)
    }

    /// Step `place` of a routine; None behind the last.
    #[inline]
    #[must_use]
    pub fn step(&self, routine: Routine, place: u32) -> Option<Step> {
        let step = || self.steps[(routine.first + place) as usize];
        (place < routine.steps).then(step)
    }
}
