//! The answers of `stats`, `diff`, `leaks` and `churn`: which blocks of which recordings, grouped
//! and in order.

use super::amount::{Amount, Change, Churn};
use super::bucket::{Buckets, ChurnRule};
use super::filter::{BlockFilter, FrameFilter, NoMatch, TapeFilter};
use super::group::{Cumulative, Grouper, Rows};
use super::grouped::{ThreadNames, grouped};
use super::key::{GroupBy, KeyId};
use super::order::{SortBy, Sortable, sorted};
use crate::block::Block;
use crate::error::shortened;
use crate::gap;
use crate::recording::Recording;
use crate::symbols::{Attribution, Language};
use crate::tape::Tape;
use heaptape_format::event::DomainId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use thiserror::Error;

/// How to choose and group blocks.
#[derive(Debug, Clone)]
pub struct Query {
    /// What rows stand for.
    pub group_by: GroupBy,
    /// Whether stacks count for their callers too.
    pub cumulative: Cumulative,
    /// Only frames of this language make keys.
    pub language: Option<Language>,
    /// Functions of the same name in two modules are two rows.
    pub by_module: bool,
    /// Filters on blocks.
    pub blocks: BlockFilter,
    /// Filters on frames.
    pub frames: FrameFilter,
    /// More allocation wrappers, as patterns of function names.
    pub wrappers: Vec<String>,
    /// No frame is a wrapper.
    pub raw_sites: bool,
    /// Blocks that a forked process got from its parent count too.
    pub inherited: bool,
    /// The order of rows.
    pub sort: SortBy,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            group_by: GroupBy::Line,
            cumulative: Cumulative::Off,
            language: None,
            by_module: false,
            blocks: BlockFilter::default(),
            frames: FrameFilter::default(),
            wrappers: Vec::new(),
            raw_sites: false,
            inherited: false,
            sort: SortBy::Bytes,
        }
    }
}

/// The domain of mappings.
pub(super) const MMAP: &str = "mmap";
/// Names of what there is that a message shows.
const NAMES_SHOWN: usize = 20;

/// Why a query has no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The recording cannot answer.
    #[error(transparent)]
    Replay(#[from] crate::Error),
    /// The tape has no such domain.
    #[error(
        "{}: no domain '{}'; this tape knows {}", path.display(), shortened(name), some_of(known)
    )]
    UnknownDomain {
        /// The tape.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The tape has no such thread.
    #[error("{}: no thread '{name}'; this tape has {}", path.display(), some_of(known))]
    UnknownThread {
        /// The tape.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// These two options do not go together.
    #[error("{0}")]
    Usage(String),
}

fn some_of(known: &[String]) -> String {
    let some = known.iter().take(NAMES_SHOWN);
    let some: Vec<String> = some.map(|name| shortened(name)).collect();
    match known.len().checked_sub(NAMES_SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", some.join(", ")),
        _ if known.is_empty() => "no named threads".to_owned(),
        _ => some.join(", "),
    }
}

/// Sums of what is left out.
pub(super) type ByDomain = FxHashMap<DomainId, Amount>;

/// Names of domains and what was left out of each, by name.
pub type LeftOut = Vec<(String, Amount)>;

/// Rows in order, with what is needed to show them.
#[derive(Debug)]
pub struct Answer<M> {
    /// Texts and frames of keys.
    pub grouper: Grouper,
    /// The sum of every block that passed the filters.
    pub total: M,
    /// The rows, in order.
    pub rows: Vec<(KeyId, M)>,
    /// What every filter but that of domains admits, by domains that are no part of the heap and
    /// were not asked for; not known with filters on frames.
    pub left_out: LeftOut,
    /// One line for each module that has no symbols for a reason worth saying; and where what was
    /// asked for is not there: mappings that were not recorded, inherited blocks that are not
    /// known.
    pub notes: Vec<String>,
}

/// Blocks that were chosen, in no order.
#[derive(Debug)]
pub struct Chosen {
    /// The blocks.
    pub blocks: Vec<Block>,
    /// As [`Answer::notes`], of what was asked for and is not there.
    pub notes: Vec<String>,
}

/// A moment of a recording.
#[derive(Debug, Clone, Copy)]
pub struct At<'r> {
    /// The recording.
    pub recording: &'r Recording,
    /// The state includes events up to this stamp.
    pub stamp: u64,
}

