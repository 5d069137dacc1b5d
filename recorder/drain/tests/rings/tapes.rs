//! Tapes as the tests compare them: everything decoded, by kind.

use crate::history::{History, Item};
use heaptape_format::TapeHeader;
use heaptape_format::chunk::ChunkKind;
use heaptape_format::event::{Event, EventReader, OperationKind};
use heaptape_format::header::PYTHON_FRAMES;
use heaptape_format::scan::{Found, Scan};
use heaptape_format::stack::{CutReason, Frame, StackNode, stack_nodes};
use heaptape_format::tables::{
    Child, ClockPair, CodeObject, Domain, End, Epoch, Lost, Mark, Module, Process, ResidentSample,
    Stream, Totals, records,
};
use std::collections::BTreeMap;
use std::path::Path;

/// An event chunk's place and first stamp.
#[derive(Debug)]
pub(crate) struct EventChunk {
    /// Number of the chunk in the tape.
    pub(crate) at: u64,
    pub(crate) stamp_first: u64,
}

/// A decoded tape.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) header: TapeHeader,
    pub(crate) events: BTreeMap<u32, Vec<Event>>,
    pub(crate) nodes: BTreeMap<u32, Vec<StackNode>>,
    pub(crate) event_chunks: Vec<EventChunk>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) modules: Vec<Module>,
    pub(crate) codes: Vec<CodeObject>,
    pub(crate) domains: Vec<Domain>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) lost: Vec<Lost>,
    pub(crate) children: Vec<Child>,
    pub(crate) pairs: Vec<ClockPair>,
    pub(crate) resident: Vec<ResidentSample>,
    pub(crate) epochs: Vec<(u64, Epoch)>,
    pub(crate) process: Option<Process>,
    pub(crate) end: Option<End>,
}

impl Content {
    /// Reads a tape that must be whole: numbered chunks, no damage, an end.
    pub(crate) fn read(path: &Path) -> Self {
        let tape =
            std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (header, length) = TapeHeader::decode(&tape).unwrap();
        let mut content = Self {
            header,
            events: BTreeMap::new(),
            nodes: BTreeMap::new(),
            event_chunks: Vec::new(),
            streams: Vec::new(),
            modules: Vec::new(),
            codes: Vec::new(),
            domains: Vec::new(),
            marks: Vec::new(),
            lost: Vec::new(),
            children: Vec::new(),
            pairs: Vec::new(),
            resident: Vec::new(),
            epochs: Vec::new(),
            process: None,
            end: None,
        };
        let mut payload = Vec::new();
        for (number, found) in Scan::new(&tape, length).enumerate() {
            let Found::Chunk(chunk) = found else {
                panic!("{}: {found:?}", path.display())
            };
            assert_eq!(chunk.header.sequence, number as u64);
            chunk.payload(&tape, &mut payload).unwrap();
            content.add(&chunk.header, &payload);
        }
        assert!(content.end.is_some(), "{} has no end", path.display());
        content.streams.sort_by_key(|stream| stream.index);
        content
    }

    fn add(&mut self, header: &heaptape_format::ChunkHeader, payload: &[u8]) {
        let count = header.count;
        match header.kind {
            ChunkKind::EVENTS => {
                let events = self.events.entry(header.stream).or_default();
                assert_eq!(
                    header.first,
                    events.len() as u64,
                    "stream {}",
                    header.stream
                );
                let before = events.last().map_or(0, |event| event.end_stamp);
                assert!(header.stamp_first >= before, "stamps step back");
                let reader = EventReader::new(payload, count, header.stamp_first).unwrap();
                events.extend(reader.map(|event| event.unwrap()));
                self.event_chunks.push(EventChunk {
                    at: header.sequence,
                    stamp_first: header.stamp_first,
                });
            }
            ChunkKind::STACK_NODES => self.add_nodes(header, payload),
            ChunkKind::STREAMS => {
                for stream in records::<Stream>(payload, count).unwrap() {
                    self.streams.retain(|known| known.index != stream.index);
                    self.streams.push(stream);
                }
            }
            ChunkKind::MODULES => self
                .modules
                .extend(records::<Module>(payload, count).unwrap()),
            ChunkKind::CODE_OBJECTS => self
                .codes
                .extend(records::<CodeObject>(payload, count).unwrap()),
            ChunkKind::DOMAINS => self
                .domains
                .extend(records::<Domain>(payload, count).unwrap()),
            ChunkKind::MARKS => self.marks.extend(records::<Mark>(payload, count).unwrap()),
            ChunkKind::LOST => self.lost.extend(records::<Lost>(payload, count).unwrap()),
            ChunkKind::CHILDREN => self
                .children
                .extend(records::<Child>(payload, count).unwrap()),
            ChunkKind::CLOCK_PAIRS => {
                self.pairs
                    .extend(records::<ClockPair>(payload, count).unwrap());
            }
            ChunkKind::RESIDENT => {
                self.resident
                    .extend(records::<ResidentSample>(payload, count).unwrap());
            }
            ChunkKind::EPOCHS => {
                for epoch in records::<Epoch>(payload, count).unwrap() {
                    self.epochs.push((header.sequence, epoch));
                }
            }
            ChunkKind::PROCESS => {
                self.process = records::<Process>(payload, count).unwrap().pop();
            }
            ChunkKind::TOTALS => {
                let totals = records::<Totals>(payload, count).unwrap();
                assert_eq!(totals, [self.totals()]);
            }
            ChunkKind::END => self.end = records::<End>(payload, count).unwrap().pop(),
            kind => panic!("a chunk of kind {}", kind.name()),
        }
    }

