//! How fast a tape answers: decoding, index, snapshots, differences, owners, timelines.
//!
//! `cargo run --release -p heaptape-benches --bin replay -- [--sizes 10M,100M] [TAPE…]`. Synthetic
//! tapes come from the generator (`generate`), with its parameters. Commands are run as a user
//! runs them; other questions are asked of an opened recording in this process. Each is asked at
//! random moments, on one thread and on all, and a half and nineteen twentieths of them were no
//! slower than what is told.

mod commands;
mod latency;
mod questions;
mod table;

use anyhow::Context;
use clap::Parser;
use heaptape_benches::generate::parameters::number;
use heaptape_benches::generate::{Parameters, generate};
use heaptape_benches::{machine, programs};
use std::path::{Path, PathBuf};
use std::time::Instant;
use table::{Column, Figures};

/// Measures how fast a tape answers
#[derive(Debug, Parser)]
#[command(mut_arg("events", |events| events.hide(true)))]
struct Arguments {
    /// Events of the synthetic tapes.
    #[arg(long, value_delimiter = ',', default_value = "10M,100M", value_parser = number)]
    sizes: Vec<u64>,
    /// No synthetic tapes, only the given ones.
    #[arg(long)]
    no_synthetic: bool,
    /// Where tapes are made, and removed again; as a rule the system's folder for such files.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Tapes to measure too; they are not written to.
    tapes: Vec<PathBuf>,
    #[command(flatten)]
    parameters: Parameters,
}

/// The tape that has a million live blocks.
const MILLION: u64 = 1_000_000;
const MILLION_EVENTS: u64 = 20_000_000;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let heaptape = programs::heaptape()?;
    let (used, start) = (cpu_seconds_of_others(), Instant::now());
    println!("{}", machine::description());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, threads];
    threads.dedup();
    let sizes = match arguments.no_synthetic {
        true => &[],
        false => arguments.sizes.as_slice(),
    };
    let mut synthetic = Vec::new();
    for &events in sizes {
        let path = folder.path().join("synthetic.tape");
        let parameters = Parameters {
            events,
            ..arguments.parameters.clone()
        };
        make(&path, &parameters)?;
        let name = format!("synthetic, {} M", events / 1_000_000);
        let figures = measure(&heaptape, name, &path, &threads)?;
        figures.print();
        synthetic.push(figures);
        remove(&path)?;
    }
    for tape in &arguments.tapes {
        // A copy: the index of the original is left alone.
        let path = folder.path().join("given.tape");
        std::fs::copy(tape, &path).with_context(|| tape.display().to_string())?;
        let name = tape.file_name().unwrap_or_default().to_string_lossy();
        measure(&heaptape, name.into_owned(), &path, &threads)?.print();
        remove(&path)?;
    }
    table::print_growth(&synthetic);
    if !sizes.is_empty() {
        million(&heaptape, folder.path(), &arguments.parameters, &threads)?;
    }
    let used = cpu_seconds_of_others() - used;
    warn_when_busy(used, start.elapsed().as_secs_f64());
    Ok(())
}

fn make(path: &Path, parameters: &Parameters) -> anyhow::Result<()> {
    eprintln!("making {} M events", parameters.events / 1_000_000);
    generate(path, parameters, &mut |_| {})?;
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(path)?;
    let _ = std::fs::remove_file(path.with_extension("tape.idx"));
    Ok(())
}

fn measure(
    heaptape: &Path,
    name: String,
    path: &Path,
    threads: &[usize],
) -> anyhow::Result<Figures> {
    eprintln!("decoding {name}");
    let (events, decode_seconds) = questions::decode(path)?;
    let mut columns = Vec::new();
    for &threads in threads {
        eprintln!("asking {name} on {threads} threads");
        columns.push(Column {
            threads,
            built: commands::index(heaptape, path, threads)?,
            stats: commands::stats(heaptape, path, threads)?,
            diff: commands::diff(heaptape, path, threads)?,
            answers: questions::ask(path, threads)?,
        });
    }
    Ok(Figures {
        name,
        events,
        tape_bytes: path.metadata()?.len(),
        decode_seconds,
        columns,
    })
}

/// A tape with a million live blocks, of which the live set is asked for.
fn million(
    heaptape: &Path,
    folder: &Path,
    like: &Parameters,
    threads: &[usize],
) -> anyhow::Result<()> {
    let path = folder.join("million.tape");
    let parameters = Parameters {
        events: MILLION_EVENTS,
        live: MILLION,
        ..like.clone()
    };
    make(&path, &parameters)?;
    println!(
        "\n#### A million live blocks, {} M events\n",
        MILLION_EVENTS / 1_000_000
    );
    for &threads in threads {
        let built = commands::index(heaptape, &path, threads)?;
        let (latency, live) = questions::live_million(&path, threads)?;
        println!(
            "- {threads} threads: live set {latency} ms for each million blocks (must: ≤ 15), up \
             to {live} blocks; index {:.2} s, {:.0} MiB RssAnon, {:.0} % of the tape",
            built.seconds,
            built.anonymous_kib as f64 / 1024.0,
            built.index_bytes as f64 * 100.0 / path.metadata()?.len() as f64,
        );
    }
    remove(&path)
}

/// The same spread-out shares of the run every time, from 0 to 1 (a golden-ratio sequence).
fn somewhere(take: usize) -> f64 {
    (take as f64 + 1.0)
        .mul_add(0.618_033_988_749_894_9, 0.1)
        .fract()
}

/// CPU that everything else on the machine has used since it started.
fn cpu_seconds_of_others() -> f64 {
    let ours = [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(machine::own_cpu_seconds);
    machine::cpu_seconds() - ours.into_iter().sum::<f64>()
}

/// `used`: CPU of all others in `wall` seconds.
fn warn_when_busy(used: f64, wall: f64) {
    let busy = (used / wall).max(0.0);
    println!("\nOthers used {busy:.2} cores meanwhile.");
    if busy > machine::BUSY_MAX {
        println!(
            "**More than {}: these figures are not to be quoted.**",
            machine::BUSY_MAX
        );
    }
}
