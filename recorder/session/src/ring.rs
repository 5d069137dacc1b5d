//! The ring of one stream: a sequence of chunks with one producer and one consumer.
//!
//! The producer (a thread of the target) appends whole records and publishes each with a release
//! store of the chunk's `published` word. When a chunk is full it claims another one, and links
//! it. The consumer (the drainer) reads up to `published`, follows the link, and gives the chunk
//! behind it back to the pool.
//!
//! Guarantees: a record is seen wholly or not at all, in order; what was published is readable
//! after the producer's death, between any two of its instructions; a chunk belongs to at most
//! one stream; chunks that a dead producer claimed and did not link are found by their owner
//! word. These are model-checked in `tests/loom`.
//!
//! Owner word of a chunk: `stream + 1 << 32 | low 32 bits of the stream's generation`, 0: free.

use crate::layout::{CHUNK_WORDS, Chunk, StreamSlot};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Where chunks and stream slots live: a mapped session, or plain memory in models and tests.
pub trait Memory {
    /// Chunk `index`, or `None` when there is none or its memory cannot be had.
    fn chunk(&self, index: u32) -> Option<&Chunk>;
    /// Owner word of chunk `index`.
    fn owner(&self, index: u32) -> Option<&AtomicU64>;
    /// Stream slot `index`.
    fn stream(&self, index: u32) -> Option<&StreamSlot>;
    /// How many chunks may be claimed.
    fn chunks_ready(&self) -> u32;
    /// Where the next search for a chunk begins.
    fn chunk_hint(&self) -> &AtomicU32;
    /// One more than the largest stream slot ever claimed.
    fn stream_high(&self) -> &AtomicU32;
    /// How many stream slots there are.
    fn streams(&self) -> u32;
}

/// The owner word of a stream's chunks.
#[must_use]
pub fn owner_word(stream: u32, generation: u32) -> u64 {
    (u64::from(stream) + 1) << 32 | u64::from(generation)
}

/// Claims a free chunk for a stream: one compare-and-swap, no lock. `None`: none is free.
pub fn claim_chunk<M: Memory>(memory: &M, owner: u64) -> Option<u32> {
    let ready = memory.chunks_ready();
    let hint = memory.chunk_hint().load(Ordering::Relaxed);
    for step in 0..ready {
        let index = (hint % ready + step) % ready;
        let word = memory.owner(index)?;
        // Acquire: pairs with the Release in `release_chunk`, so that the consumer's last reads
        // of the chunk come before our first writes to it.
        // A chunk whose memory cannot be mapped (the file is out of reach) is left to others.
        if word.load(Ordering::Relaxed) == 0
            && memory.chunk(index).is_some()
            && word
                .compare_exchange(0, owner, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            memory.chunk_hint().store(index + 1, Ordering::Relaxed);
            return Some(index);
        }
    }
    None
}

/// Gives a chunk back to the pool.
pub fn release_chunk<M: Memory>(memory: &M, index: u32) {
    if let Some(word) = memory.owner(index) {
        // Release: pairs with the Acquire in `claim_chunk`.
        word.store(0, Ordering::Release);
    }
}

/// Gives back every chunk of a stream that ended, linked or not; how many. For the consumer,
/// after it has read all that was published, and only when the producer is surely gone.
pub fn sweep_chunks<M: Memory>(memory: &M, owner: u64) -> u32 {
    let mut swept = 0;
    for index in 0..memory.chunks_ready() {
        let theirs = memory
            .owner(index)
            .is_some_and(|word| word.load(Ordering::Relaxed) == owner);
        if theirs {
            release_chunk(memory, index);
            swept += 1;
        }
    }
    swept
}

/// The writing end, in the private memory of the thread that owns the stream. All-zero bytes are
/// a valid producer that has no chunk yet and no stream.
#[derive(Debug)]
#[repr(C)]
pub struct Producer {
    /// The chunk that is written; null: none yet.
    chunk: *const Chunk,
    /// Words that still fit into it, at most [`CHUNK_WORDS`]; 0 without a chunk. Between two
    /// records the chunk's `published` is what was written: `CHUNK_WORDS - left`.
    left: u32,
    /// Slot of the stream.
    stream: u32,
    /// Generation of the stream.
    generation: u32,
}

/// Why a record could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// No chunk is free: wait and try again, or count the event as lost.
    NoChunk,
    /// The record is longer than a chunk.
    TooLong,
}

