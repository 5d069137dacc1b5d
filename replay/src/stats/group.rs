//! Buckets → rows: which keys a stack counts for, and their sums.
//!
//! One [`Grouper`] serves all tapes of a question: its keys are texts, so rows of two tapes meet
//! when they say the same.

use super::amount::Measure;
use super::bucket::{Bucket, Buckets, Facet};
use super::filter::FrameFilter;
use super::key::{self, GroupBy, KeyId, UNKNOWN};
use super::trace::{Rest, TraceId, Traces};
use crate::block::StackId;
use crate::symbols::stack_frames::StackPlace;
use crate::symbols::{
    Attribution, FrameId, FrameTable, Language, ResolvedFrame, StackFrames, StackSource,
};
use heaptape_format::tables::CutReason;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Ordering;

/// Whether a stack counts for its place alone or for what calls it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cumulative {
    /// For the place of the allocation.
    #[default]
    Off,
    /// Once for every distinct key on the stack.
    PerStack,
    /// Once for every frame on the stack, as tracemalloc does.
    PerFrame,
}

/// How to group. See the fields of [`super::Query`].
#[derive(Debug)]
pub struct Grouper {
    group_by: GroupBy,
    cumulative: Cumulative,
    language: Option<Language>,
    by_module: bool,
    filter: FrameFilter,
    attribution: Attribution,
    table: FrameTable,
    labels: Labels,
    frame_labels: FxHashMap<FrameId, LabelId>,
    /// Of labels.
    tracebacks: Traces,
    /// Of frames.
    frame_lists: Traces,
    keys: Vec<KeyEntry>,
    key_ids: FxHashMap<Key, KeyId>,
    /// When the recording began that is grouped now.
    recorded_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LabelId(u32);

/// What a row stands for; equal keys are equal texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Label(LabelId),
    /// In `tracebacks`.
    Traceback(TraceId),
}

/// A traceback: its labels and its frames.
#[derive(Debug, Clone, Copy, Default)]
struct Traceback {
    labels: TraceId,
    frames: TraceId,
}

/// The tracebacks of stacks of one tape.
type KnownTracebacks = FxHashMap<StackPlace, Traceback>;

#[derive(Debug)]
struct KeyEntry {
    key: Key,
    /// Frames that stand for it, the most recent first; in `frame_lists`.
    frames: TraceId,
    /// Tracebacks: why some of their stacks lack the outermost frames.
    cut: Option<CutReason>,
    /// When the recording began that the frames are of.
    recorded_ns: u64,
}

/// Texts, each once.
#[derive(Debug, Default)]
struct Labels {
    texts: Vec<Box<str>>,
    ids: FxHashMap<Box<str>, LabelId>,
}

impl Labels {
    fn intern(&mut self, text: String) -> LabelId {
        if let Some(&id) = self.ids.get(text.as_str()) {
            return id;
        }
        let id = LabelId(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let text = text.into_boxed_str();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    fn get(&self, id: LabelId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |text| text)
    }
}

/// Between the frames of a traceback's key.
const TRACEBACK_JOINT: &str = " < ";

/// Rows by key, not yet in order.
#[derive(Debug, Clone)]
pub struct Rows<M> {
    /// The sum of every block that passed the filters.
    pub total: M,
    /// The sums by key.
    pub by_key: FxHashMap<KeyId, M>,
}

/// What a stack counts for.
#[derive(Debug, Clone, Default)]
struct StackKeys {
    admitted: bool,
    keys: Vec<KeyId>,
}

impl Grouper {
    /// A grouper without rows.
    #[must_use]
    pub fn new(
        group_by: GroupBy,
        cumulative: Cumulative,
        language: Option<Language>,
        by_module: bool,
        filter: FrameFilter,
        attribution: Attribution,
    ) -> Self {
        Self {
            group_by,
            cumulative,
            language,
            by_module,
            filter,
            attribution,
            table: FrameTable::default(),
            labels: Labels::default(),
            frame_labels: FxHashMap::default(),
            tracebacks: Traces::default(),
            frame_lists: Traces::default(),
            keys: Vec::new(),
            key_ids: FxHashMap::default(),
            recorded_ns: 0,
        }
    }

    /// What is grouped from now on is of a recording that began at this Unix time, in nanoseconds.
    /// Keys that several recordings have keep the frames of the first.
    pub fn set_recorded(&mut self, unix_ns: u64) {
        self.recorded_ns = unix_ns;
    }

    /// When the recording began that a key's frames are of: Unix time in nanoseconds.
    #[must_use]
    pub fn recorded_ns(&self, key: KeyId) -> u64 {
        self.keys
            .get(key.0 as usize)
            .map_or(0, |entry| entry.recorded_ns)
    }

    /// What rows stand for.
    #[must_use]
    pub fn group_by(&self) -> GroupBy {
        self.group_by
    }

    /// How stacks count.
    #[must_use]
    pub fn cumulative(&self) -> Cumulative {
        self.cumulative
    }

