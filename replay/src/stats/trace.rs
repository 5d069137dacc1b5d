//! Lists of numbers that have their ends in common, each once: the keys of tracebacks.
//!
//! What comes in: a list and the number to put before it. What goes out: an id; equal lists have
//! equal ids. The lists of a deep recursion, written out, would not fit into memory; and to compare
//! two of them takes as many steps as they have changes of number, not numbers.

use rustc_hash::FxHashMap;
use std::cmp::Ordering;

/// A list in [`Traces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceId(u32);

impl TraceId {
    /// The list without a number.
    pub const EMPTY: Self = Self(0);
}

/// The list `place + 1`.
#[derive(Debug, Clone, Copy)]
struct Link {
    first: u32,
    rest: TraceId,
    /// How often the first number stands at the beginning, and the list behind that.
    repeats: u32,
    beyond: TraceId,
}

/// Lists.
#[derive(Debug, Default)]
pub struct Traces {
    links: Vec<Link>,
    ids: FxHashMap<(u32, TraceId), TraceId>,
}

/// The numbers of a list.
#[derive(Debug, Clone)]
pub struct Numbers<'t> {
    of: &'t Traces,
    at: TraceId,
}

impl Iterator for Numbers<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let link = self.of.link(self.at)?;
        self.at = link.rest;
        Some(link.first)
    }
}

impl Traces {
    /// The list of `first` and then `rest`.
    pub fn put(&mut self, first: u32, rest: TraceId) -> TraceId {
        if let Some(&id) = self.ids.get(&(first, rest)) {
            return id;
        }
        let (repeats, beyond) = match self.link(rest) {
            Some(link) if link.first == first => (link.repeats + 1, link.beyond),
            _ => (1, rest),
        };
        self.links.push(Link {
            first,
            rest,
            repeats,
            beyond,
        });
        // A table of 2^32 lists does not fit in memory.
        let id = TraceId(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        self.ids.insert((first, rest), id);
        id
    }

    /// The numbers of a list.
    #[must_use]
    pub fn numbers(&self, list: TraceId) -> Numbers<'_> {
        Numbers { of: self, at: list }
    }

    fn link(&self, list: TraceId) -> Option<&Link> {
        self.links.get((list.0 as usize).checked_sub(1)?)
    }

    /// Compares two lists by `order` of the first two numbers that differ and all behind them; a
    /// list that another begins with comes first.
    pub fn compare(
        &self,
        one: TraceId,
        other: TraceId,
        order: impl FnOnce(Rest<'_>, Rest<'_>) -> Ordering,
    ) -> Ordering {
        let (mut one, mut other) = (self.rest(one), self.rest(other));
        loop {
            let (Some(left), Some(right)) = (one.link, other.link) else {
                return one.link.is_some().cmp(&other.link.is_some());
            };
            if left.first != right.first {
                return order(one, other);
            }
            let shared = one.repeats.min(other.repeats);
            one.drop_front(shared);
            other.drop_front(shared);
        }
    }

    fn rest(&self, list: TraceId) -> Rest<'_> {
        let link = self.link(list);
        Rest {
            of: self,
            link,
            repeats: link.map_or(0, |link| link.repeats),
        }
    }
}

/// What is left of a list: an iterator of its numbers.
#[derive(Debug, Clone)]
pub struct Rest<'t> {
    of: &'t Traces,
    link: Option<&'t Link>,
    /// How often its number is still to come.
    repeats: u32,
}

impl Rest<'_> {
    /// Leaves out so many of the same number.
    fn drop_front(&mut self, count: u32) {
        self.repeats = self.repeats.saturating_sub(count);
        if self.repeats == 0 {
            let beyond = self.link.map_or(TraceId::EMPTY, |link| link.beyond);
            *self = self.of.rest(beyond);
        }
    }
}

impl Iterator for Rest<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let first = self.link?.first;
        self.drop_front(1);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_are_what_was_put(lists in proptest::collection::vec(
            proptest::collection::vec(0u32..3, 0..12), 1..20,
        )) {
            let mut traces = Traces::default();
            let put = |numbers: &Vec<u32>| {
                let numbers = numbers.iter().rev();
                numbers.fold(TraceId::EMPTY, |rest, first| traces.put(*first, rest))
            };
            let ids: Vec<TraceId> = lists.iter().map(put).collect();
            for (one, id) in lists.iter().zip(&ids) {
                prop_assert_eq!(&traces.numbers(*id).collect::<Vec<u32>>(), one);
                for (other, other_id) in lists.iter().zip(&ids) {
                    prop_assert_eq!(id == other_id, one == other);
                    let order = traces.compare(*id, *other_id, |one, other| one.cmp(other));
                    prop_assert_eq!(order, one.cmp(other));
                }
            }
        }
    }
}
