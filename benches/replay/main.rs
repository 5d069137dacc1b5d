//! How fast a tape answers: index, opening, live heap, diff, timeline.
//!
//! `cargo run --release -p heaptape-benches --bin replay -- [--events 4,20] [TAPE…]`. Synthetic
//! histories come from the generator of the replay's own tests; 20 million events need about 4 GiB
//! of memory while the tape is made. Times are of one core and of all; a question is asked at
//! random moments, and its median and its worst are told.

mod questions;
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "written for tests, which use all of it and may fail"
)]
#[path = "../../replay/tests/support/mod.rs"]
mod support;

use anyhow::Context;
use clap::Parser;
use heaptape_benches::machine;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Instant;
use support::generate::{long_script, play};
use support::write::{self, Layout};

/// Streams of a synthetic history.
const STREAMS: usize = 4;
/// One of so many events' blocks is alive at a time.
const EVENTS_PER_LIVE_BLOCK: usize = 40;
/// Events of a chunk, as the drainer has them.
const CHUNK_EVENTS: usize = 32_768;

/// Measures how fast a tape answers
#[derive(Debug, Parser)]
struct Arguments {
    /// Sizes of synthetic histories, in millions of events.
    #[arg(long, value_delimiter = ',', default_value = "4,20")]
    events: Vec<usize>,
    /// Only the given tapes.
    #[arg(long)]
    no_synthetic: bool,
    /// Tapes to measure too; they are not written to.
    tapes: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let (used, start) = (machine::cpu_seconds(), Instant::now());
    println!("{}", machine::description());
    let mut tapes = Vec::new();
    if !arguments.no_synthetic {
        for millions in &arguments.events {
            let path = folder.path().join(format!("{millions}M.tape"));
            eprintln!("making {millions} M events");
            std::fs::write(&path, synthetic(millions * 1_000_000))?;
            tapes.push((format!("synthetic, {millions} M steps"), path));
        }
    }
    for (place, tape) in arguments.tapes.iter().enumerate() {
        // A copy: the index of the original is left alone.
        let path = folder.path().join(format!("given-{place}.tape"));
        std::fs::copy(tape, &path).with_context(|| tape.display().to_string())?;
        let name = tape.file_name().unwrap_or_default().to_string_lossy();
        tapes.push((name.into_owned(), path));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, threads];
    threads.dedup();
    for (name, path) in &tapes {
        measure(name, path, &threads)?;
    }
    warn_when_busy(machine::cpu_seconds() - used, start.elapsed().as_secs_f64());
    Ok(())
}

/// `used`: CPU of the whole machine in `wall` seconds.
fn warn_when_busy(used: f64, wall: f64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is valid for the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid value, and the kernel filled it in.
    let usage = unsafe { usage.assume_init() };
    let ours = machine::seconds(usage.ru_utime) + machine::seconds(usage.ru_stime);
    let busy = ((used - ours) / wall).max(0.0);
    println!("\nOthers used {busy:.2} cores meanwhile.");
    if busy > machine::BUSY_MAX {
        println!(
            "**More than {}: these figures are not to be quoted.**",
            machine::BUSY_MAX
        );
    }
}

fn measure(name: &str, path: &Path, threads: &[usize]) -> anyhow::Result<()> {
    eprintln!("asking {name}");
    let mut columns = Vec::new();
    for &threads in threads {
        columns.push(questions::ask(path, threads)?);
    }
    println!("\n### {name}: {}\n", questions::words(path, &columns)?);
    let heads: Vec<String> = threads.iter().map(|n| format!("{n} threads")).collect();
    println!(
        "| | {} |",
        heads.join(" | ").replace("1 threads", "1 thread")
    );
    println!("|---|{}", "---|".repeat(threads.len()));
    for (place, row) in questions::ROWS.iter().enumerate() {
        let cells = columns.iter().filter_map(|column| column.cells.get(place));
        let cells: Vec<&str> = cells.map(String::as_str).collect();
        println!("| {row} | {} |", cells.join(" | "));
    }
    Ok(())
}

/// A tape of about `events` events.
fn synthetic(events: usize) -> Vec<u8> {
    let live = (events / EVENTS_PER_LIVE_BLOCK).max(1) as u64;
    let history = play(&long_script(7, events, live), STREAMS, false);
    let layout = Layout {
        chunk_events: CHUNK_EVENTS,
        chunk_nodes: CHUNK_EVENTS,
        ..Layout::default()
    };
    write::tape(&history, &layout).0
}
