//! The history of the heap: events of all streams, in one order, as blocks that live and die.
