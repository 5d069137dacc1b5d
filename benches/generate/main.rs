//! Makes a synthetic tape, and tells what is true of it.
//!
//! `cargo run --release -p heaptape-benches --bin generate -- OUT.tape --events 100M`. The
//! parameters are in `parameters.rs`; equal ones make equal bytes.

use anyhow::{Context, ensure};
use clap::Parser;
use heaptape_benches::generate::{Parameters, generate};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Makes a tape of a model program: the same parameters, the same bytes
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the tape goes.
    tape: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// Where the truth goes, in JSON.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    parameters: Parameters,
}

fn main() -> anyhow::Result<()> {
    let Arguments {
        tape,
        force,
        truth,
        parameters,
    } = Arguments::parse();
    if tape.exists() {
        ensure!(force, "{}: is there; --force replaces it", tape.display());
        std::fs::remove_file(&tape)?;
    }
    let start = Instant::now();
    let is_seen = std::io::stderr().is_terminal();
    let made = generate(&tape, &parameters, &mut |events| {
        if is_seen && events % (1 << 20) == 0 {
            eprint!(
                "\r{} M of {} M events",
                events >> 20,
                parameters.events >> 20
            );
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if is_seen {
        eprintln!();
    }
    let (events, bytes) = (parameters.events as f64, tape.metadata()?.len() as f64);
    println!(
        "{}: {:.2} M events in {seconds:.1} s ({:.1} M events/s), {:.1} MiB, {:.2} bytes an event, \
         {} blocks alive at the end",
        tape.display(),
        events / 1e6,
        events / 1e6 / seconds,
        bytes / 1_048_576.0,
        bytes / events,
        made.truth.live.count,
    );
    if let Some(path) = truth {
        let json = made.truth.json(&parameters, &made.stacks);
        let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        serde_json::to_writer_pretty(&mut file, &json)?;
        writeln!(file)?;
    }
    Ok(())
}
