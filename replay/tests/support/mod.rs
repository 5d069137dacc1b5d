//! Tapes made on purpose: random histories, a writer, and a naive model of what they mean.
//!
//! Used by the engine's tests and by benchmarks. In: scripts (drawn by proptest) or a seed. Out:
//! histories, the bytes of tapes, and the answers that a replay must give.

pub mod generate;
pub mod life;
pub mod model;
mod order;
pub mod script;
pub mod write;
