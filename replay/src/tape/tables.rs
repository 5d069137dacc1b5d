//! The tables of a tape: streams, modules, marks and all that is not an event or a stack.
//!
//! In: table chunks in the order of the file. Out: [`Tables`], and damage for those that cannot be
//! read. A later record of the same thing replaces an earlier one.

use super::chunks::{ChunkList, damaged_chunk};
use super::domains::{ALL, BUILT_IN, CUSTOM};
use heaptape_format::tables::{
    Child, ClockPair, CodeObject, Domain, End, Epoch, ForkCut, Lost, Mark, Module, Process, Record,
    ResidentSample, Stream, records,
};
use std::collections::HashMap;

/// What the table chunks hold.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) process: Process,
    pub(super) end: Option<End>,
    pub(super) streams: Vec<Stream>,
    pub(super) modules: Vec<Module>,
    pub(super) codes: Vec<CodeObject>,
    pub(super) marks: Vec<Mark>,
    pub(super) resident: Vec<ResidentSample>,
    pub(super) lost: Vec<Lost>,
    pub(super) children: Vec<Child>,
    pub(super) clock_pairs: Vec<ClockPair>,
    pub(super) domains: Vec<Domain>,
    pub(super) fork_cuts: Vec<ForkCut>,
    pub(super) epochs: Vec<Epoch>,
    /// Largest stamp that any table states, the end's excepted.
    pub(super) stamp_last: u64,
}

impl Tables {
    /// Reads all tables of `list`.
    pub(super) fn read(bytes: &[u8], list: &mut ChunkList) -> Self {
        let mut tables = Self {
            process: read::<Process>(bytes, list).pop().unwrap_or_default(),
            end: read::<End>(bytes, list).pop(),
            streams: read(bytes, list),
            modules: read(bytes, list),
            codes: read(bytes, list),
            marks: read(bytes, list),
            resident: read(bytes, list),
            lost: read(bytes, list),
            children: read(bytes, list),
            clock_pairs: read(bytes, list),
            domains: read(bytes, list),
            fork_cuts: read(bytes, list),
            epochs: read(bytes, list),
            stamp_last: 0,
        };
        tables.tidy();
        let last_mark = tables.marks.last().map(|mark| mark.stamp);
        let last_sample = tables.resident.last().map(|sample| sample.stamp);
        let last_epoch = tables.epochs.iter().map(|epoch| epoch.watermark).max();
        tables.stamp_last = [last_mark, last_sample, last_epoch]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0);
        tables
    }

    /// Puts each table in order; a later record of the same thing replaces an earlier one.
    fn tidy(&mut self) {
        keep_last(&mut self.streams, |stream| stream.index);
        keep_last(&mut self.modules, |module| module.index);
        keep_last(&mut self.codes, |code| code.number);
        keep_last_names(&mut self.children);
        keep_last(&mut self.domains, |domain| domain.id);
        keep_last(&mut self.fork_cuts, |cut| cut.stream);
        self.domains.iter_mut().for_each(keep_apart);
        self.marks.sort_by_key(|mark| mark.stamp);
        self.resident.sort_by_key(|sample| sample.stamp);
    }

    /// Adds what stands behind these tables in the tape; what is not in `later` stays as it was.
    pub(super) fn add(&mut self, later: Self, has_process: bool) {
        if has_process {
            self.process = later.process;
        }
        self.end = later.end.or(self.end.take());
        self.streams.extend(later.streams);
        self.modules.extend(later.modules);
        self.codes.extend(later.codes);
        self.marks.extend(later.marks);
        self.resident.extend(later.resident);
        self.lost.extend(later.lost);
        self.children.extend(later.children);
        self.clock_pairs.extend(later.clock_pairs);
        self.domains.extend(later.domains);
        self.fork_cuts.extend(later.fork_cuts);
        self.epochs.extend(later.epochs);
        self.stamp_last = self.stamp_last.max(later.stamp_last);
        self.tidy();
    }
}

/// A later record of a child with a tape has the name that the tape was given later.
fn keep_last_names(children: &mut Vec<Child>) {
    let mut places = HashMap::new();
    let mut kept: Vec<Child> = Vec::with_capacity(children.len());
    for child in children.drain(..) {
        let key = (child.stamp, child.pid, child.origin);
        let place = (!child.tape.is_empty()).then(|| *places.entry(key).or_insert(kept.len()));
        match place.and_then(|place| kept.get_mut(place)) {
            Some(earlier) => *earlier = child,
            None => kept.push(child),
        }
    }
    *children = kept;
}

fn read<R: Record>(bytes: &[u8], list: &mut ChunkList) -> Vec<R> {
    let mut all = Vec::new();
    let mut payload = Vec::new();
    let mut damage = Vec::new();
    for chunk in list.of_kind(R::KIND) {
        let read = chunk.payload(bytes, &mut payload).and_then(|()| {
            records::<R>(&payload, chunk.header.count).map_err(|error| error.at(chunk.offset))
        });
        match read {
            Ok(records) => all.extend(records),
            Err(error) => damage.push(damaged_chunk(chunk, error)),
        }
    }
    list.damage.extend(damage);
    all
}

/// A domain of the program's own that is called like one that every tape has is no part of that.
fn keep_apart(domain: &mut Domain) {
    let name = domain.name.as_str();
    if name == ALL || BUILT_IN.iter().any(|(_, other)| *other == name) {
        domain.name.push_str(CUSTOM);
    }
}

/// Sorts by key and keeps the last record of each.
fn keep_last<R, K: Ord>(records: &mut Vec<R>, key: impl Fn(&R) -> K) {
    records.reverse();
    records.sort_by_key(|record| key(record));
    records.dedup_by(|later, kept| key(later) == key(kept));
}