    /// True when the frames of stacks are needed at all: other groupings without a filter on
    /// frames need no symbols.
    #[must_use]
    pub fn needs_frames(&self) -> bool {
        let facet_only = matches!(
            self.group_by,
            GroupBy::Thread | GroupBy::Size | GroupBy::Domain
        );
        !facet_only || !self.filter.is_empty()
    }

    /// Resolves the frames of `stacks`, which [`Grouper::group`] wants for the same tape.
    #[must_use]
    pub fn resolve(
        &mut self,
        source: &dyn StackSource,
        stacks: &FxHashSet<StackId>,
    ) -> StackFrames {
        if self.needs_frames() {
            StackFrames::resolve(source, stacks, &mut self.table)
        } else {
            StackFrames::default()
        }
    }

    /// Rows of `buckets`, whose stacks have `frames`. `facet_text` gives the keys of threads and
    /// domains.
    pub fn group<M: Measure>(
        &mut self,
        frames: &StackFrames,
        buckets: &Buckets<M>,
        facet_text: &dyn Fn(Facet) -> String,
    ) -> Rows<M> {
        let mut rows = Rows {
            total: M::default(),
            by_key: FxHashMap::default(),
        };
        let mut stacks: FxHashMap<StackId, StackKeys> = FxHashMap::default();
        let mut known = KnownTracebacks::default();
        for (bucket, value) in &buckets.sums {
            let stack = stacks
                .entry(bucket.stack)
                .or_insert_with(|| self.stack_keys(frames, bucket.stack, &mut known));
            if !stack.admitted {
                continue;
            }
            rows.total += value.clone();
            if bucket.facet == Facet::Stack {
                for &key in &stack.keys {
                    *rows.by_key.entry(key).or_default() += value.clone();
                }
            } else {
                let key = self.facet_key(*bucket, frames, facet_text);
                *rows.by_key.entry(key).or_default() += value.clone();
            }
        }
        rows
    }

    fn stack_keys(
        &mut self,
        frames: &StackFrames,
        stack: StackId,
        known: &mut KnownTracebacks,
    ) -> StackKeys {
        let all = frames.get(stack);
        let place = self
            .attribution
            .place(all.clone(), &self.table, self.language);
        let spoken = all.clone().filter(|id| self.speaks(*id));
        if !self.filter.admits(spoken, place, &self.table) {
            return StackKeys::default();
        }
        let keys = match self.group_by {
            GroupBy::Thread | GroupBy::Size | GroupBy::Domain | GroupBy::Kind => Vec::new(),
            GroupBy::Traceback => {
                let traceback = self.traceback(frames, stack, known);
                vec![self.traceback_key(traceback, frames.cut(stack))]
            }
            GroupBy::File | GroupBy::Line | GroupBy::Function | GroupBy::Module => {
                if self.cumulative == Cumulative::Off {
                    vec![self.frame_key(place)]
                } else {
                    self.cumulative_keys(all)
                }
            }
        };
        StackKeys {
            admitted: true,
            keys,
        }
    }

    fn speaks(&self, id: FrameId) -> bool {
        self.language
            .is_none_or(|language| self.table.get(id).language == language)
    }

