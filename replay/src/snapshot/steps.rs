//! The index's steps, cut at moments that lie within them.
//!
//! In: moments. Out: steps of which none holds a moment before its end, so that each moment has
//! its exact state. What the index does not keep is replayed: what happened at the addresses that
//! such steps touch, since the border before. However many the moments are, the events of a slice
//! are decoded twice at most: to find those addresses, and to follow them.

use super::{Fault, check};
use crate::block::{Block, Lifetime};
use crate::history::heap::{Change, Collector, Heap};
use crate::history::transitions::{Transition, TransitionKind, is_heap, is_mapping};
use crate::history::windows::Windows;
use crate::index::Index;
use crate::index::steps::Step;
use crate::tape::Tape;
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// A step that is to be cut.
#[derive(Debug, Clone, Copy)]
struct Whole {
    /// Its place among the steps.
    place: usize,
    step: Step,
    /// Slices before the one in which it begins.
    slices: usize,
    /// The state after what was followed of it.
    now: Step,
}

/// The steps of `index`, cut at each of `moments`, which rise.
pub(crate) fn cut(tape: &Tape, index: &Index, moments: &[u64]) -> Result<Vec<Step>, Fault> {
    let wholes = wholes(index, moments);
    let slices: Vec<&[Whole]> = wholes.chunk_by(|a, b| a.slices == b.slices).collect();
    let parts = slices
        .into_par_iter()
        .map(|wholes| parts(tape, index, wholes, moments))
        .collect::<Result<Vec<_>, Fault>>()?;
    let mut parts = parts.into_iter().flatten().peekable();
    let mut wholes = wholes.iter().map(|whole| whole.place).peekable();
    let mut steps = Vec::with_capacity(index.steps.len() + moments.len());
    for (place, step) in index.steps.iter().enumerate() {
        if wholes.next_if_eq(&place).is_none() {
            steps.push(*step);
        }
        while let Some((_, part)) = parts.next_if(|(of, _)| *of == place) {
            steps.push(part);
        }
    }
    Ok(steps)
}

/// The steps that hold a moment before their end.
fn wholes(index: &Index, moments: &[u64]) -> Vec<Whole> {
    let steps = &index.steps;
    let places = moments.iter().filter_map(|&moment| {
        let place = steps.partition_point(|step| step.last <= moment);
        let holds = steps.get(place).is_some_and(|step| step.first <= moment);
        holds.then_some(place)
    });
    let mut places: Vec<usize> = places.collect();
    places.dedup();
    let whole = |place: usize| {
        let before = place.checked_sub(1).and_then(|place| steps.get(place));
        let ends = &index.borders.ends;
        Some(Whole {
            place,
            step: *steps.get(place)?,
            slices: before.map_or(0, |before| ends.partition_point(|&end| end <= before.last)),
            now: before.copied().unwrap_or_default(),
        })
    };
    places.into_iter().filter_map(whole).collect()
}

/// The parts, with their steps' places, of steps that begin in one slice.
fn parts(
    tape: &Tape,
    index: &Index,
    wholes: &[Whole],
    moments: &[u64],
) -> Result<Vec<(usize, Step)>, Fault> {
    let (Some(first), Some(last)) = (wholes.first(), wholes.last()) else {
        return Ok(Vec::new());
    };
    let touched = touched(tape, index, wholes, (first.step.first, last.step.last))?;
    let is_touched =
        |block: &Block| !is_mapping(block.operation) && touched.contains(&block.address);
    let alive = index.wanted_behind(first.slices, is_touched)?;
    let mut heap = Heap::new(tape.header.page_size, false);
    heap.preload(alive.iter().map(|lifetime| &lifetime.block));
    let border = first.slices.checked_sub(1);
    let border = border.and_then(|place| index.borders.ends.get(place).copied());
    let mut windows = Windows::new(tape, border, last.step.last)
        .only(move |transition| is_block(transition) && touched.contains(&transition.address));
    let mut cutter = Cutter {
        moments,
        wholes: wholes.to_vec(),
        parts: Vec::new(),
    };
    while let Some(window) = windows.next_window() {
        let seen = heap.apply(&window, Changes::default);
        let stamp = |place: u32| window.get(place as usize).map_or(0, |step| step.stamp);
        let mut changes: Vec<(u64, Change)> = seen
            .into_iter()
            .flat_map(|changes| changes.0)
            .map(|(place, change)| (stamp(place), change))
            .collect();
        changes.sort_by_key(|(stamp, _)| *stamp);
        for group in changes.chunk_by(|a, b| a.0 == b.0) {
            cutter.follow(group);
        }
    }
    check(index, &windows.damaged)?;
    Ok(cutter.parts)
}

/// The addresses at which the steps, all from `first` to `last`, may change the heap.
fn touched(
    tape: &Tape,
    index: &Index,
    wholes: &[Whole],
    (first, last): (u64, u64),
) -> Result<FxHashSet<u64>, Fault> {
    let spans: Vec<(u64, u64)> = wholes
        .iter()
        .map(|whole| (whole.step.first, whole.step.last))
        .collect();
    let mut windows = Windows::new(tape, first.checked_sub(1), last).only(move |transition| {
        let span = spans.get(spans.partition_point(|(_, last)| *last < transition.stamp));
        is_block(transition) && span.is_some_and(|(first, _)| *first <= transition.stamp)
    });
    let mut touched = FxHashSet::default();
    while let Some(window) = windows.next_window() {
        touched.extend(window.iter().map(|transition| transition.address));
    }
    check(index, &windows.damaged)?;
    Ok(touched)
}

/// True for what happens to blocks of the heap domains.
fn is_block(transition: &Transition) -> bool {
    let is_block = matches!(
        transition.kind,
        TransitionKind::Birth | TransitionKind::Death
    );
    is_block && is_heap(transition.domain)
}

/// Keeps what changed, with its place in the window.
#[derive(Debug, Default)]
struct Changes(Vec<(u32, Change)>);

impl Collector for Changes {
    fn ended(&mut self, _: &Lifetime) {}

    fn changed(&mut self, place: u32, change: Change) {
        self.0.push((place, change));
    }
}

/// Follows the steps of one slice and cuts them.
struct Cutter<'a> {
    moments: &'a [u64],
    wholes: Vec<Whole>,
    /// The parts so far, with their steps' places.
    parts: Vec<(usize, Step)>,
}

impl Cutter<'_> {
    /// Takes the changes of one stamp.
    fn follow(&mut self, changes: &[(u64, Change)]) {
        let stamp = changes.first().map_or(0, |(stamp, _)| *stamp);
        let place = self.wholes.partition_point(|whole| whole.step.last < stamp);
        let whole = self.wholes.get_mut(place);
        let Some(whole) = whole.filter(|whole| whole.step.first <= stamp) else {
            return;
        };
        let changes = changes.iter().map(|(_, change)| change);
        let Some(next) = whole.now.followed_by(stamp, changes) else {
            return;
        };
        whole.now = next;
        let moments = self.moments;
        let is_cut = |last: u64| {
            let moment = moments.get(moments.partition_point(|&moment| moment < last));
            moment.is_some_and(|&moment| moment < stamp)
        };
        match self.parts.last_mut() {
            Some((of, part)) if *of == whole.place && !is_cut(part.last) => {
                *part = part.joined(&next);
            }
            _ => self.parts.push((whole.place, next)),
        }
    }
}
