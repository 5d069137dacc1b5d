//! From what a model program does to a tape, as the drainer writes it: the same encoder, chunks of
//! the same size, the same tables between them, and an epoch for each second of the model's time.

use super::parameters::Parameters;
use super::random::Random;
use super::stacks::Stacks;
use anyhow::{Context, ensure};
use heaptape_drain::clock::TSC_SHIFT;
use heaptape_drain::drainer::{PAIR_GAP_NS, SAMPLE_GAP_NS, SEAL_GAP_NS};
use heaptape_drain::press::Press;
use heaptape_drain::stream::EVENTS_PER_CHUNK;
use heaptape_drain::tape::{EventCounts, FinishedTape, TapeWriter};
use heaptape_drain::tape_file::TapeFile;
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo};
use heaptape_format::event::{Event, EventEncoder, Operation, OperationKind};
use heaptape_format::header::ClockKind;
use heaptape_format::symbols::{parts, put_symbols};
use heaptape_format::tables::{
    ClockPair, End, Epoch, Mark, Process, ResidentSample, StackNode, Stream,
};
use heaptape_format::{ChunkKind, TapeHeader};
use std::mem;
use std::path::Path;

/// Ticks of the model's clock in a second.
pub const TICKS_PER_SECOND: u64 = 2_500_000_000;
/// When all model programs began, in nanoseconds since 1970.
const START_REALTIME_NS: u64 = 1_767_225_600_000_000_000;
const START_BOOTTIME_NS: u64 = 3_600_000_000_000;
/// Process id of all model programs; its threads have the ids behind it.
const PID: u32 = 4000;
/// Resident memory beside the heap.
const RESIDENT_BYTES: u64 = 12 << 20;
/// Symbols are packed as `heaptape run` packs them.
const SYMBOLS_LEVEL: i32 = 6;

/// One thread's part of the tape.
struct Line {
    facts: Stream,
    is_told: bool,
    encoder: EventEncoder,
    counts: EventCounts,
    /// Events before those in the encoder.
    events: u64,
    /// Id in this stream of each node, 0 when it was not used.
    ids: Vec<u32>,
    /// Nodes that are not in the tape, the first of which has the id `first_node`.
    nodes: Vec<StackNode>,
    first_node: u32,
}

/// See the module.
pub struct Writer<'s> {
    stacks: &'s Stacks,
    tape: TapeWriter,
    press: Press,
    lines: Vec<Line>,
    marks: Vec<Mark>,
    samples: Vec<ResidentSample>,
    pairs: Vec<ClockPair>,
    epochs: u32,
    /// Stamps at which the next sample, cut and pair are due; the first of them.
    next: [u64; 3],
    next_due: u64,
    /// A node's ancestors that are new.
    path: Vec<u32>,
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

fn stamps(ns: u64) -> u64 {
    (ns * (TICKS_PER_SECOND / 100_000_000) / 10) >> TSC_SHIFT
}

fn ns(stamp: u64) -> u64 {
    (stamp << TSC_SHIFT) * 10 / (TICKS_PER_SECOND / 100_000_000)
}

fn header(random: &mut Random) -> TapeHeader {
    let mut id = || {
        let mut bytes = [0; 16];
        bytes.fill_with(|| random.draw() as u8);
        bytes
    };
    let mut header = TapeHeader::new(ClockKind::Tsc, TICKS_PER_SECOND, 0);
    header.tape_id = id();
    header.session_id = id();
    header.boot_id = id();
    header.start_realtime_ns = START_REALTIME_NS;
    header.start_boottime_ns = START_BOOTTIME_NS;
    header.start_ticks = START_BOOTTIME_NS / 10 * 25;
    header.pid = PID;
    header.stamp_shift = TSC_SHIFT;
    header
}

fn process(parameters: &Parameters) -> Process {
    Process {
        pid: PID,
        parent_pid: PID - 1,
        executable: "/generated/bin/model".into(),
        command: vec!["model".into(), format!("{parameters:?}")],
        working_folder: "/generated".into(),
        recorder_version: env!("CARGO_PKG_VERSION").into(),
        allocator: "/generated/lib/libc.so.6".into(),
        ..Process::default()
    }
}

