//! Whose turn it is when chunks are scarce: of the producers that wait, the one that has waited
//! longest gets the next free chunk. Without that a thread's luck in waking up at the right moment
//! decides, and with many threads one of them may wait for a second.
//!
//! One word in shared memory says since when the longest wait lasts. It is a courtesy and no lock:
//! whoever dies while it waits leaves a word behind that the others believe for a bounded number of
//! their own attempts.

use crate::ring::Memory;
use crate::sync::{AtomicU64, Ordering};

/// After so many attempts in a row at which somebody else was first, and always the same, that one
/// is taken for dead.
const ATTEMPTS_MAX: u32 = 100;

/// A producer that waits.
#[derive(Debug, Clone)]
pub struct Turn {
    /// When it began to wait, in ticks; not 0.
    since: u64,
    /// The longest wait that it saw, and at how many attempts in a row.
    first: u64,
    attempts: u32,
}

impl Turn {
    /// Begins to wait at `ticks`.
    #[must_use]
    pub fn new(ticks: u64) -> Self {
        Self {
            since: ticks.max(1),
            first: 0,
            attempts: 0,
        }
    }

    /// Waits on. Relaxed everywhere: the word alone matters, and a stale one costs a moment.
    pub fn note(&mut self, longest: &AtomicU64) {
        let first = longest.load(Ordering::Relaxed);
        if first == self.since {
            return;
        }
        let is_before = first != 0 && first < self.since;
        if is_before && first == self.first && self.attempts < ATTEMPTS_MAX {
            self.attempts += 1;
            return;
        }
        if is_before && first != self.first {
            self.first = first;
            self.attempts = 1;
            return;
        }
        self.attempts = 0;
        let order = Ordering::Relaxed;
        let _lost_to_another = longest.compare_exchange(first, self.since, order, order);
    }

    /// Ends waiting, however it went.
    pub fn end(&self, longest: &AtomicU64) {
        let order = Ordering::Relaxed;
        let _another_is_first = longest.compare_exchange(self.since, 0, order, order);
    }
}

/// True when a free chunk may be taken by one that waits so, or does not wait yet: nobody waits
/// longer, or there is more than one.
#[must_use]
pub fn may_take<M: Memory>(longest: &AtomicU64, turn: Option<&Turn>, memory: &M) -> bool {
    let first = longest.load(Ordering::Relaxed);
    if first == 0 || turn.is_some_and(|turn| turn.since <= first) {
        return true;
    }
    let is_free = |&index: &u32| {
        let owner = memory.owner(index);
        owner.is_some_and(|word| word.load(Ordering::Relaxed) == 0)
    };
    (0..memory.chunks_ready()).filter(is_free).nth(1).is_some()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Attempts until it is first; 1000 when it never is.
    fn attempts_until(turn: &mut Turn, longest: &AtomicU64) -> u32 {
        let mut is_first = |_: &u32| {
            turn.note(longest);
            longest.load(Ordering::Relaxed) == turn.since
        };
        (1..1000).find(&mut is_first).unwrap_or(1000)
    }

    #[test]
    fn the_longest_is_first_and_the_next_one_follows() {
        let longest = AtomicU64::new(0);
        let mut early = Turn::new(10);
        let mut late = Turn::new(20);
        assert_eq!(attempts_until(&mut late, &longest), 1);
        assert_eq!(attempts_until(&mut early, &longest), 1);
        late.note(&longest);
        late.end(&longest);
        assert_eq!(longest.load(Ordering::Relaxed), 10);
        early.end(&longest);
        assert_eq!(longest.load(Ordering::Relaxed), 0);
        assert_eq!(attempts_until(&mut late, &longest), 1);
    }

    #[test]
    fn who_died_while_waiting_is_passed_over() {
        let longest = AtomicU64::new(5);
        let mut turn = Turn::new(9);
        assert_eq!(attempts_until(&mut turn, &longest), ATTEMPTS_MAX + 1);
        // Somebody else got ahead in between: the count begins anew.
        longest.store(5, Ordering::Relaxed);
        for _ in 0..ATTEMPTS_MAX - 1 {
            turn.note(&longest);
        }
        longest.store(6, Ordering::Relaxed);
        turn.note(&longest);
        longest.store(5, Ordering::Relaxed);
        assert_eq!(attempts_until(&mut turn, &longest), ATTEMPTS_MAX + 1);
    }
}
