//! heaptape's replay: everything that is known from a tape.
pub mod block;
