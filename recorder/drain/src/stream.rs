//! One stream: from the words of a ring to chunks of a tape.
//!
//! In: the published records of one thread. Out: stack nodes, events and what else stood between
//! them, in the thread's order. Words stay in shared memory until their events are in the tape, so
//! a drainer that dies loses nothing: [`Consumer::commit`] says what is safe, and the tape itself
//! says what was written after the last commit, so nothing is written twice.

use crate::clock::Clock;
use crate::code::CodeParts;
use crate::notes::Notes;
use crate::press::{Press, Words};
use crate::recovered::Written;
use crate::tape::TapeWriter;
use heaptape_format::event::{DomainId, Event, Operation};
use heaptape_format::tables::{CutReason, Frame, Lost, StackNode, Stream};
use heaptape_session::layout::StreamSlot;
use heaptape_session::record::short::{Short, decode_short, short_addresses};
use heaptape_session::record::{Record, RingEvent, blob, blob_bytes, decode};
use heaptape_session::ring::{Consumer, Memory};
use heaptape_session::sync::Ordering;

/// Events of one chunk.
pub const EVENTS_PER_CHUNK: u32 = 32_768;
/// For so many events the encoder is told at once which addresses are coming.
const EVENTS_AHEAD: usize = 128;
/// Stack nodes of one chunk.
const NODES_PER_CHUNK: usize = 65_536;
/// When so many words wait, a full chunk of events is likely among them.
pub const WORDS_PER_CHUNK: u64 = EVENTS_PER_CHUNK as u64 * 5 / 2;

/// The drainer's side of one stream slot.
#[derive(Debug)]
pub struct StreamState {
    consumer: Consumer,
    /// Slot of the process.
    pub process: u32,
    /// Generation of the stream slot.
    pub generation: u32,
    /// The stream's record in the tape.
    facts: Stream,
    /// The record is not in the tape, or was changed since.
    facts_changed: bool,
    /// Events and stack nodes before the consumer's place.
    events: u64,
    nodes: u32,
    /// Words that were taken.
    consumed: u64,
    /// The tape has these already (another drainer wrote them).
    written_events: u64,
    written_nodes: u32,
    last_stamp: u64,
    /// The code object of which the thread tells.
    code: CodeParts,
    /// Records that could not be understood, and events that the format refused.
    faults: u64,
    /// Something that waited was worth a tape.
    has_news: bool,
    /// So many words that wait are not.
    silent_words: u64,
    /// Passes without anything new.
    pub idle_passes: u32,
}

impl StreamState {
    /// The stream in slot `index`, from where the last drainer left it.
    pub fn new<M: Memory>(
        memory: &M,
        index: u32,
        slot: &StreamSlot,
        owner: (u32, u32),
        clock: &Clock,
    ) -> Self {
        let (process, generation) = owner;
        let (consumer, committed) = Consumer::resume(memory, index, generation);
        Self {
            consumer,
            process,
            generation,
            facts: Stream {
                index: slot.number.load(Ordering::Relaxed),
                thread_id: slot.thread_id.load(Ordering::Relaxed),
                level: slot.level.load(Ordering::Relaxed).min(255) as u8,
                stamp: clock.stamp(slot.birth_ticks.load(Ordering::Relaxed)),
                name: slot_name(slot),
            },
            facts_changed: true,
            events: committed.events,
            nodes: committed.nodes,
            consumed: 0,
            written_events: committed.events,
            written_nodes: committed.nodes,
            last_stamp: 0,
            code: CodeParts::default(),
            faults: 0,
            has_news: false,
            silent_words: 0,
            idle_passes: 0,
        }
    }

    /// The tape that is continued has this of the stream.
    pub fn skip_written(&mut self, written: &Written) {
        self.written_events = self.written_events.max(written.events);
        self.written_nodes = self.written_nodes.max(written.nodes);
        self.last_stamp = written.last_stamp;
    }

