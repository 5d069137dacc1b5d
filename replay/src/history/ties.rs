//! Ties: transitions of one address that have the same stamp and come from several streams.
//!
//! In: for each stream what it does to the address, in its order, and whether a block lives there.
//! Out: an order in which births and deaths alternate, if there is one.

use rustc_hash::FxHashSet;

/// Dead ends that a search looks at before it gives up.
const DEAD_ENDS_MAX: usize = 4096;

/// The first order (by stream, step by step) in which births and deaths alternate.
///
/// `runs` holds for each stream its steps, true for a birth. The answer names for each step of
/// the order the stream that goes on. None: no order fits (or the search was given up); then
/// something was lost, and any order is as good as another.
pub(crate) fn alternation(alive: bool, runs: &[Vec<bool>]) -> Option<Vec<usize>> {
    let total: usize = runs.iter().map(Vec::len).sum();
    if !counts_fit(alive, runs, total) {
        return None;
    }
    let mut search = Search {
        runs,
        places: vec![0; runs.len()],
        alive,
        order: Vec::with_capacity(total),
        dead_ends: FxHashSet::default(),
    };
    let mut from = 0;
    while search.order.len() < total {
        match search.forward(from) {
            true => from = 0,
            false => from = search.back()? + 1,
        }
    }
    Some(search.order)
}

/// Whether the numbers of births and deaths can alternate at all.
fn counts_fit(alive: bool, runs: &[Vec<bool>], total: usize) -> bool {
    let births = runs.iter().flatten().filter(|&&birth| birth).count();
    let deaths = total - births;
    if alive {
        deaths == births || deaths == births + 1
    } else {
        births == deaths || births == deaths + 1
    }
}

struct Search<'a> {
    runs: &'a [Vec<bool>],
    places: Vec<usize>,
    alive: bool,
    order: Vec<usize>,
    dead_ends: FxHashSet<Vec<usize>>,
}

impl Search<'_> {
    /// Takes a step of the first stream, from `from` on, whose next step fits.
    fn forward(&mut self, from: usize) -> bool {
        for stream in from..self.runs.len() {
            let Some(place) = self.places.get_mut(stream) else {
                continue;
            };
            let next = self.runs.get(stream).and_then(|run| run.get(*place));
            if next != Some(&!self.alive) {
                continue;
            }
            *place += 1;
            if self.dead_ends.contains(&self.places) {
                if let Some(place) = self.places.get_mut(stream) {
                    *place -= 1;
                }
                continue;
            }
            self.alive = !self.alive;
            self.order.push(stream);
            return true;
        }
        false
    }

    /// Takes the last step back and returns its stream; None when there is none or too many ends
    /// were dead.
    fn back(&mut self) -> Option<usize> {
        let stream = self.order.pop()?;
        if self.dead_ends.len() >= DEAD_ENDS_MAX {
            return None;
        }
        self.dead_ends.insert(self.places.clone());
        *self.places.get_mut(stream)? -= 1;
        self.alive = !self.alive;
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tries every order, in the order of streams.
    fn by_trying(alive: bool, runs: &[Vec<bool>], places: &mut Vec<usize>) -> Option<Vec<usize>> {
        if places
            .iter()
            .zip(runs)
            .all(|(&place, run)| place == run.len())
        {
            return Some(Vec::new());
        }
        for stream in 0..runs.len() {
            if runs[stream].get(places[stream]) == Some(&!alive) {
                places[stream] += 1;
                let rest = by_trying(!alive, runs, places);
                places[stream] -= 1;
                if let Some(rest) = rest {
                    return Some([vec![stream], rest].concat());
                }
            }
        }
        None
    }

    proptest! {
        #[test]
        fn the_first_fitting_order_is_found(
            alive: bool,
            runs in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..5), 0..4),
        ) {
            let expected = by_trying(alive, &runs, &mut vec![0; runs.len()]);
            prop_assert_eq!(alternation(alive, &runs), expected);
        }
    }

    #[test]
    fn a_hand_over_within_one_stamp_is_put_in_order() {
        // Stream 0 frees what stream 1 allocated and allocates again; stream 1 frees at last.
        let runs = [vec![false, true], vec![true, false]];
        assert_eq!(alternation(false, &runs), Some(vec![1, 0, 0, 1]));
    }

    #[test]
    fn long_runs_need_no_deep_search() {
        let runs = [[true, false].repeat(100_000), [false, true].repeat(10)];
        let order = alternation(true, &runs).map(|order| order.len());
        assert_eq!(order, Some(200_020));
        assert_eq!(
            alternation(true, &[vec![true; 50_000], vec![false; 10]]),
            None
        );
    }
}
