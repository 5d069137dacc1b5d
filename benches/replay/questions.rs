//! Questions to an opened recording, inside of a running process; and how fast a tape decodes.

use crate::latency::{Latency, cpu_ms};
use crate::somewhere;
use heaptape::stats::Query;
use heaptape::stats::query::At;
use heaptape::{OpenOptions, Recording};
use heaptape_format::chunk::{ChunkDecoder, ChunkHeader};
use heaptape_format::event::{EventReader, OperationKind};
use heaptape_format::{ChunkKind, TapeHeader};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Points of a timeline.
const POINTS: usize = 1000;

/// How long an opened recording took to answer, on one number of threads.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) opened: Latency,
    pub(crate) stats: Latency,
    pub(crate) diff: Latency,
    pub(crate) owner: Latency,
    /// For a million live blocks.
    pub(crate) live_million: Latency,
    pub(crate) timeline: Latency,
    /// Most blocks alive at a moment that was asked for.
    pub(crate) live: usize,
}

fn options(threads: usize) -> OpenOptions {
    OpenOptions {
        threads: Some(threads),
        ..OpenOptions::default()
    }
}

/// The stamp at a share of the run.
fn stamp(recording: &Recording, share: f64) -> u64 {
    let tape = recording.tape();
    tape.start_stamp + ((tape.end_stamp - tape.start_stamp) as f64 * share) as u64
}

/// Milliseconds for each million of blocks that are alive at random moments, and the most of them.
pub(crate) fn live_million(path: &Path, threads: usize) -> anyhow::Result<(Latency, usize)> {
    let recording = Recording::open(path, &options(threads))?;
    recording.summary()?;
    let (mut live, mut takes, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    // The first take reads the index from the disk, and counts for nothing.
    recording.live_heap(stamp(&recording, 0.5))?;
    Latency::of(|take| {
        let (used, start) = (cpu_ms(), Instant::now());
        let blocks = recording
            .live_heap(stamp(&recording, somewhere(take)))?
            .len();
        let million = 1e6 / blocks.max(1) as f64;
        takes.push(start.elapsed().as_secs_f64() * 1e3 * million);
        cpu.push((cpu_ms() - used) * million);
        live.push(blocks);
        Ok(())
    })?;
    let most = live.into_iter().max().unwrap_or(0);
    Ok((Latency::of_takes(takes, cpu), most))
}

/// Asks everything of the tape at `path`, which has an index.
pub(crate) fn ask(path: &Path, threads: usize) -> anyhow::Result<Answers> {
    let open = || -> anyhow::Result<Recording> {
        let recording = Recording::open(path, &options(threads))?;
        recording.summary()?;
        Ok(recording)
    };
    let opened = Latency::of(|_| open())?;
    let recording = open()?;
    let at = |take: usize| At {
        recording: &recording,
        stamp: stamp(&recording, somewhere(take)),
    };
    let query = Query::default();
    // The symbols are read once in a running process.
    query.live(at(0))?;
    let stats = Latency::of(|take| Ok(query.live(at(take))?))?;
    let diff = Latency::of(|take| Ok(query.diff(at(take), at(take + 100))?))?;
    let (live_million, live) = live_million(path, threads)?;
    let blocks = recording.live_heap(at(1).stamp)?;
    let owner = Latency::of(|take| {
        let place = (somewhere(take) * blocks.len() as f64) as usize;
        let address = blocks.get(place).map_or(0, |block| block.address);
        Ok(recording.owners(address)?)
    })?;
    let timeline = Latency::of(|_| Ok(recording.timeline(POINTS)?))?;
    Ok(Answers {
        opened,
        stats,
        diff,
        owner,
        live_million,
        timeline,
        live,
    })
}

/// Seconds of CPU of this thread.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call to fill in.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Events of the tape at `path`, and the CPU that one thread takes to decode them all: reading the
/// file, checksums, zstd, columns.
pub(crate) fn decode(path: &Path) -> anyhow::Result<(u64, f64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut header = vec![0; 65536.min(bytes as usize)];
    file.read_exact_at(&mut header, 0)?;
    let (_, header_bytes) = TapeHeader::decode(&header)?;
    let (mut at, mut events, mut sum) = (header_bytes as u64, 0, 0u64);
    let (mut decoder, mut payload, mut stored) = (ChunkDecoder::new(), Vec::new(), Vec::new());
    let start = cpu_seconds();
    while at < bytes {
        let mut head = [0; 64];
        file.read_exact_at(&mut head, at)?;
        let chunk = ChunkHeader::decode(&head)?;
        if chunk.kind == ChunkKind::EVENTS {
            stored.resize(chunk.stored_bytes as usize, 0);
            file.read_exact_at(&mut stored, at + head.len() as u64)?;
            decoder.payload(&chunk, &stored, &mut payload)?;
            for event in EventReader::new(&payload, chunk.count, chunk.stamp_first)? {
                let event = event?;
                sum = sum.wrapping_add(match event.operation.kind() {
                    OperationKind::Free => event.old_address,
                    _ => event.address ^ event.size ^ u64::from(event.stack),
                });
            }
            events += u64::from(chunk.count);
        }
        at += chunk.total_bytes();
    }
    black_box(sum);
    Ok((events, cpu_seconds() - start))
}
