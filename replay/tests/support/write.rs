//! Histories as tapes.
//!
//! In: a history and how it is to be laid out. Out: the bytes of a tape, as a drainer could have
//! written them: chunks of any size, in any order.

use super::generate::{History, Random};
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo, ChunkKind};
use heaptape_format::event::EventEncoder;
use heaptape_format::header::{ClockKind, PYTHON_FRAMES, RETAGS};
use heaptape_format::stack::put_stack_nodes;
use heaptape_format::tables::{
    CodeObject, Domain, End, Epoch, ForkCut, Lost, Mark, Module, Process, Record, ResidentSample,
    Stream, put_record,
};
use heaptape_format::{CHUNK_ALIGNMENT, TapeHeader};

/// How a history is laid out in a tape.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Events in a chunk, at most.
    pub chunk_events: usize,
    /// Stack nodes in a chunk, at most.
    pub chunk_nodes: usize,
    /// None: chunks stand in the order of their first stamps. Else they are shuffled.
    pub shuffle: Option<u64>,
    /// The tape's identity.
    pub tape_id: u8,
    /// The recorded process.
    pub process: Process,
    /// Whether the tape has its end.
    pub has_end: bool,
    /// Marks.
    pub marks: Vec<Mark>,
    /// Samples.
    pub resident: Vec<ResidentSample>,
    /// Lost events.
    pub lost: Vec<Lost>,
    /// Where streams of the parent stood.
    pub fork_cuts: Vec<ForkCut>,
    /// The modules that frames name.
    pub modules: Vec<Module>,
    /// The code objects that frames name.
    pub codes: Vec<CodeObject>,
    /// What epochs say of the event chunks behind them.
    pub epochs: Epochs,
    /// log2 of ticks in a stamp.
    pub stamp_shift: u8,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            chunk_events: 50,
            chunk_nodes: 3,
            shuffle: None,
            tape_id: 1,
            process: Process {
                pid: 100,
                ..Process::default()
            },
            has_end: true,
            marks: Vec::new(),
            resident: Vec::new(),
            lost: Vec::new(),
            fork_cuts: Vec::new(),
            modules: vec![module(1, "/bin/app"), module(2, "/lib/libdep.so")],
            codes: vec![code(1, "load"), code(2, "order"), code(3, "<module>")],
            epochs: Epochs::None,
            stamp_shift: 0,
        }
    }
}

/// How epochs are written: one behind each chunk of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epochs {
    /// There are none.
    None,
    /// They are right.
    Exact,
    /// Some of them say more than is true: some are said to be inexact, others just lie.
    Wrong { is_told: bool },
}

/// A module that is told by its path.
pub fn module(index: u32, path: &str) -> Module {
    Module {
        index,
        load_bias: 0x1000_0000 * u64::from(path.len() as u32),
        path: path.to_owned(),
        ..Module::default()
    }
}

/// A code object that is told by its name.
pub fn code(number: u32, name: &str) -> CodeObject {
    CodeObject {
        number,
        form: 2,
        first_line: 7,
        file: "/app/shop.py".to_owned(),
        name: name.to_owned(),
        line_table: vec![8, 0, 8, 3],
    }
}

/// A chunk of a tape and what it holds.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its kind.
    pub kind: ChunkKind,
    /// Its stream.
    pub stream: u32,
    /// Event chunks: the place of its first event in the stream.
    pub first: u64,
    /// Events or other records.
    pub count: u32,
    /// Where it begins in the tape.
    pub offset: u64,
    /// Its header and payload, without padding.
    pub bytes: u64,
}

/// The header of every tape that is written here.
pub fn header(layout: &Layout) -> TapeHeader {
    let mut header = TapeHeader::new(ClockKind::Monotonic, 1_000_000_000, 0);
    header.tape_id = [layout.tape_id; 16];
    header.session_id = [9; 16];
    header.pid = layout.process.pid;
    header.stamp_shift = layout.stamp_shift;
    header.must_understand = PYTHON_FRAMES | RETAGS;
    header
}

/// The bytes of a tape of `history`, and where its chunks are.
pub fn tape(history: &History, layout: &Layout) -> (Vec<u8>, Vec<Written>) {
    let mut chunks = Vec::new();
    for (stream, recorded) in (0u32..).zip(&history.streams) {
        let mut first = 1u64;
        for nodes in recorded.nodes.chunks(layout.chunk_nodes.max(1)) {
            let mut payload = Vec::new();
            put_stack_nodes(nodes, first as u32, &mut payload);
            let mut info = ChunkInfo::table(ChunkKind::STACK_NODES, nodes.len() as u32, 0);
            (info.stream, info.first) = (stream, first);
            first += nodes.len() as u64;
            chunks.push((info, payload));
        }
        chunks.extend(event_chunks(history, stream, layout));
    }
    match layout.shuffle {
        Some(seed) => shuffle(&mut chunks, seed),
        None => chunks.sort_by_key(|(info, _)| info.stamp_first),
    }
    let mut all = tables(history, layout);
    all.append(&mut with_epochs(chunks, layout.epochs));
    if layout.has_end {
        let end = End {
            stamp: history.end_stamp,
            how: 1,
            ..End::default()
        };
        all.push(records(&[end]));
    }
    assemble(&header(layout), all)
}