impl<'s> Writer<'s> {
    /// Begins the tape at `path`, which must not exist.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn begin(
        path: &Path,
        parameters: &Parameters,
        stacks: &'s Stacks,
        random: &mut Random,
    ) -> anyhow::Result<Self> {
        let file = TapeFile::create(path, u64::MAX).with_context(|| path.display().to_string())?;
        let mut tape = TapeWriter::begin(file, header(random));
        let mut press = Press::new();
        tape.table(&mut press, &[process(parameters)], (0, 0));
        tape.table(&mut press, &stacks.modules(random), (0, 0));
        let line = |index: u32| Line {
            facts: Stream {
                index,
                thread_id: PID + index,
                name: match index {
                    0 => "model".to_owned(),
                    _ => format!("worker-{index}"),
                },
                ..Stream::default()
            },
            is_told: false,
            encoder: EventEncoder::new(),
            counts: EventCounts::default(),
            events: 0,
            ids: vec![0; stacks.node_count() + 1],
            nodes: Vec::new(),
            first_node: 1,
        };
        Ok(Self {
            stacks,
            tape,
            press,
            lines: (0..parameters.threads).map(line).collect(),
            marks: Vec::new(),
            samples: Vec::new(),
            pairs: vec![pair(0)],
            epochs: 0,
            next: [SAMPLE_GAP_NS, SEAL_GAP_NS, PAIR_GAP_NS].map(stamps),
            next_due: stamps(SAMPLE_GAP_NS),
            path: Vec::new(),
        })
    }

    /// What the drainer does beside the events, up to `stamp`, which is now.
    #[inline]
    pub fn reach(&mut self, stamp: u64, live_bytes: u64) {
        if stamp >= self.next_due {
            self.tend(stamp, live_bytes);
        }
    }

    #[cold]
    fn tend(&mut self, stamp: u64, live_bytes: u64) {
        let [sample, seal, pair_due] = self.next;
        if stamp >= sample {
            self.next[0] = stamp + stamps(SAMPLE_GAP_NS);
            self.samples.push(ResidentSample {
                stamp,
                resident_bytes: RESIDENT_BYTES + (live_bytes * 9 / 8).next_multiple_of(4096),
                shared_bytes: RESIDENT_BYTES / 2,
            });
        }
        if stamp >= pair_due {
            self.next[2] = stamp + stamps(PAIR_GAP_NS);
            self.pairs.push(pair(stamp));
        }
        if stamp >= seal {
            self.next[1] = stamp + stamps(SEAL_GAP_NS);
            self.cut(stamp);
        }
        self.next_due = self.next.into_iter().min().unwrap_or(u64::MAX);
    }

    /// Seals all streams and says that nothing below `stamp` follows.
    fn cut(&mut self, stamp: u64) {
        for thread in 0..self.lines.len() {
            self.seal(thread);
        }
        self.write_waiting();
        self.epochs += 1;
        let epoch = Epoch {
            number: self.epochs,
            watermark: stamp,
            inexact_streams: 0,
        };
        self.tape.table(&mut self.press, &[epoch], (stamp, stamp));
    }

    fn write_waiting(&mut self) {
        let Self { tape, press, .. } = self;
        let span = |first: Option<u64>, last: Option<u64>| {
            (first.unwrap_or_default(), last.unwrap_or_default())
        };
        let of = |samples: &[ResidentSample]| {
            let stamp = |sample: &ResidentSample| sample.stamp;
            span(samples.first().map(stamp), samples.last().map(stamp))
        };
        tape.table(press, &self.samples, of(&self.samples));
        self.samples.clear();
        let pairs = &self.pairs;
        let stamp = |pair: &ClockPair| pair.stamp;
        tape.table(
            press,
            pairs,
            span(pairs.first().map(stamp), pairs.last().map(stamp)),
        );
        self.pairs.clear();
        let (marks, stamp) = (&self.marks, |mark: &Mark| mark.stamp);
        tape.table(
            press,
            marks,
            span(marks.first().map(stamp), marks.last().map(stamp)),
        );
        self.marks.clear();
    }

    /// `thread` begins at `stamp`.
    pub fn begin_thread(&mut self, thread: u32, stamp: u64) {
        self.lines[thread as usize].facts.stamp = stamp;
    }

    /// `thread` sets a mark.
    pub fn mark(&mut self, thread: u32, stamp: u64, name: String) {
        self.marks.push(Mark {
            stamp,
            stream: thread,
            name,
        });
    }

    /// `thread` gets a block.
    ///
    /// # Errors
    /// When the encoder refuses the event, as in the other events.
    #[inline]
    pub fn allocation(
        &mut self,
        thread: u32,
        stamp: u64,
        address: u64,
        size: u32,
        leaf: u32,
    ) -> anyhow::Result<()> {
        let leaf = self.stacks.leaves[leaf as usize];
        let stack = self.stack(thread, leaf.node);
        let line = &mut self.lines[thread as usize];
        if leaf.operation.is_aligned() {
            let mut event = Event::new(leaf.operation, stamp);
            (event.address, event.size) = (address, u64::from(size));
            (event.stack, event.alignment_log2) = (stack, 4);
            line.encoder.push(&event)?;
        } else {
            let size = u64::from(size);
            line.encoder
                .push_allocation(leaf.operation, stamp, address, size, stack)?;
        }
        line.counts.add_short(1, 0, u64::from(size));
        self.pushed(thread)
    }

    /// `thread` frees a block.
    ///
    /// # Errors
    /// As [`Writer::allocation`].
    #[inline]
    pub fn free(&mut self, thread: u32, stamp: u64, address: u64) -> anyhow::Result<()> {
        let line = &mut self.lines[thread as usize];
        line.encoder.push_free(Operation::FREE, stamp, address)?;
        line.counts.add_short(0, 1, 0);
        self.pushed(thread)
    }

    /// `thread` reallocates a block: `event` without its stack, which is that of `leaf`.
    ///
    /// # Errors
    /// As [`Writer::allocation`].
    pub fn reallocation(&mut self, thread: u32, event: Event, leaf: u32) -> anyhow::Result<()> {
        let node = self.stacks.leaves[leaf as usize].node;
        let stack = self.stack(thread, node);
        let line = &mut self.lines[thread as usize];
        line.encoder.push(&Event { stack, ..event })?;
        line.counts.add(OperationKind::Realloc, event.size);
        self.pushed(thread)
    }

    #[inline]
    fn pushed(&mut self, thread: u32) -> anyhow::Result<()> {
        if self.lines[thread as usize].encoder.len() >= EVENTS_PER_CHUNK {
            self.seal(thread as usize);
            if let Some(problem) = self.tape.full() {
                anyhow::bail!("{problem}");
            }
        }
        Ok(())
    }

    /// The node of `thread`'s stream that stands for `node`.
    #[inline]
    fn stack(&mut self, thread: u32, node: u32) -> u32 {
        match self.lines[thread as usize].ids[node as usize] {
            0 => self.new_stack(thread, node),
            id => id,
        }
    }

    #[cold]
    fn new_stack(&mut self, thread: u32, node: u32) -> u32 {
        let line = &mut self.lines[thread as usize];
        let mut at = node;
        while at != 0 && line.ids[at as usize] == 0 {
            self.path.push(at);
            at = self.stacks.node(at).0;
        }
        let mut id = line.ids[at as usize];
        while let Some(at) = self.path.pop() {
            let frame = self.stacks.node(at).1;
            line.nodes.push(StackNode { parent: id, frame });
            id = line.first_node + line.nodes.len() as u32 - 1;
            line.ids[at as usize] = id;
        }
        id
    }

    /// Writes what a stream has, as the drainer does: who it is, its new nodes, its events.
    fn seal(&mut self, thread: usize) {
        let Self { tape, press, .. } = self;
        let line = &mut self.lines[thread];
        if line.encoder.is_empty() {
            return;
        }
        let stream = line.facts.index;
        if !line.is_told {
            line.is_told = true;
            let stamp = line.facts.stamp;
            tape.table(press, std::slice::from_ref(&line.facts), (stamp, stamp));
        }
        tape.nodes(press, stream, line.first_node, &line.nodes);
        line.first_node += line.nodes.len() as u32;
        line.nodes.clear();
        let events = u64::from(line.encoder.len());
        mem::swap(&mut press.events, &mut line.encoder);
        press.counts = mem::take(&mut line.counts);
        tape.events(press, stream, line.events);
        mem::swap(&mut press.events, &mut line.encoder);
        line.events += events;
    }

    /// The program exits at `stamp`; its symbols are added, and the tape is whole.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn finish(mut self, stamp: u64) -> anyhow::Result<FinishedTape> {
        for thread in 0..self.lines.len() {
            self.seal(thread);
        }
        self.write_waiting();
        let end = End {
            stamp,
            how: 1,
            ..End::default()
        };
        let finished = self.tape.finish(&mut self.press, end);
        ensure!(finished.problem.is_none(), "{:?}", finished.problem);
        let path = finished.path.as_deref().context("no tape was written")?;
        let mut chunks = Vec::new();
        let mut encoder = ChunkEncoder::new(SYMBOLS_LEVEL);
        for (sequence, part) in (finished.chunks..).zip(parts(&self.stacks.symbols())) {
            let info = ChunkInfo::table(ChunkKind::SYMBOLS, part.len() as u32, sequence);
            encoder.encode(&info, &put_symbols(part), &mut chunks)?;
        }
        let mut file = TapeFile::open(path)?;
        file.append_last(&chunks)?;
        file.finish();
        Ok(finished)
    }
}

/// A moment of the model's time on all clocks.
fn pair(stamp: u64) -> ClockPair {
    let ns = ns(stamp);
    ClockPair {
        stamp,
        monotonic_ns: START_BOOTTIME_NS + ns,
        realtime_ns: START_REALTIME_NS + ns,
        boottime_ns: START_BOOTTIME_NS + ns,
    }
}
