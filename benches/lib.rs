//! What the benchmarks share: figures, the machine they were taken on, the programs they run.
//!
//! | benchmark | what |
//! |---|---|
//! | `overhead` | whole programs: bare, recorded, and recorded by heaptrack |
//! | `instructions` | instructions that the recorder adds to a malloc+free pair |
//! | `generate` | synthetic tapes, and the truth about them |
//! | `replay` | index and questions |
//! | `drain` | the drainer: its rate, and recordings under pressure |
//! | `scaling` | what a pair costs its thread at several numbers of threads |
//!
//! They print Markdown to standard output and what they are doing to standard error. How to read
//! the figures stands in `README.md`.

pub mod generate;
pub mod machine;
pub mod memory;
pub mod programs;
pub mod spread;

pub use spread::Spread;