/// `chunks` with an epoch behind each chunk of events.
fn with_epochs(chunks: Vec<(ChunkInfo, Vec<u8>)>, kind: Epochs) -> Vec<(ChunkInfo, Vec<u8>)> {
    if kind == Epochs::None {
        return chunks;
    }
    let is_event = |info: &ChunkInfo| info.kind == ChunkKind::EVENTS;
    let firsts = chunks.iter().map(|(info, _)| match is_event(info) {
        true => info.stamp_first,
        false => u64::MAX,
    });
    let firsts: Vec<u64> = firsts.collect();
    let lasts = chunks.iter().map(|(info, _)| info.stamp_last).max();
    let mut all = Vec::new();
    for (place, chunk) in chunks.into_iter().enumerate() {
        let is_border = is_event(&chunk.0);
        all.push(chunk);
        if !is_border {
            continue;
        }
        let later = firsts[place + 1..].iter().copied().min();
        let later = later.filter(|&first| first != u64::MAX);
        let is_wrong = kind != Epochs::Exact && place.is_multiple_of(3);
        let true_cut = later.unwrap_or(lasts.unwrap_or(0) + 1);
        let epoch = Epoch {
            number: place as u32 + 1,
            watermark: true_cut + if is_wrong { 20 } else { 0 },
            inexact_streams: u32::from(is_wrong && kind == Epochs::Wrong { is_told: true }),
        };
        all.push(records(&[epoch]));
    }
    all
}

fn event_chunks(history: &History, stream: u32, layout: &Layout) -> Vec<(ChunkInfo, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut first = 0u64;
    let mut encoder = EventEncoder::new();
    for events in history.streams[stream as usize]
        .events
        .chunks(layout.chunk_events.max(1))
    {
        for event in events {
            encoder.push(event).unwrap();
        }
        let mut info = ChunkInfo::table(ChunkKind::EVENTS, events.len() as u32, 0);
        (info.stream, info.first) = (stream, first);
        (info.stamp_first, info.stamp_last) = encoder.stamps();
        first += events.len() as u64;
        let mut payload = Vec::new();
        encoder.finish(&mut payload);
        chunks.push((info, payload));
    }
    chunks
}

fn tables(history: &History, layout: &Layout) -> Vec<(ChunkInfo, Vec<u8>)> {
    let streams: Vec<Stream> = (0u32..history.streams.len() as u32)
        .map(|index| Stream {
            index,
            thread_id: 1000 + index,
            ..Stream::default()
        })
        .collect();
    let domains = [16u16, 17].map(|id| Domain {
        id,
        name: format!("pool{id}"),
    });
    vec![
        records(std::slice::from_ref(&layout.process)),
        records(&layout.fork_cuts),
        records(&streams),
        records(&domains),
        records(&layout.modules),
        records(&layout.codes),
        records(&layout.marks),
        records(&layout.resident),
        records(&layout.lost),
    ]
}

fn records<R: Record>(records: &[R]) -> (ChunkInfo, Vec<u8>) {
    let mut payload = Vec::new();
    for record in records {
        put_record(record, &mut payload);
    }
    (ChunkInfo::table(R::KIND, records.len() as u32, 0), payload)
}

fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = Random(seed);
    for place in (1..items.len()).rev() {
        items.swap(place, random.below(place as u64 + 1) as usize);
    }
}

fn assemble(header: &TapeHeader, chunks: Vec<(ChunkInfo, Vec<u8>)>) -> (Vec<u8>, Vec<Written>) {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let mut encoder = ChunkEncoder::new(1);
    let mut written = Vec::new();
    for (sequence, (mut info, payload)) in (0u64..).zip(chunks) {
        info.sequence = sequence;
        let offset = bytes.len() as u64;
        encoder.encode(&info, &payload, &mut bytes).unwrap();
        let stored = &bytes[offset as usize..];
        let chunk = heaptape_format::ChunkHeader::decode(stored).unwrap();
        written.push(Written {
            kind: info.kind,
            stream: info.stream,
            first: info.first,
            count: info.count,
            offset,
            bytes: chunk.unpadded_bytes(),
        });
        assert!(bytes.len().is_multiple_of(CHUNK_ALIGNMENT as usize));
    }
    (bytes, written)
}