    /// Number of the stream in the tape.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.facts.index
    }

    /// Kernel's id of the thread.
    #[must_use]
    pub fn thread_id(&self) -> u32 {
        self.facts.thread_id
    }

    /// No event that was not taken yet has a smaller stamp.
    #[must_use]
    pub fn taken_until(&self) -> u64 {
        self.last_stamp.max(self.facts.stamp)
    }

    /// Words that were taken.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Words that wait.
    pub fn pending<M: Memory>(&mut self, memory: &M) -> u64 {
        self.consumer.pending(memory)
    }

    /// True when what waits is worth a tape: events, or anything else than who the image is.
    pub fn has_news<M: Memory>(&mut self, memory: &M) -> bool {
        let pending = self.consumer.pending(memory);
        if !self.has_news && pending != self.silent_words {
            self.silent_words = pending;
            self.has_news = self.consumer.holds_several() || self.says_something(memory);
        }
        self.has_news
    }

    /// Looks at what waits in one chunk, without taking it.
    fn says_something<M: Memory>(&mut self, memory: &M) -> bool {
        let mut words = Words::default();
        self.consumer.words(memory, &mut words);
        let mut rest = words.0.as_slice();
        while !rest.is_empty() {
            match decode(rest) {
                Some((Record::Blob(kind, ..), taken)) if tells_who(kind) => {
                    rest = rest.get(taken..).unwrap_or_default();
                }
                _ => return true,
            }
        }
        false
    }

    /// True when the stream holds more than the chunk that is written: sealing it gives chunks
    /// back.
    pub fn gives_back<M: Memory>(&mut self, memory: &M) -> bool {
        self.consumer.pending(memory) > 0 && self.consumer.holds_several()
    }

    /// Records that could not be understood.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Reads up to one chunk's worth of events into the tape; false when nothing was there.
    /// What stands between the events goes to `notes`, which the caller writes out.
    pub fn seal<M: Memory>(
        &mut self,
        memory: &M,
        clock: &Clock,
        press: &mut Press,
        notes: &mut Notes,
        tape: &mut TapeWriter,
    ) -> bool {
        let first_node = self.nodes.max(self.written_nodes) + 1;
        press.nodes.clear();
        let mut words = 0;
        while press.events.len() < press.events_max && press.nodes.len() < NODES_PER_CHUNK {
            let taken = self.take_words(memory, clock, press, notes);
            if taken == 0 {
                break;
            }
            words += taken;
        }
        if words == 0 {
            return false;
        }
        let index = self.facts.index;
        notes.write_first(press, tape);
        notes.look_for_names(&press.nodes);
        if self.facts_changed {
            self.facts_changed = false;
            let stamp = self.facts.stamp;
            tape.table(press, std::slice::from_ref(&self.facts), (stamp, stamp));
        }
        let nodes = std::mem::take(&mut press.nodes);
        tape.nodes(press, index, first_node, &nodes);
        press.nodes = nodes;
        let first = self.events - u64::from(press.events.len());
        tape.events(press, index, first);
        notes.write_last(press, tape);
        self.consumer.commit(memory, self.events, self.nodes);
        true
    }

    /// Takes the records of one piece of the ring, as many as fit into the chunk; how many words.
    fn take_words<M: Memory>(
        &mut self,
        memory: &M,
        clock: &Clock,
        press: &mut Press,
        notes: &mut Notes,
    ) -> usize {
        let mut words = std::mem::take(&mut press.words);
        words.0.clear();
        let count = self.consumer.words(memory, &mut words);
        let mut at = 0;
        while press.events.len() < press.events_max {
            at += self.take_short(words.0.get(at..).unwrap_or_default(), clock, press);
            let rest = words.0.get(at..).unwrap_or_default();
            if rest.is_empty() || press.events.len() >= press.events_max {
                break;
            }
            let Some((record, taken)) = decode(rest) else {
                // Records never cross pieces: this one is damaged, and with it its piece.
                self.faults += 1;
                at = count;
                break;
            };
            at += taken;
            self.take_record(record, clock, press, notes);
        }
        self.consumer.advance(at);
        self.consumed += at as u64;
        press.words = words;
        at
    }

    /// Takes records from the start of `words` while they are plain allocations and frees, which
    /// almost all are; how many words they took.
    #[inline]
    fn take_short(&mut self, words: &[u64], clock: &Clock, press: &mut Press) -> usize {
        if self.events < self.written_events {
            return 0;
        }
        let mut at = 0;
        loop {
            let words = words.get(at..).unwrap_or_default();
            press
                .events
                .announce(short_addresses(words).take(EVENTS_AHEAD));
            let taken = self.take_few(words, clock, press);
            at += taken;
            if taken == 0 {
                return at;
            }
        }
    }

    /// As [`StreamState::take_short`], no more than [`EVENTS_AHEAD`].
    #[inline(always)]
    fn take_few(&mut self, words: &[u64], clock: &Clock, press: &mut Press) -> usize {
        let (shift, nodes) = (clock.shift(), self.nodes);
        let (mut at, mut last_stamp) = (0, self.last_stamp);
        let (mut frees, mut allocs, mut bytes) = (0u64, 0u64, 0u64);
        let room = press.events_max.saturating_sub(press.events.len());
        for _ in 0..EVENTS_AHEAD.min(room as usize) {
            let short = words.get(at..).and_then(decode_short);
            let stamp_of = |ticks: u64| (ticks >> shift).max(last_stamp);
            let (stamp, taken) = match short {
                Some(Short::Allocation {
                    operation,
                    ticks,
                    address,
                    size,
                    stack,
                }) => {
                    let stamp = stamp_of(ticks);
                    // A node that never came is no node.
                    let stack = if stack <= nodes { stack } else { 0 };
                    let (operation, size) = (Operation(operation), u64::from(size));
                    let pushed = press
                        .events
                        .push_allocation(operation, stamp, address, size, stack);
                    if pushed.is_err() {
                        break;
                    }
                    (allocs, bytes) = (allocs + 1, bytes + size);
                    (stamp, Short::ALLOCATION_WORDS)
                }
                Some(Short::Free {
                    operation,
                    ticks,
                    address,
                }) => {
                    let stamp = stamp_of(ticks);
                    let pushed = press.events.push_free(Operation(operation), stamp, address);
                    if pushed.is_err() {
                        break;
                    }
                    frees += 1;
                    (stamp, Short::FREE_WORDS)
                }
                // What is refused above comes here too: the general way counts it as a fault.
                None => break,
            };
            last_stamp = stamp;
            at += taken;
        }
        self.last_stamp = last_stamp;
        self.events += frees + allocs;
        press.counts.add_short(allocs, frees, bytes);
        at
    }

    fn take_record(
        &mut self,
        record: Record<'_>,
        clock: &Clock,
        press: &mut Press,
        notes: &mut Notes,
    ) {
        match record {
            Record::Event(event) => self.take_event(&event, clock, press),
            Record::Node(parent, module, offset, exact) => {
                let frame = Frame::Native {
                    module,
                    offset,
                    exact,
                };
                self.take_node(StackNode { parent, frame }, press);
            }
            Record::Cut(parent, reason) => {
                let frame = Frame::Cut(match reason {
                    1 => CutReason::Depth,
                    _ => CutReason::Unknown,
                });
                self.take_node(StackNode { parent, frame }, press);
            }
            Record::PythonNode(parent, code, instruction) => {
                let frame = Frame::Python { code, instruction };
                self.take_node(StackNode { parent, frame }, press);
            }
            Record::Blob(blob::CODE, _, bytes, content) => {
                let content: Vec<u8> = blob_bytes(content, bytes).collect();
                if let Some(code) = self.code.take(&content) {
                    notes.add_code(code);
                }
            }
            Record::Blob(kind, ticks, bytes, content) => {
                let stamp = clock.stamp(ticks);
                let name = notes.take(kind, stamp, self.facts.index, bytes, content, clock);
                if let Some(name) = name.filter(|name| *name != self.facts.name) {
                    self.facts.name = name;
                    self.facts_changed = true;
                }
            }
        }
    }

    fn take_node(&mut self, node: StackNode, press: &mut Press) {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.written_nodes {
            press.nodes.push(node);
        }
    }

    fn take_event(&mut self, ring: &RingEvent, clock: &Clock, press: &mut Press) {
        let operation = Operation(ring.operation);
        let stamp = clock.stamp(ring.ticks).max(self.last_stamp);
        let end_stamp = clock.stamp(ring.end_ticks).max(stamp);
        let event = Event {
            operation,
            stamp,
            end_stamp,
            old_address: ring.old_address,
            old_size: ring.old_size,
            address: ring.address,
            size: ring.size,
            // A node that never came is no node.
            stack: if ring.stack <= self.nodes {
                ring.stack
            } else {
                0
            },
            alignment_log2: ring.alignment_log2,
            domain: if operation.is_custom() {
                DomainId(ring.domain)
            } else {
                operation.implied_domain()
            },
            reference: None,
        };
        if self.events < self.written_events {
            // The last drainer wrote it and died before it could say so.
            self.events += 1;
            return;
        }
        match press.events.push(&event) {
            Ok(()) => {
                self.events += 1;
                self.last_stamp = end_stamp;
                press.counts.add(operation.kind(), event.size);
            }
            Err(_) => self.faults += 1,
        }
    }

    /// What the slot says was lost; the thread's name is read once more too.
    pub fn last_words(&mut self, slot: &StreamSlot, clock: &Clock) -> Option<Lost> {
        let name = slot_name(slot);
        if !name.is_empty() && name != self.facts.name {
            self.facts.name = name;
            self.facts_changed = true;
        }
        let count = slot.lost.load(Ordering::Relaxed);
        (count > 0).then(|| Lost {
            stream: self.facts.index,
            count,
            stamp_first: clock.stamp(slot.lost_first.load(Ordering::Relaxed)),
            stamp_last: clock.stamp(slot.lost_last.load(Ordering::Relaxed)),
            reason: slot.lost_reason.load(Ordering::Relaxed).min(255) as u8,
        })
    }

    /// Writes the stream's record when it changed since the last time, or was never written
    /// although the tape has to name the stream.
    pub fn write_facts(&mut self, press: &mut Press, tape: &mut TapeWriter) {
        if self.facts_changed {
            self.facts_changed = false;
            let stamp = self.facts.stamp;
            tape.table(press, std::slice::from_ref(&self.facts), (stamp, stamp));
        }
    }
}

/// True for what an image says of itself before its first event.
fn tells_who(kind: u8) -> bool {
    matches!(
        kind,
        blob::MODULE
            | blob::EXECUTABLE
            | blob::COMMAND
            | blob::WORKING_FOLDER
            | blob::ALLOCATOR
            | blob::THREAD_NAME
            | blob::FORK_CUTS
    )
}

/// The thread's name in a slot.
fn slot_name(slot: &StreamSlot) -> String {
    let bytes: Vec<u8> = slot
        .name
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    heaptape_format::text::of_bytes(&bytes)
}
