//! The drainer: how fast it empties rings, and what it does under pressure.
//!
//! `cargo run --release -p heaptape-benches --bin drain`. *Rate*: the words of a recorded program
//! are put into a session and drained here, on one core. *Pressure*: programs that allocate as
//! fast as they can are recorded; lost events, the longest call and the memory that it took.

mod pressure;
mod rate;

use clap::Parser;
use heaptape_benches::{machine, programs};

/// Measures the drainer: its rate, and recordings under pressure
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each run under pressure.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Threads of the runs under pressure.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,64")]
    threads: Vec<u32>,
    /// Pairs of the program whose words are drained.
    #[arg(long, default_value_t = 2_000_000)]
    pairs: u64,
    /// How often those words are drained.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let heaptape = programs::heaptape()?;
    let folder = tempfile::tempdir()?;
    println!("{}\n", machine::description());

    eprintln!("rate");
    let rate = rate::measure(&heaptape, folder.path(), arguments.pairs, arguments.rounds)?;
    println!(
        "Rings to tape, on one core: {:.1} M events/s ({:.1} ns an event), best of {} rounds of \
         {} events; {:.2} bytes an event. Busy {:.2}.\n",
        rate.events as f64 / rate.best_seconds / 1e6,
        rate.best_seconds / rate.events as f64 * 1e9,
        arguments.rounds,
        rate.events,
        rate.tape_bytes as f64 / rate.events as f64,
        rate.busy,
    );

    let program = programs::compile("pressure.c", folder.path())?;
    println!("{}", pressure::HEADER);
    for threads in arguments.threads {
        eprintln!("{threads} threads");
        let run = pressure::Run {
            heaptape: &heaptape,
            program: &program,
            folder: folder.path(),
            threads,
            seconds: arguments.seconds,
        };
        println!("{}", run.row()?);
    }
    Ok(())
}
