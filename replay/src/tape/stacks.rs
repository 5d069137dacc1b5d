//! The stack table: the trees of all streams merged into one.
//!
//! In: the node chunks of each stream, whose ids mean something in that stream alone, and in which
//! the same call may stand more than once. Out: one tree in which every call path stands once; a
//! [`StackId`] is a node of it, its frames are those from the node to the root. A node's parent
//! always has a smaller id, so every walk ends.

use super::chunks::{damaged_chunk, whole_chunk};
use crate::block::StackId;
use heaptape_format::ChunkKind;
use heaptape_format::scan::{Damage, FoundChunk};
use heaptape_format::stack::{CutReason, Frame, StackNode, stack_nodes};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// Call stacks without their outermost frames, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CutStacks {
    /// The depth limit was reached.
    pub depth: u64,
    /// The unwinder could not go on, or the rest is damaged.
    pub unknown: u64,
}

/// Consecutive node ids of one stream.
#[derive(Debug)]
struct Run {
    first: u64,
    ids: Vec<StackId>,
}

/// All stacks of a tape.
#[derive(Debug, Default)]
pub(crate) struct StackTable {
    /// Parent and frame of stack `place + 1`.
    nodes: Vec<(StackId, u32)>,
    frames: Vec<Frame>,
    node_ids: FxHashMap<(StackId, u32), StackId>,
    frame_places: FxHashMap<Frame, u32>,
    streams: FxHashMap<u32, Vec<Run>>,
}

/// The node ids of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamStacks<'a>(&'a [Run]);

impl<'a> StreamStacks<'a> {
    /// The stack of a node; [`StackId::NONE`] when the node is not in the tape.
    #[inline]
    pub(crate) fn get(self, node: u32) -> StackId {
        if node == 0 {
            return StackId::NONE;
        }
        let node = u64::from(node);
        let place = self.0.partition_point(|run| run.first <= node);
        let found = place.checked_sub(1).and_then(|place| {
            let run = self.0.get(place)?;
            run.ids.get(usize::try_from(node - run.first).ok()?)
        });
        found.copied().unwrap_or(StackId::NONE)
    }

    /// Every stack with a node that stands for it.
    pub(crate) fn nodes(self) -> impl Iterator<Item = (StackId, u32)> + 'a {
        self.0.iter().flat_map(|run| {
            let nodes = (run.first..).map(|node| u32::try_from(node).unwrap_or(0));
            run.ids.iter().copied().zip(nodes)
        })
    }
}

impl StackTable {
    /// Merges the node chunks among `chunks`; what cannot be read goes to `damage`.
    pub(super) fn merge(bytes: &[u8], chunks: &[FoundChunk], damage: &mut Vec<Damage>) -> Self {
        let mut table = Self::default();
        table.extend(bytes, chunks, damage);
        table
    }

    /// Adds the nodes of further `chunks`, as [`StackTable::merge`].
    pub(super) fn extend(&mut self, bytes: &[u8], chunks: &[FoundChunk], damage: &mut Vec<Damage>) {
        let mut chunks: Vec<&FoundChunk> = chunks
            .iter()
            .filter(|chunk| chunk.header.kind == ChunkKind::STACK_NODES)
            .collect();
        chunks.sort_by_key(|chunk| (chunk.header.stream, chunk.header.first, chunk.offset));
        let decoded: Vec<_> = chunks
            .par_iter()
            .map_init(Vec::new, |payload, chunk| decode(bytes, chunk, payload))
            .collect();
        for (chunk, nodes) in chunks.into_iter().zip(decoded) {
            match nodes {
                Ok(nodes) => self.append(chunk, &nodes, damage),
                Err(error) => damage.push(error),
            }
        }
    }

    fn append(&mut self, chunk: &FoundChunk, nodes: &[StackNode], damage: &mut Vec<Damage>) {
        let (stream, first) = (chunk.header.stream, chunk.header.first.max(1));
        let mut runs = self.streams.remove(&stream).unwrap_or_default();
        let next = runs
            .last()
            .map_or(1, |run| run.first.saturating_add(run.ids.len() as u64));
        if first < next {
            damage.push(whole_chunk(chunk, "stack node number"));
            self.streams.insert(stream, runs);
            return;
        }
        if first > next || runs.is_empty() {
            runs.push(Run {
                first,
                ids: Vec::new(),
            });
        }
        for node in nodes {
            let parent = self.parent_of(node, &runs);
            let id = self.intern(parent, node.frame);
            if let Some(run) = runs.last_mut() {
                run.ids.push(id);
            }
        }
        self.streams.insert(stream, runs);
    }

