//! How fast words of rings become a tape.
//!
//! In: a program that is recorded first. Out: the CPU that the drainer takes for its words. They
//! are put into a session as that program's thread had put them, as many as fit, and drained, in
//! turn; only the draining is timed: reading the ring, columns, zstd, checksums, writing.

use anyhow::{Context, ensure};
use heaptape_benches::{machine, programs};
use heaptape_drain::{Drainer, Names, Settings};
use heaptape_format::event::{Event, EventReader};
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::stack::{Frame, stack_nodes};
use heaptape_format::{ChunkKind, TapeHeader};
use heaptape_session::layout::phase;
use heaptape_session::map::SessionMap;
use heaptape_session::record::{RingEvent, cut, event, node, python_node};
use heaptape_session::ring::{AppendError, Memory, Producer};
use heaptape_session::slots::{claim_process, claim_stream, set_process_phase, set_stream_phase};
use heaptape_session::sync::Ordering;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) events: u64,
    pub(crate) best_seconds: f64,
    pub(crate) tape_bytes: u64,
    /// CPU that everything else on the machine used meanwhile, in cores.
    pub(crate) busy: f64,
}

/// CPU of this process's threads so far, in seconds.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call to fill in.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Records `stacks PAIRS`, and drains its words again `rounds` times.
pub(crate) fn measure(
    heaptape: &Path,
    folder: &Path,
    pairs: u64,
    rounds: u32,
) -> anyhow::Result<Rate> {
    let program = programs::compile("stacks.c", folder)?;
    let tape = folder.join("rate.tape");
    let mut record = programs::command(heaptape);
    record
        .args(["run", "--quiet", "--no-symbolize", "--force", "-o"])
        .arg(&tape)
        .arg("--")
        .arg(&program)
        .arg(pairs.to_string())
        .stdout(std::process::Stdio::null());
    programs::succeed(&mut record)?;
    let records = records(&std::fs::read(&tape)?)?;
    let mut rate = Rate {
        events: records.iter().filter(|record| record.is_event).count() as u64,
        best_seconds: f64::INFINITY,
        tape_bytes: 0,
        busy: 0.0,
    };
    let (used, own, start) = (machine::cpu_seconds(), cpu_seconds(), Instant::now());
    for round in 0..rounds {
        let output = folder.join(format!("rate.{round}.tape"));
        let seconds = drain(&records, &output)?;
        rate.best_seconds = rate.best_seconds.min(seconds);
        rate.tape_bytes = std::fs::metadata(&output)?.len();
        std::fs::remove_file(&output)?;
    }
    let others = machine::cpu_seconds() - used - (cpu_seconds() - own);
    rate.busy = (others / start.elapsed().as_secs_f64()).max(0.0);
    Ok(rate)
}

/// The words of one record.
struct Words {
    words: [u64; 8],
    count: usize,
    is_event: bool,
}

/// The records of the first stream of `tape`, as they stood in the ring.
fn records(tape: &[u8]) -> anyhow::Result<Vec<Words>> {
    let (header, start) = TapeHeader::decode(tape)?;
    let mut records = Vec::new();
    let mut payload = Vec::new();
    for found in Scan::new(tape, start) {
        let Found::Chunk(chunk) = found else {
            continue;
        };
        if chunk.header.stream != 0 {
            continue;
        }
        chunk.payload(tape, &mut payload)?;
        match chunk.header.kind {
            ChunkKind::STACK_NODES => put_nodes(&chunk, &payload, &mut records)?,
            ChunkKind::EVENTS => {
                let events =
                    EventReader::new(&payload, chunk.header.count, chunk.header.stamp_first)?;
                for event in events {
                    records.push(event_words(&event?, header.stamp_shift));
                }
            }
            _ => {}
        }
    }
    ensure!(!records.is_empty(), "the recorded program has no events");
    Ok(records)
}

fn put_nodes(chunk: &FoundChunk, payload: &[u8], records: &mut Vec<Words>) -> anyhow::Result<()> {
    for found in stack_nodes(payload, chunk.header.count, chunk.header.first)? {
        let mut words = [0; 8];
        let count = match found.frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => {
                let [head, offset] = node(found.parent, module, offset, exact);
                (words[0], words[1]) = (head, offset);
                2
            }
            Frame::Python { code, instruction } => {
                let [head, place] = python_node(found.parent, code, instruction);
                (words[0], words[1]) = (head, place);
                2
            }
            Frame::Cut(reason) => {
                [words[0]] = cut(found.parent, reason as u8);
                1
            }
        };
        records.push(Words {
            words,
            count,
            is_event: false,
        });
    }
    Ok(())
}

fn event_words(found: &Event, shift: u8) -> Words {
    let (words, count) = event(&RingEvent {
        operation: found.operation.0,
        ticks: found.stamp << shift,
        end_ticks: found.end_stamp << shift,
        old_address: found.old_address,
        old_size: found.old_size,
        address: found.address,
        size: found.size,
        stack: found.stack,
        alignment_log2: found.alignment_log2,
        domain: found.domain.0,
    });
    Words {
        words,
        count,
        is_event: true,
    }
}

/// Drains `records` into a tape at `output`; seconds of CPU.
fn drain(records: &[Words], output: &Path) -> anyhow::Result<f64> {
    let mut drainer = Drainer::create(&Settings::default(), output)?;
    drainer.create_tape(Names::new(output))?;
    drainer.set_root(std::process::id(), 0, vec!["rate".to_owned()]);
    let path = CString::new(drainer.session_path().as_os_str().as_bytes())?;
    let session = SessionMap::open(&path).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let (process, _) = claim_process(&session, std::process::id()).context("no process slot")?;
    let slot = session.process(process).context("no process slot")?;
    set_process_phase(slot, phase::RUNNING);
    let (stream, generation) = claim_stream(&session, process).context("no stream slot")?;
    let slot = session.stream(stream).context("no stream slot")?;
    slot.thread_id.store(std::process::id(), Ordering::Relaxed);
    set_stream_phase(slot, phase::RUNNING);
    let mut producer = Producer::new(stream, generation);
    let mut seconds = 0.0;
    for record in records {
        loop {
            let words = record.words.iter().copied().take(record.count);
            match producer.append_long(&session, words) {
                Ok(()) => break,
                Err(AppendError::NoChunk) => {
                    let start = cpu_seconds();
                    drainer.pass();
                    seconds += cpu_seconds() - start;
                }
                Err(AppendError::TooLong) => anyhow::bail!("a record is too long"),
            }
        }
    }
    set_stream_phase(slot, phase::FINISHED);
    let start = cpu_seconds();
    drainer.root_ended(0);
    drainer.finish();
    seconds += cpu_seconds() - start;
    Ok(seconds)
}