impl Query {
    /// True when it chooses some of the blocks.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        let (blocks, frames) = (&self.blocks, &self.frames);
        let is_bounded = blocks.size_min.is_some() || blocks.size_max.is_some();
        let are_named = !(blocks.domains.is_empty() && blocks.threads.is_empty());
        is_bounded || are_named || !(frames.include.is_empty() && frames.exclude.is_empty())
    }

    pub(super) fn grouper<M: Sortable>(&self) -> Result<Grouper, QueryError> {
        if self.cumulative != Cumulative::Off && !self.group_by.is_by_frame() {
            return Err(QueryError::Usage(format!(
                "--cumulative cannot be used with --group-by {}; \
                 use file, line, function or module",
                self.group_by.name()
            )));
        }
        if M::default().ranks(self.sort).is_none() {
            let fits = |by: &SortBy| M::default().ranks(*by).is_some();
            let names = SortBy::ALL.into_iter().filter(fits).map(SortBy::name);
            return Err(QueryError::Usage(format!(
                "--sort {} does not fit this verb; use {}",
                self.sort.name(),
                names.collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(Grouper::new(
            self.group_by,
            self.cumulative,
            self.language,
            self.by_module,
            self.frames.clone(),
            Attribution::new(&self.wrappers, self.raw_sites),
        ))
    }

    pub(super) fn filter(&self, tape: &Tape) -> Result<TapeFilter, QueryError> {
        if let (Some(least), Some(most)) = (self.blocks.size_min, self.blocks.size_max)
            && least > most
        {
            return Err(QueryError::Usage(format!(
                "--min-size {least} is above --max-size {most}: no block fits"
            )));
        }
        self.blocks.for_tape(tape).map_err(|no_match| {
            let path = tape.path.clone();
            match no_match {
                NoMatch::Domain(name, known) => QueryError::UnknownDomain { path, name, known },
                NoMatch::Thread(name, known) => QueryError::UnknownThread { path, name, known },
            }
        })
    }

    /// Blocks alive at a moment, those allocated before `from` not; and what is left out.
    fn live_buckets(
        &self,
        at: At<'_>,
        from: u64,
    ) -> Result<(Buckets<Amount>, ByDomain), QueryError> {
        let recording = at.recording;
        let filter = self.filter(recording.tape())?;
        let live = recording.live_heap(at.stamp)?;
        let live = live.iter().filter(|block| block.allocated >= from);
        let mut left_out = ByDomain::default();
        for block in live.clone().filter(|block| filter.leaves_out(block)) {
            *left_out.entry(block.domain).or_default() += Amount::of_block(block.size);
        }
        let mut buckets = Buckets::of_blocks(live, &filter, self.group_by);
        if self.inherited && from <= recording.tape().start_stamp {
            let inherited = recording.inherited_at(at.stamp)?;
            buckets.merge(Buckets::of_blocks(&inherited, &filter, self.group_by));
        }
        Ok((buckets, left_out))
    }

    /// The live heap at a moment.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn live(&self, at: At<'_>) -> Result<Answer<Amount>, QueryError> {
        let grouper = self.grouper::<Amount>()?;
        let (buckets, left_out) = self.live_buckets(at, 0)?;
        let mut answer = self.answer(grouper, at.recording, &buckets, &left_out)?;
        answer.notes.extend(self.inherited_note(at.recording)?);
        Ok(answer)
    }

    /// Blocks allocated from stamp `from` on that are alive at `to`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn leaks(&self, from: u64, to: At<'_>) -> Result<Answer<Amount>, QueryError> {
        let grouper = self.grouper::<Amount>()?;
        let (buckets, left_out) = self.live_buckets(to, from)?;
        let mut answer = self.answer(grouper, to.recording, &buckets, &left_out)?;
        answer.notes.extend(self.inherited_note(to.recording)?);
        Ok(answer)
    }

    /// Blocks that are alive at `at` and were allocated from stamp `from` on. Filters on frames are
    /// left to the caller, who knows which frames count.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn chosen(&self, from: u64, at: At<'_>) -> Result<Chosen, QueryError> {
        let recording = at.recording;
        let filter = self.filter(recording.tape())?;
        let mut blocks = recording.live_heap(at.stamp)?;
        blocks.retain(|block| block.allocated >= from && filter.admits(block));
        if self.inherited && from <= recording.tape().start_stamp {
            let inherited = recording.inherited_at(at.stamp)?;
            blocks.extend(inherited.iter().filter(|block| filter.admits(block)));
        }
        let mut notes = Vec::from_iter(self.mappings_note(recording)?);
        notes.extend(self.inherited_note(recording)?);
        Ok(Chosen { blocks, notes })
    }

    /// Says so when mappings were asked for and not recorded.
    fn mappings_note(&self, recording: &Recording) -> Result<Option<String>, QueryError> {
        let tape = recording.tape();
        let asks = self.blocks.domains.iter().any(|name| name == MMAP);
        let has_mappings = tape.has_mappings() || recording.summary()?.maps > 0;
        Ok((asks && !has_mappings).then(|| {
            let path = tape.path.display();
            format!("{path}: mappings were not recorded; heaptape run --mmap records them")
        }))
    }

    /// Says so when inherited blocks were asked for and not all of them are known.
    fn inherited_note(&self, recording: &Recording) -> Result<Option<String>, QueryError> {
        let is_known = !self.inherited || recording.summary()?.inherited_known;
        let path = recording.tape().path.display();
        Ok((!is_known).then(|| format!("{path}: {}", gap::INHERITED)))
    }

    /// All allocations from stamp `from` to `to`. A block is temporary when its own thread frees
    /// it after at most `temporary_within` other allocations.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn churn(
        &self,
        from: u64,
        to: At<'_>,
        temporary_within: u64,
    ) -> Result<Answer<Churn>, QueryError> {
        let grouper = self.grouper::<Churn>()?;
        let tape = to.recording.tape();
        let filter = self.filter(tape)?;
        let rule = ChurnRule {
            header: &tape.header,
            end_stamp: tape.end_stamp,
            temporary_within,
        };
        // One share for each thread that visits, so that they do not wait for each other.
        let shares: Vec<Mutex<Buckets<Churn>>> = (0..=rayon::current_num_threads())
            .map(|_| Mutex::default())
            .collect();
        let left_out = Mutex::new(ByDomain::default());
        to.recording.visit_lifetimes(from, to.stamp, |lifetime| {
            let block = &lifetime.block;
            if !block.is_remainder && filter.leaves_out(block) {
                let mut left_out = left_out.lock().unwrap_or_else(|lock| lock.into_inner());
                *left_out.entry(block.domain).or_default() += Amount::of_block(block.size);
            }
            if block.is_remainder || !filter.admits(block) {
                return;
            }
            let share = rayon::current_thread_index().unwrap_or(0) % shares.len();
            if let Some(share) = shares.get(share) {
                let mut buckets = share.lock().unwrap_or_else(|lock| lock.into_inner());
                // The index is there: it was asked for the lifetimes.
                let last_end = to.recording.last_end(lifetime).ok().flatten();
                buckets.add(block, self.group_by, rule.churn(lifetime, last_end));
            }
        })?;
        let mut buckets = Buckets::default();
        for share in shares {
            buckets.merge(share.into_inner().unwrap_or_else(|lock| lock.into_inner()));
        }
        let left_out = left_out
            .into_inner()
            .unwrap_or_else(|lock| lock.into_inner());
        self.answer(grouper, to.recording, &buckets, &left_out)
    }

    /// What changed from one moment to another, of one recording or of two.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn diff(&self, from: At<'_>, to: At<'_>) -> Result<Answer<Change>, QueryError> {
        let (old, _) = self.live_buckets(from, 0)?;
        let (new, _) = self.live_buckets(to, 0)?;
        let mut answer = self.diff_of((from.recording, &old), (to.recording, &new))?;
        for recording in [from.recording, to.recording] {
            answer.notes.extend(self.mappings_note(recording)?);
        }
        for recording in [from.recording, to.recording] {
            answer.notes.extend(self.inherited_note(recording)?);
        }
        answer.notes.dedup();
        Ok(answer)
    }

    /// As [`Query::diff`], of all allocations up to each moment: `count` is their number.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn allocations_diff(&self, from: At<'_>, to: At<'_>) -> Result<Answer<Change>, QueryError> {
        let buckets = (self.allocations_to(from)?, self.allocations_to(to)?);
        self.diff_of((from.recording, &buckets.0), (to.recording, &buckets.1))
    }

    fn allocations_to(&self, at: At<'_>) -> Result<Buckets<Amount>, QueryError> {
        let filter = self.filter(at.recording.tape())?;
        let buckets = Mutex::new(Buckets::<Amount>::default());
        at.recording.visit_lifetimes(0, at.stamp, |lifetime| {
            let block = &lifetime.block;
            if !block.is_remainder && filter.admits(block) {
                let mut buckets = buckets.lock().unwrap_or_else(|lock| lock.into_inner());
                buckets.add(block, self.group_by, Amount::of_block(block.size));
            }
        })?;
        Ok(buckets
            .into_inner()
            .unwrap_or_else(|lock| lock.into_inner()))
    }

    fn diff_of(
        &self,
        (from, from_buckets): (&Recording, &Buckets<Amount>),
        (to, to_buckets): (&Recording, &Buckets<Amount>),
    ) -> Result<Answer<Change>, QueryError> {
        let mut grouper = self.grouper::<Change>()?;
        let threads = match from.tape().header.tape_id == to.tape().header.tape_id {
            true => ThreadNames::WithIds,
            // No thread of one run has the id of one of another.
            false => ThreadNames::Alone,
        };
        // The newer first: rows of both have its frames.
        let (new, mut notes) = grouped(&mut grouper, to.tape(), to.tape(), to_buckets, threads);
        let tape = from.tape();
        let (old, more_notes) = grouped(&mut grouper, tape, tape, from_buckets, threads);
        notes.extend(more_notes);
        notes.sort_unstable();
        notes.dedup();
        Ok(Answer::of_change(grouper, old, new, self.sort, notes))
    }

    fn answer<M: Sortable>(
        &self,
        mut grouper: Grouper,
        recording: &Recording,
        buckets: &Buckets<M>,
        left_out: &ByDomain,
    ) -> Result<Answer<M>, QueryError> {
        let tape = recording.tape();
        let left_out = self.named(tape, left_out);
        let names = ThreadNames::WithIds;
        let (rows, mut notes) = grouped(&mut grouper, tape, tape, buckets, names);
        let sorted_rows = sorted(rows.by_key, self.sort, &grouper);
        notes.extend(self.mappings_note(recording)?);
        Ok(Answer {
            grouper,
            total: rows.total,
            rows: sorted_rows,
            left_out,
            notes,
        })
    }

    /// What is left out, by the names of domains; not known with filters on frames.
    pub(super) fn named(&self, tape: &Tape, left_out: &ByDomain) -> LeftOut {
        let mut by_name: BTreeMap<&str, Amount> = BTreeMap::new();
        for (domain, amount) in left_out.iter().filter(|_| self.frames.is_empty()) {
            *by_name.entry(tape.domain_name(*domain)).or_default() += *amount;
        }
        let named = by_name.into_iter();
        named
            .map(|(name, amount)| (name.to_owned(), amount))
            .collect()
    }
}

impl Answer<Change> {
    /// Of the rows at two moments, with keys of `grouper`.
    pub(super) fn of_change(
        grouper: Grouper,
        old: Rows<Amount>,
        new: Rows<Amount>,
        sort: SortBy,
        notes: Vec<String>,
    ) -> Self {
        let total = Change {
            from: old.total,
            to: new.total,
        };
        let mut rows: FxHashMap<KeyId, Change> = FxHashMap::default();
        for (key, from) in old.by_key {
            rows.entry(key).or_default().from = from;
        }
        for (key, to) in new.by_key {
            rows.entry(key).or_default().to = to;
        }
        Self {
            rows: sorted(rows, sort, &grouper),
            grouper,
            total,
            left_out: LeftOut::new(),
            notes,
        }
    }
}
