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
//! word. These are model-checked in `tests/loom.rs`.
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
    /// Words written to it: equals its `published` between two records.
    at: u32,
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
            at: 0,
            stream,
            generation,
        }
    }

    /// Slot of the stream.
    #[must_use]
    pub fn stream(&self) -> u32 {
        self.stream
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
        if self.chunk.is_null() || self.at as usize + N > CHUNK_WORDS {
            self.next_chunk(memory, N)?;
        }
        // SAFETY: not null here; chunks of a session are never unmapped while it is used, and
        // this one is owned by this stream.
        let chunk = unsafe { &*self.chunk };
        let at = self.at as usize;
        if let Some(places) = chunk.words.get(at..at + N) {
            for (place, word) in places.iter().zip(words) {
                // Relaxed: ordered by the Release below.
                place.store(*word, Ordering::Relaxed);
            }
        }
        self.at += N as u32;
        // Release: pairs with Acquire in `Consumer::read`.
        chunk.published.store(self.at, Ordering::Release);
        Ok(())
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
        if self.chunk.is_null() || self.at as usize + count > CHUNK_WORDS {
            self.next_chunk(memory, count)?;
        }
        // SAFETY: as in `append`.
        let chunk = unsafe { &*self.chunk };
        let at = self.at as usize;
        if let Some(places) = chunk.words.get(at..at + count) {
            for (place, word) in places.iter().zip(words) {
                place.store(word, Ordering::Relaxed);
            }
        }
        self.at += count as u32;
        // Release: pairs with Acquire in `Consumer::read`.
        chunk.published.store(self.at, Ordering::Release);
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
        self.at = 0;
        Ok(())
    }
}

/// The reading end, in the drainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    stream: u32,
    /// Owner word that the stream's chunks have.
    owner: u64,
    /// The chunk that is read + 1; 0: none yet.
    chunk: u32,
    /// Words read of it.
    at: u32,
}

impl Consumer {
    /// A consumer at the start of the stream in slot `stream` with `generation`.
    #[must_use]
    pub fn new(stream: u32, generation: u32) -> Self {
        Self {
            stream,
            owner: owner_word(stream, generation),
            chunk: 0,
            at: 0,
        }
    }

    /// The owner word of the stream's chunks, for [`sweep_chunks`].
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner
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
            if self.chunk == 0 {
                let Some(slot) = memory.stream(self.stream) else {
                    break;
                };
                // Acquire: pairs with Release in `next_chunk`.
                self.chunk = slot.first_chunk.load(Ordering::Acquire);
                if self.chunk == 0 {
                    break;
                }
                self.at = 0;
            }
            // A link to a chunk of somebody else is damage: the stream ends here.
            let owned = memory
                .owner(self.chunk - 1)
                .is_some_and(|word| word.load(Ordering::Relaxed) == self.owner);
            let Some(chunk) = memory.chunk(self.chunk - 1).filter(|_| owned) else {
                break;
            };
            // Acquire: pairs with Release in `next_chunk`. Read before `published`: when there is
            // a link, `published` is final.
            let next = chunk.next.load(Ordering::Acquire);
            // Acquire: pairs with Release in `append`.
            let published = chunk
                .published
                .load(Ordering::Acquire)
                .min(CHUNK_WORDS as u32);
            if let Some(words) = chunk.words.get(self.at as usize..published as usize) {
                for word in words {
                    // Relaxed: ordered by the Acquire above.
                    out.word(word.load(Ordering::Relaxed));
                }
                added += words.len();
                self.at = published;
            }
            if next == 0 {
                break;
            }
            release_chunk(memory, self.chunk - 1);
            self.chunk = next;
            self.at = 0;
        }
        added
    }
}

/// Takes the words that a [`Consumer`] reads.
pub trait WordSink {
    /// One word.
    fn word(&mut self, word: u64);
}

#[cfg(any(test, loom))]
impl WordSink for std::vec::Vec<u64> {
    fn word(&mut self, word: u64) {
        self.push(word);
    }
}
