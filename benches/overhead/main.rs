//! What recording costs whole programs, beside heaptrack and, for Python, memray and tracemalloc,
//! where they are installed.
//!
//! `cargo run --release -p heaptape-benches --bin overhead -- [--rounds N] [--workloads …]`. Each
//! round runs every recorder once, so that a slow minute of the machine meets all of them. It
//! prints one table a workload. A tape that lost events, and a program that ended or wrote
//! otherwise than bare, are not quoted.

mod table;
mod take;
mod workload;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use heaptape_benches::{machine, programs};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use table::Column;
use take::take;
use workload::{Recorder, Workload};

/// Measures what recording costs whole programs
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each recorder runs each workload.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Which workloads.
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Vec<Workload>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let workloads = match &arguments.workloads[..] {
        [] => Workload::value_variants(),
        some => some,
    };
    let heaptape = programs::heaptape()?;
    let built = tempfile::tempdir()?;
    println!("{}, {} rounds", machine::description(), arguments.rounds);
    let mut busy_max = 0.0f64;
    for &workload in workloads {
        let line = workload.build(built.path())?;
        let recorders = workload.recorders()?.into_iter();
        let mut columns: Vec<Column> = recorders.map(Column::new).collect();
        for round in 1..=arguments.rounds {
            let mut bare_output = Vec::new();
            for column in &mut columns {
                eprintln!("{} {round}: {}", workload.name(), column.recorder.name());
                run(column, &line, &heaptape, &mut bare_output)?;
            }
        }
        print!("{}", table::markdown(workload, &columns));
        let busy = columns.iter().flat_map(|column| &column.takes);
        busy_max = busy.map(|take| take.busy).fold(busy_max, f64::max);
    }
    if busy_max > machine::BUSY_MAX {
        println!(
            "\n**Others used up to {busy_max:.2} cores meanwhile (more than {}): these figures of \
             time are not to be quoted.**",
            machine::BUSY_MAX
        );
    }
    Ok(())
}

/// One run, added to its column. `bare_output` is set by the bare run and compared by the others.
fn run(
    column: &mut Column,
    line: &[OsString],
    heaptape: &Path,
    bare_output: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let recorder = column.recorder;
    let mut command = recorder.command(line, heaptape, folder.path());
    let taken = take(&mut command, folder.path())?;
    let errors = folder.path().join("stderr");
    ensure!(
        taken.status.success(),
        "{command:?}: {}\n{}",
        taken.status,
        fs::read_to_string(errors)?
    );
    let output = fs::read(folder.path().join("stdout"))?;
    match recorder {
        Recorder::Bare => *bare_output = output,
        // It writes lines of its own to standard output.
        Recorder::Heaptrack | Recorder::Memray | Recorder::MemrayNative => column
            .recorded
            .push(recorder.recorded_bytes(folder.path())?),
        Recorder::Tracemalloc => {}
        Recorder::Heaptape | Recorder::Unsymbolized | Recorder::PythonStacks => {
            ensure!(
                output == *bare_output,
                "{command:?} wrote something else than the bare program"
            );
            column
                .recorded
                .push(recorder.recorded_bytes(folder.path())?);
            column.facts.push(workload::facts(heaptape, folder.path())?);
        }
    }
    column.takes.push(taken);
    Ok(())
}