impl Producer {
    /// The producer of the claimed stream slot `stream` with `generation`.
    #[must_use]
    pub fn new(stream: u32, generation: u32) -> Self {
        Self {
            chunk: core::ptr::null(),
            left: 0,
            stream,
            generation,
        }
    }

    /// Slot of the stream.
    #[must_use]
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// True when `words` more words fit into the chunk that is written: the next append needs no
    /// other chunk.
    #[inline(always)]
    #[must_use]
    pub fn fits(&self, words: usize) -> bool {
        self.left as usize >= words
    }

    /// Appends the words of one record and publishes them.
    ///
    /// # Errors
    /// `NoChunk` when the pool is empty: nothing was stored.
    #[inline(always)]
    pub fn append<const N: usize, M: Memory>(
        &mut self,
        memory: &M,
        words: &[u64; N],
    ) -> Result<(), AppendError> {
        if !self.fits(N) {
            self.next_chunk(memory, N)?;
        }
        self.publish(words.iter().copied(), N as u32);
        Ok(())
    }

    /// As [`Producer::append`] when [`Producer::fits`] said so; otherwise nothing is stored.
    #[inline(always)]
    pub fn append_fitting<const N: usize>(&mut self, words: &[u64; N]) {
        if self.fits(N) {
            self.publish(words.iter().copied(), N as u32);
        }
    }

    /// Writes words for which there is room, and publishes them.
    #[inline(always)]
    fn publish(&mut self, words: impl Iterator<Item = u64>, count: u32) {
        // SAFETY: there is room, so there is a chunk; chunks of a session are never unmapped while
        // it is used, and this one is owned by this stream.
        let chunk = unsafe { &*self.chunk };
        let at = CHUNK_WORDS as u32 - self.left;
        for (place, word) in (at as usize..).zip(words) {
            // SAFETY: `count` words fit behind `at`, by the caller's check.
            let place = unsafe { chunk.words.get_unchecked(place) };
            // Relaxed: ordered by the Release below.
            place.store(word, Ordering::Relaxed);
        }
        self.left -= count;
        // Release: pairs with Acquire in `Consumer::read`.
        chunk.published.store(at + count, Ordering::Release);
    }

    /// Appends a record whose length is only known at run time.
    ///
    /// # Errors
    /// As [`Producer::append`]; `TooLong` when it can never fit.
    pub fn append_long<M: Memory>(
        &mut self,
        memory: &M,
        words: impl ExactSizeIterator<Item = u64>,
    ) -> Result<(), AppendError> {
        let count = words.len();
        if !self.fits(count) {
            self.next_chunk(memory, count)?;
        }
        // The iterator is the caller's: no more words than it promised are taken.
        self.publish(words.take(count), count as u32);
        Ok(())
    }

    /// Claims and links the next chunk.
    #[cold]
    fn next_chunk<M: Memory>(&mut self, memory: &M, words: usize) -> Result<(), AppendError> {
        if words > CHUNK_WORDS {
            return Err(AppendError::TooLong);
        }
        let owner = owner_word(self.stream, self.generation);
        let index = claim_chunk(memory, owner).ok_or(AppendError::NoChunk)?;
        let Some(chunk) = memory.chunk(index) else {
            release_chunk(memory, index);
            return Err(AppendError::NoChunk);
        };
        // Relaxed: the link below publishes them.
        chunk.next.store(0, Ordering::Relaxed);
        chunk.published.store(0, Ordering::Relaxed);
        let link = if self.chunk.is_null() {
            match memory.stream(self.stream) {
                Some(slot) => &slot.first_chunk,
                None => {
                    release_chunk(memory, index);
                    return Err(AppendError::NoChunk);
                }
            }
        } else {
            // SAFETY: as in `append`.
            unsafe { &(*self.chunk).next }
        };
        // Release: pairs with Acquire in `Consumer::read`; also orders the last `published` of
        // the old chunk before the link.
        link.store(index + 1, Ordering::Release);
        self.chunk = chunk;
        self.left = CHUNK_WORDS as u32;
        Ok(())
    }
}

/// The reading end, in the drainer.
///
/// Reading and giving back are apart: what was read stays in shared memory until its consumer
/// says, by [`Consumer::commit`], that it is safe elsewhere. So nothing is lost when the drainer
/// dies, and [`Consumer::resume`] goes on where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    stream: u32,
    /// Owner word that the stream's chunks have.
    owner: u64,
    /// The chunk that is read + 1; 0: none yet.
    chunk: u32,
    /// Words read of it.
    at: u32,
    /// The oldest chunk that was not given back + 1; 0: none yet.
    held: u32,
    /// The newest chunk that [`Consumer::pending`] has met + 1; 0: none yet.
    tail: u32,
    /// Words of the stream before that chunk.
    tail_base: u64,
    /// Words read of the stream.
    consumed: u64,
    /// Number of the last commit.
    commits: u64,
}

