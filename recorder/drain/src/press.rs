//! The encoders and buffers that all streams share, since one stream is sealed at a time.

use crate::stream::EVENTS_PER_CHUNK;
use crate::tape::EventCounts;
use heaptape_format::chunk::ChunkEncoder;
use heaptape_format::event::EventEncoder;
use heaptape_format::tables::StackNode;
use heaptape_session::ring::WordSink;

/// zstd's level while recording: higher ones cost more time than they save bytes.
const ZSTD_LEVEL: i32 = 1;

/// See the module.
#[derive(Debug)]
pub struct Press {
    /// Events of the chunk that is being made.
    pub events: EventEncoder,
    /// So many at most.
    pub events_max: u32,
    /// What they are.
    pub counts: EventCounts,
    /// Makes chunks of payloads.
    pub chunks: ChunkEncoder,
    /// Stack nodes that the events use.
    pub nodes: Vec<StackNode>,
    /// Words of the ring.
    pub words: Words,
    /// A payload, before compression.
    pub payload: Vec<u8>,
}

/// A buffer of ring words.
#[derive(Debug, Default)]
pub struct Words(pub Vec<u64>);

impl WordSink for Words {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0.push(word);
    }

    #[inline]
    fn words(&mut self, words: impl ExactSizeIterator<Item = u64>) {
        self.0.extend(words);
    }
}

impl Default for Press {
    fn default() -> Self {
        Self::new()
    }
}

impl Press {
    /// Empty encoders.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: EventEncoder::new(),
            events_max: EVENTS_PER_CHUNK,
            counts: EventCounts::default(),
            chunks: ChunkEncoder::new(ZSTD_LEVEL),
            nodes: Vec::new(),
            words: Words::default(),
            payload: Vec::new(),
        }
    }
}