    fn add_nodes(&mut self, header: &heaptape_format::ChunkHeader, payload: &[u8]) {
        let nodes = self.nodes.entry(header.stream).or_default();
        assert_eq!(
            header.first,
            nodes.len() as u64 + 1,
            "stream {}",
            header.stream
        );
        nodes.extend(stack_nodes(payload, header.count, header.first).unwrap());
        let is_python = |node: &StackNode| matches!(node.frame, Frame::Python { .. });
        let is_announced = self.header.must_understand == PYTHON_FRAMES;
        assert!(is_announced || !nodes.iter().any(is_python));
    }

    /// What the events so far add up to.
    fn totals(&self) -> Totals {
        let events = self.events.values().flatten();
        let sizes = events.filter(|event| {
            let kind = event.operation.kind();
            matches!(kind, OperationKind::Alloc | OperationKind::Realloc)
        });
        Totals {
            allocated_bytes: sizes.map(|event| event.size).sum(),
        }
    }

    /// Fails unless the tape holds exactly these histories, stream by stream.
    pub(crate) fn assert_histories(&self, histories: &[History]) {
        for (stream, history) in histories.iter().enumerate() {
            let stream = stream as u32;
            let kept = self.assert_prefix(stream, history);
            assert_eq!(kept, history.events().count(), "events of stream {stream}");
            let nodes = history.0.len() - kept;
            assert_eq!(self.nodes.get(&stream).map_or(0, Vec::len), nodes);
        }
        assert!(self.events.len() <= histories.len());
    }

    /// Fails unless the stream in the tape is a beginning of the history; how many events.
    pub(crate) fn assert_prefix(&self, stream: u32, history: &History) -> usize {
        let shift = self.header.stamp_shift;
        let mut nodes = self.nodes.get(&stream).into_iter().flatten();
        let mut events = self.events.get(&stream).into_iter().flatten();
        let mut kept = 0;
        for item in &history.0 {
            let expected_node = match *item {
                Item::Event(event) => {
                    let Some(found) = events.next() else { continue };
                    kept += 1;
                    assert_eq!(found.operation.0, event.operation, "event {kept}");
                    assert_eq!(found.stamp, event.ticks >> shift, "event {kept}");
                    assert_eq!(found.end_stamp, event.end_ticks >> shift, "event {kept}");
                    let old = (found.old_address, found.old_size);
                    assert_eq!(old, (event.old_address, event.old_size), "event {kept}");
                    let new = (found.address, found.size);
                    assert_eq!(new, (event.address, event.size), "event {kept}");
                    assert_eq!(found.stack, event.stack, "event {kept}");
                    assert_eq!(found.alignment_log2, event.alignment_log2);
                    if found.operation.is_custom() {
                        assert_eq!(found.domain.0, event.domain);
                    }
                    continue;
                }
                Item::Node(parent, module, offset, exact) => StackNode {
                    parent,
                    frame: Frame::Native {
                        module,
                        offset,
                        exact,
                    },
                },
                Item::Python(parent, code, instruction) => StackNode {
                    parent,
                    frame: Frame::Python { code, instruction },
                },
                Item::Cut(parent, reason) => StackNode {
                    parent,
                    frame: Frame::Cut(match reason {
                        1 => CutReason::Depth,
                        _ => CutReason::Unknown,
                    }),
                },
            };
            if let Some(found) = nodes.next() {
                assert_eq!(*found, expected_node);
            }
        }
        kept
    }
}