/// What was committed, as [`Consumer::resume`] finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Events before the place.
    pub events: u64,
    /// Stack nodes before the place.
    pub nodes: u32,
}

/// Bits of the number of a commit in a place word; above it `at`, then the chunk.
const COMMIT_BITS: u32 = 38;
const AT_BITS: u32 = 11;
const _: () = assert!(CHUNK_WORDS < 1 << AT_BITS);

impl Consumer {
    /// A consumer at the start of the stream in slot `stream` with `generation`.
    #[must_use]
    pub fn new(stream: u32, generation: u32) -> Self {
        Self {
            stream,
            owner: owner_word(stream, generation),
            chunk: 0,
            at: 0,
            held: 0,
            tail: 0,
            tail_base: 0,
            consumed: 0,
            commits: 0,
        }
    }

    /// A consumer at the place that the last drainer committed, and what stands before it. A slot
    /// without a commit gives a consumer at the start.
    #[must_use]
    pub fn resume<M: Memory>(memory: &M, stream: u32, generation: u32) -> (Self, Committed) {
        let mut consumer = Self::new(stream, generation);
        let Some(slot) = memory.stream(stream) else {
            return (consumer, Committed::default());
        };
        // Acquire: pairs with Release in `commit`.
        let places = [0, 1].map(|side: usize| slot.done_place[side].load(Ordering::Acquire));
        let number = |place: u64| place & ((1 << COMMIT_BITS) - 1);
        let side = usize::from(number(places[1]) > number(places[0]));
        let place = places[side];
        if number(place) == 0 {
            return (consumer, Committed::default());
        }
        consumer.chunk = (place >> (COMMIT_BITS + AT_BITS)) as u32;
        consumer.at = (place >> COMMIT_BITS) as u32 & ((1 << AT_BITS) - 1);
        consumer.held = consumer.chunk;
        consumer.tail = consumer.chunk;
        consumer.consumed = u64::from(consumer.at);
        consumer.commits = number(place);
        let committed = Committed {
            events: slot.done_events[side].load(Ordering::Relaxed),
            nodes: slot.done_nodes[side].load(Ordering::Relaxed),
        };
        (consumer, committed)
    }

