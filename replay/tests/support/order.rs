//! Ties of the model: an order of what several streams did to one address at one stamp.

use super::model::Half;
use std::collections::BTreeSet;

/// `order`, with each stream's reuses right before its next step, and the others behind.
pub(super) fn with_reuses(order: &[Half], mut runs: Vec<Vec<Half>>) -> Vec<Half> {
    let mut all = Vec::new();
    for half in order {
        let own = |run: &&mut Vec<Half>| run.first().is_some_and(|one| one.stream == half.stream);
        let run = runs.iter_mut().find(own).unwrap();
        let steps = run.iter().take_while(|half| half.is_reuse()).count() + 1;
        all.extend(run.drain(..steps));
    }
    all.extend(runs.into_iter().flatten());
    all
}

/// The first order by stream in which births and deaths alternate, by trying all. `failed` holds
/// how much was left of each stream where trying was in vain.
pub(super) fn alternating(
    alive: bool,
    runs: &mut Vec<Vec<Half>>,
    failed: &mut BTreeSet<Vec<usize>>,
) -> Option<Vec<Half>> {
    if runs.iter().all(Vec::is_empty) {
        return Some(Vec::new());
    }
    let left: Vec<usize> = runs.iter().map(Vec::len).collect();
    if failed.contains(&left) {
        return None;
    }
    for stream in 0..runs.len() {
        if runs[stream]
            .first()
            .is_some_and(|half| half.is_new != alive)
        {
            let half = runs[stream].remove(0);
            let rest = alternating(!alive, runs, failed);
            runs[stream].insert(0, half);
            if let Some(mut rest) = rest {
                rest.insert(0, half);
                return Some(rest);
            }
        }
    }
    failed.insert(left);
    None
}
