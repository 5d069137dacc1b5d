//! A question that is asked again and again of one tape: what lives now, and what changed.
//!
//! In: profiles of two moments of it. Out: rows with both, the same as `stats` has at the second.

use super::amount::{Amount, Change};
use super::bucket::Buckets;
use super::filter::TapeFilter;
use super::grouped::{ThreadNames, grouped};
use super::profile::Profile;
use super::query::{Answer, ByDomain, MMAP, Query, QueryError};
use crate::block::StreamId;
use crate::symbols::KnownSymbols;
use crate::symbols::known::KnownSource;
use crate::tape::Tape;
use heaptape_format::event::DomainId;

impl Query {
    /// What lived at two moments of `tape`; what is named on the way is put to `known`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn standing(
        &self,
        tape: &Tape,
        known: &mut KnownSymbols,
        from: &Profile,
        to: &Profile,
    ) -> Result<Answer<Change>, QueryError> {
        let mut grouper = self.grouper::<Change>()?;
        let filter = self.filter(tape)?;
        let (old, new) = (self.buckets(from, &filter), self.buckets(to, &filter));
        if grouper.needs_frames() {
            known.look_up(tape, &new.stacks());
            known.look_up(tape, &old.stacks());
        }
        let known = &*known;
        let source = KnownSource { tape, known };
        let names = ThreadNames::WithIds;
        let (new, _) = grouped(&mut grouper, tape, &source, &new, names);
        let (old, _) = grouped(&mut grouper, tape, &source, &old, names);
        let mut notes = known.notes().to_vec();
        let asks = self.blocks.domains.iter().any(|name| name == MMAP);
        let has_some = || to.sums().any(|(block, _)| block.domain == DomainId::MMAP);
        if asks && !tape.has_mappings() && !has_some() {
            let path = tape.path.display();
            notes.push(format!(
                "{path}: mappings were not recorded; heaptape run --mmap records them"
            ));
        }
        let answer = Answer::of_change(grouper, old, new, self.sort, notes);
        let mut left_out = ByDomain::default();
        for (block, amount) in self.own(to).filter(|(block, _)| filter.leaves_out(block)) {
            *left_out.entry(block.domain).or_default() += amount;
        }
        Ok(Answer {
            left_out: self.named(tape, &left_out),
            ..answer
        })
    }

    fn buckets(&self, profile: &Profile, filter: &TapeFilter) -> Buckets<Amount> {
        let mut buckets = Buckets::default();
        let sums = profile.sums();
        let sums = sums.filter(|(block, _)| self.inherited || !is_inherited(block.stream));
        for (block, amount) in sums.filter(|(block, _)| filter.admits(block)) {
            buckets.add(&block, self.group_by, amount);
        }
        buckets
    }

    fn own<'p>(
        &self,
        profile: &'p Profile,
    ) -> impl Iterator<Item = (crate::block::Block, Amount)> + 'p {
        let sums = profile.sums();
        sums.filter(|(block, _)| !is_inherited(block.stream))
    }
}

fn is_inherited(stream: StreamId) -> bool {
    stream == StreamId::INHERITED
}