    /// The owner word of the stream's chunks, for [`sweep_chunks`].
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// The chunk at `link` (its index + 1) with its own link and its published words. A link to a
    /// chunk of somebody else is damage: the stream ends there.
    fn linked<'m, M: Memory>(&self, memory: &'m M, link: u32) -> Option<(&'m Chunk, u32, u32)> {
        let index = link.checked_sub(1)?;
        if memory.owner(index)?.load(Ordering::Relaxed) != self.owner {
            return None;
        }
        let chunk = memory.chunk(index)?;
        // Acquire: pairs with Release in `next_chunk`. Read before `published`: when there is a
        // link, `published` is final.
        let next = chunk.next.load(Ordering::Acquire);
        // Acquire: pairs with Release in `append`.
        let published = chunk.published.load(Ordering::Acquire);
        Some((chunk, next, published.min(CHUNK_WORDS as u32)))
    }

    /// Finds the first chunk when there was none yet.
    fn start<M: Memory>(&mut self, memory: &M) {
        if self.chunk == 0
            && let Some(slot) = memory.stream(self.stream)
        {
            // Acquire: pairs with Release in `next_chunk`.
            self.chunk = slot.first_chunk.load(Ordering::Acquire);
            self.held = self.chunk;
            self.tail = self.chunk;
        }
    }

    /// How many words are published and not read. Cheap: only new chunks are looked at.
    pub fn pending<M: Memory>(&mut self, memory: &M) -> u64 {
        self.start(memory);
        // Links in a circle are damage; no stream has more chunks than there are.
        for _ in 0..=memory.chunks_ready() {
            let Some((_, next, published)) = self.linked(memory, self.tail) else {
                break;
            };
            if next == 0 {
                return (self.tail_base + u64::from(published)).saturating_sub(self.consumed);
            }
            self.tail_base += u64::from(published);
            self.tail = next;
        }
        self.tail_base.saturating_sub(self.consumed)
    }

    /// True when, as [`Consumer::pending`] saw it last, the stream had more chunks than the one
    /// that is written.
    #[must_use]
    pub fn holds_several(&self) -> bool {
        self.held != self.tail
    }

    /// Appends the next published words to `out`, at most to the end of one chunk, so always whole
    /// records; how many. 0: nothing more is published now. Nothing is given back, and the same
    /// words come again until [`Consumer::advance`] steps over them.
    pub fn words<M: Memory>(&mut self, memory: &M, out: &mut impl WordSink) -> usize {
        self.start(memory);
        for _ in 0..=memory.chunks_ready() {
            let Some((chunk, next, published)) = self.linked(memory, self.chunk) else {
                return 0;
            };
            if let Some(words) = chunk.words.get(self.at as usize..published as usize)
                && !words.is_empty()
            {
                // Relaxed: ordered by the Acquire in `linked`.
                out.words(words.iter().map(|word| word.load(Ordering::Relaxed)));
                return words.len();
            }
            if next == 0 {
                return 0;
            }
            self.chunk = next;
            self.at = 0;
        }
        0
    }

    /// Steps over `words` of those that [`Consumer::words`] gave last.
    pub fn advance(&mut self, words: usize) {
        self.at = (self.at + words as u32).min(CHUNK_WORDS as u32);
        self.consumed += words as u64;
    }

    /// Gives the chunks behind the place that was read to back to the pool; how many.
    pub fn give_back<M: Memory>(&mut self, memory: &M) -> u32 {
        let mut given = 0;
        let mut lowest = u32::MAX;
        while self.held != self.chunk {
            let Some((_, next, _)) = self.linked(memory, self.held) else {
                break;
            };
            release_chunk(memory, self.held - 1);
            lowest = lowest.min(self.held - 1);
            given += 1;
            if self.tail == self.held {
                // `pending` was not asked since: it goes on from here.
                self.tail = self.chunk;
                self.tail_base = self.consumed.saturating_sub(u64::from(self.at));
            }
            self.held = next;
        }
        self.held = self.chunk;
        if given > 0 {
            // The lowest free chunk is taken next: it is likely still in the caches, and mapped in
            // the process that claims it. Relaxed: a hint.
            memory.chunk_hint().fetch_min(lowest, Ordering::Relaxed);
        }
        given
    }

    /// States that everything up to the place that was read to is safe outside of the session,
    /// with `events` and `nodes` before it, and gives the chunks behind it back; how many. A
    /// drainer that dies inside this call leaves the last place or this one, never a mixture.
    pub fn commit<M: Memory>(&mut self, memory: &M, events: u64, nodes: u32) -> u32 {
        if let Some(slot) = memory.stream(self.stream) {
            self.commits += 1;
            let side = (self.commits & 1) as usize;
            let place = u64::from(self.chunk) << (COMMIT_BITS + AT_BITS)
                | u64::from(self.at) << COMMIT_BITS
                | self.commits & ((1 << COMMIT_BITS) - 1);
            // Relaxed: the place below publishes them.
            slot.done_events[side].store(events, Ordering::Relaxed);
            slot.done_nodes[side].store(nodes, Ordering::Relaxed);
            // Release: pairs with Acquire in `resume`; also before the chunks are given back.
            slot.done_place[side].store(place, Ordering::Release);
        }
        self.give_back(memory)
    }

    /// Appends the published words that were not read yet to `out`, up to about `limit` words (a
    /// chunk is read whole), and gives read chunks back. Returns how many words were added; fewer
    /// than `limit` means that nothing more is published right now.
    ///
    /// What the other side wrote is not trusted: a wrong link ends the stream, a wrong count is
    /// clamped.
    pub fn read<M: Memory>(&mut self, memory: &M, out: &mut impl WordSink, limit: usize) -> usize {
        let mut added = 0;
        while added < limit {
            let words = self.words(memory, out);
            if words == 0 {
                break;
            }
            self.advance(words);
            added += words;
        }
        self.give_back(memory);
        added
    }
}

/// Takes the words that a [`Consumer`] reads.
pub trait WordSink {
    /// One word.
    fn word(&mut self, word: u64);

    /// Several words; what knows a faster way than one after the other says so.
    fn words(&mut self, words: impl ExactSizeIterator<Item = u64>) {
        words.for_each(|word| self.word(word));
    }
}

#[cfg(any(test, loom))]
impl WordSink for std::vec::Vec<u64> {
    fn word(&mut self, word: u64) {
        self.push(word);
    }
}