    fn cumulative_keys(&mut self, frames: impl Iterator<Item = FrameId>) -> Vec<KeyId> {
        let mut keys = Vec::new();
        let mut seen = FxHashSet::default();
        for id in frames {
            if !self.speaks(id) {
                continue;
            }
            let key = self.frame_key(Some(id));
            if self.cumulative == Cumulative::PerFrame || seen.insert(key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            keys.push(self.frame_key(None));
        }
        keys
    }

    /// The traceback of a stack, put together from that of its caller.
    fn traceback(
        &mut self,
        frames: &StackFrames,
        stack: StackId,
        known: &mut KnownTracebacks,
    ) -> Traceback {
        let mut new = Vec::new();
        let mut at = frames.place(stack);
        let mut traceback = Traceback::default();
        while let Some(place) = at {
            if let Some(&found) = known.get(&place) {
                traceback = found;
                break;
            }
            new.push(place);
            at = frames.outer(place);
        }
        for place in new.into_iter().rev() {
            for &id in frames.own(place).iter().rev() {
                if self.speaks(id) {
                    let label = self.frame_label(id);
                    traceback.labels = self.tracebacks.put(label.0, traceback.labels);
                    traceback.frames = self.frame_lists.put(id.0, traceback.frames);
                }
            }
            known.insert(place, traceback);
        }
        traceback
    }

    fn facet_key(
        &mut self,
        bucket: Bucket,
        frames: &StackFrames,
        facet_text: &dyn Fn(Facet) -> String,
    ) -> KeyId {
        let text = match bucket.facet {
            Facet::Size(bytes) => bytes.to_string(),
            Facet::Kind(operation) => {
                let inner = frames.get(bucket.stack).next();
                let name = inner.and_then(|id| self.table.get(id).function.as_deref());
                match name {
                    Some(name) if name.starts_with("operator new") => "new".to_owned(),
                    _ => operation.name().to_owned(),
                }
            }
            facet => facet_text(facet),
        };
        let label = self.labels.intern(text);
        self.key(Key::Label(label), TraceId::EMPTY)
    }

    fn frame_label(&mut self, id: FrameId) -> LabelId {
        if let Some(&label) = self.frame_labels.get(&id) {
            return label;
        }
        let text = key::label(self.table.get(id), self.group_by, self.by_module);
        let label = self.labels.intern(text);
        self.frame_labels.insert(id, label);
        label
    }

    /// The key of one frame, or of no frame.
    fn frame_key(&mut self, id: Option<FrameId>) -> KeyId {
        let Some(id) = id else {
            let label = self.labels.intern(UNKNOWN.to_owned());
            return self.key(Key::Label(label), TraceId::EMPTY);
        };
        let label = self.frame_label(id);
        let frames = self.frame_lists.put(id.0, TraceId::EMPTY);
        let key = self.key(Key::Label(label), frames);
        // Several frames can have one key. The smallest stands for it, whatever the order in
        // which they were met.
        if let Some(entry) = self.keys.get_mut(key.0 as usize)
            && entry.recorded_ns == self.recorded_ns
        {
            let now = self.frame_lists.numbers(entry.frames).next();
            if now.is_none_or(|now| self.table.get(id) < self.table.get(FrameId(now))) {
                entry.frames = self.frame_lists.put(id.0, TraceId::EMPTY);
            }
        }
        key
    }

    fn traceback_key(&mut self, traceback: Traceback, cut: Option<CutReason>) -> KeyId {
        let key = if traceback.labels == TraceId::EMPTY {
            self.frame_key(None)
        } else {
            self.key(Key::Traceback(traceback.labels), traceback.frames)
        };
        if let Some(entry) = self.keys.get_mut(key.0 as usize) {
            // Of two reasons the depth wins, whatever the order in which they were met.
            entry.cut = match (entry.cut, cut) {
                (Some(CutReason::Depth), _) | (_, None) => entry.cut,
                (_, cut) => cut,
            };
        }
        key
    }

    fn key(&mut self, key: Key, frames: TraceId) -> KeyId {
        if let Some(&id) = self.key_ids.get(&key) {
            return id;
        }
        let id = KeyId(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        self.key_ids.insert(key, id);
        self.keys.push(KeyEntry {
            key,
            frames,
            cut: None,
            recorded_ns: self.recorded_ns,
        });
        id
    }

    /// The text of a key.
    #[must_use]
    pub fn text(&self, key: KeyId) -> String {
        match self.keys.get(key.0 as usize).map(|entry| entry.key) {
            Some(Key::Label(label)) => self.labels.get(label).to_owned(),
            Some(Key::Traceback(list)) => {
                let labels = self.tracebacks.numbers(list);
                let texts: Vec<&str> = labels
                    .map(|label| self.labels.get(LabelId(label)))
                    .collect();
                texts.join(TRACEBACK_JOINT)
            }
            None => UNKNOWN.to_owned(),
        }
    }

    /// The frames that a key stands for, the most recent first: the whole stack of a traceback,
    /// one frame or none otherwise.
    #[must_use]
    pub fn frames(&self, key: KeyId) -> Vec<ResolvedFrame> {
        let list = self.keys.get(key.0 as usize).map(|entry| entry.frames);
        self.frame_lists
            .numbers(list.unwrap_or_default())
            .map(|id| key::stand_in(self.table.get(FrameId(id)), self.group_by))
            .collect()
    }

    /// Why stacks of a traceback's key lack their outermost frames; None when they are whole.
    #[must_use]
    pub fn cut(&self, key: KeyId) -> Option<CutReason> {
        self.keys.get(key.0 as usize).and_then(|entry| entry.cut)
    }

    /// Compares the texts of two keys without making them.
    #[must_use]
    pub fn compare(&self, one: KeyId, other: KeyId) -> Ordering {
        let key = |id: KeyId| self.keys.get(id.0 as usize).map(|entry| entry.key);
        match (key(one), key(other)) {
            (Some(Key::Traceback(one)), Some(Key::Traceback(other))) => {
                // Equal labels are equal texts: those that both begin with are skipped.
                self.tracebacks.compare(one, other, |one, other| {
                    self.bytes(one).cmp(self.bytes(other))
                })
            }
            (Some(Key::Label(one)), Some(Key::Label(other))) => {
                self.labels.get(one).cmp(self.labels.get(other))
            }
            (Some(_), Some(_)) if one != other => self.text(one).cmp(&self.text(other)),
            _ => Ordering::Equal,
        }
    }

    fn bytes<'g>(&'g self, labels: Rest<'g>) -> impl Iterator<Item = u8> + 'g {
        labels.enumerate().flat_map(|(place, label)| {
            let joint = if place == 0 { "" } else { TRACEBACK_JOINT };
            let text = self.labels.get(LabelId(label));
            joint.bytes().chain(text.bytes())
        })
    }
}
