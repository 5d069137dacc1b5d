//! Every block that was born in a window of time, with its end.
//!
//! In: two stamps. Out: lifetimes, told to a visitor from several threads. Blocks that live across
//! a border of slices stand in the index; the others are born and die within one slice, and are
//! found by replaying the slices of the window.

use super::{Fault, check};
use crate::block::{Lifetime, StreamId};
use crate::history::heap::{Collector, Heap};
use crate::history::reuses::is_reuse;
use crate::history::windows::Windows;
use crate::index::Index;
use crate::index::survivors::Borders;
use crate::tape::Tape;

/// Passes on blocks that the index does not hold.
struct Short<'a, F> {
    borders: &'a Borders,
    born: (u64, u64),
    visit: &'a F,
}

impl<F: Fn(&Lifetime) + Sync> Collector for Short<'_, F> {
    fn ended(&mut self, lifetime: &Lifetime) {
        let (from, to) = self.born;
        let block = &lifetime.block;
        if (from..=to).contains(&block.born)
            && block.stream != StreamId::INHERITED
            && !is_reuse(block.operation)
            && self.borders.crossed(lifetime).is_none()
        {
            (self.visit)(lifetime);
        }
    }
}

/// Calls `visit` for every block, inherited ones left out, that was born from `from` to `to`.
pub(crate) fn visit<F: Fn(&Lifetime) + Sync>(
    tape: &Tape,
    index: &Index,
    from: u64,
    to: u64,
    visit: F,
) -> Result<(), Fault> {
    if from > to {
        return Ok(());
    }
    index.visit_survivors(from, to, |lifetime| {
        let block = &lifetime.block;
        if block.stream != StreamId::INHERITED && !is_reuse(block.operation) {
            visit(lifetime);
        }
    })?;
    let ends = &index.borders.ends;
    let slices = ends.partition_point(|&end| end < from);
    let border = slices
        .checked_sub(1)
        .and_then(|place| ends.get(place))
        .copied();
    let last = ends
        .get(ends.partition_point(|&end| end < to))
        .or(ends.last());
    let Some(&last) = last else {
        return Ok(());
    };
    // What lives at the border decides how ties within the first slices are put in order.
    let alive = index.alive_behind(slices)?;
    let mut heap = Heap::new(tape.header.page_size, false);
    heap.preload(alive.iter().map(|lifetime| &lifetime.block));
    let mut windows = Windows::new(tape, border, last);
    while let Some(window) = windows.next_window() {
        heap.apply(&window, || Short {
            borders: &index.borders,
            born: (from, to),
            visit: &visit,
        });
    }
    check(index, &windows.damaged)
}