    /// The merged parent of a node. When it stands in a damaged chunk, the stack is cut there.
    fn parent_of(&mut self, node: &StackNode, runs: &[Run]) -> StackId {
        let parent = StreamStacks(runs).get(node.parent);
        if parent == StackId::NONE && node.parent != 0 {
            return self.intern(StackId::NONE, Frame::Cut(CutReason::Unknown));
        }
        parent
    }

    fn intern(&mut self, parent: StackId, frame: Frame) -> StackId {
        let frames = &mut self.frames;
        let place = *self.frame_places.entry(frame).or_insert_with(|| {
            frames.push(frame);
            (frames.len() - 1) as u32
        });
        let nodes = &mut self.nodes;
        *self.node_ids.entry((parent, place)).or_insert_with(|| {
            if nodes.len() >= u32::MAX as usize {
                return StackId::NONE;
            }
            nodes.push((parent, place));
            StackId(nodes.len() as u32)
        })
    }

    /// Adds every stack of another tape's table, its frames changed by `frame`. Returns what its
    /// stack `place + 1` is here.
    pub(super) fn adopt(&mut self, other: &Self, frame: impl Fn(Frame) -> Frame) -> Vec<StackId> {
        let mut ids: Vec<StackId> = Vec::with_capacity(other.nodes.len());
        for &(parent, place) in &other.nodes {
            let parent = (parent.0 as usize)
                .checked_sub(1)
                .and_then(|parent| ids.get(parent).copied())
                .unwrap_or(StackId::NONE);
            let found = other.frames.get(place as usize).copied();
            let found = found.unwrap_or(Frame::Cut(CutReason::Unknown));
            ids.push(self.intern(parent, frame(found)));
        }
        ids
    }

    /// The node ids of a stream.
    pub(crate) fn stream(&self, stream: u32) -> StreamStacks<'_> {
        StreamStacks(self.streams.get(&stream).map_or(&[], Vec::as_slice))
    }

    fn node(&self, stack: StackId) -> Option<(StackId, u32)> {
        let place = (stack.0 as usize).checked_sub(1)?;
        self.nodes.get(place).copied()
    }

    /// The most recent frame.
    pub(super) fn frame(&self, stack: StackId) -> Option<Frame> {
        let (_, place) = self.node(stack)?;
        self.frames.get(place as usize).copied()
    }

    /// The stack without its most recent frame.
    pub(super) fn parent(&self, stack: StackId) -> StackId {
        self.node(stack).map_or(StackId::NONE, |(parent, _)| parent)
    }

    /// The first `count` stacks that no other continues and that are cut.
    pub(super) fn cut(&self, count: usize) -> CutStacks {
        let mut reasons: Vec<Option<CutReason>> = Vec::with_capacity(count);
        let mut continued = vec![false; count];
        for &(parent, place) in self.nodes.iter().take(count) {
            let parent = (parent.0 as usize).checked_sub(1);
            if let Some(parent) = parent.and_then(|parent| continued.get_mut(parent)) {
                *parent = true;
            }
            reasons.push(match self.frames.get(place as usize) {
                Some(Frame::Cut(reason)) => Some(*reason),
                _ => parent.and_then(|parent| reasons.get(parent).copied().flatten()),
            });
        }
        let mut cut = CutStacks::default();
        for (reason, _) in reasons.iter().zip(&continued).filter(|(_, on)| !**on) {
            match reason {
                Some(CutReason::Depth) => cut.depth += 1,
                Some(CutReason::Unknown) => cut.unknown += 1,
                None => {}
            }
        }
        cut
    }

    /// How many stacks and how many distinct frames there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.frames.len())
    }
}

/// The frames of all nodes in the node chunks among `chunks`, each once; chunks that cannot be read
/// are left out. Every frame of [`StackTable::merge`] is among them.
pub(super) fn distinct_frames(bytes: &[u8], chunks: &[FoundChunk]) -> FxHashSet<Frame> {
    let mut frames = FxHashSet::default();
    let mut payload = Vec::new();
    let is_nodes = |chunk: &&FoundChunk| chunk.header.kind == ChunkKind::STACK_NODES;
    for chunk in chunks.iter().filter(is_nodes) {
        if let Ok(nodes) = decode(bytes, chunk, &mut payload) {
            frames.extend(nodes.into_iter().map(|node| node.frame));
        }
    }
    frames
}

fn decode(
    bytes: &[u8],
    chunk: &FoundChunk,
    payload: &mut Vec<u8>,
) -> Result<Vec<StackNode>, Damage> {
    let read = chunk.payload(bytes, payload);
    let nodes = read.and_then(|()| {
        stack_nodes(payload, chunk.header.count, chunk.header.first)
            .map_err(|error| error.at(chunk.offset))
    });
    nodes.map_err(|error| damaged_chunk(chunk, error))
}
