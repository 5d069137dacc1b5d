//! Whether a pair of malloc and free costs a thread the same however many threads there are.
//!
//! `cargo run --release -p heaptape-benches --bin scaling`. In: numbers of threads. Out: a table of
//! the processor time that a pair takes its own thread, bare and recorded. Threads that shared a
//! line of the cache on the way of an event would show here.

use anyhow::{Context, ensure};
use clap::Parser;
use heaptape_benches::{Spread, machine, programs};
use std::path::Path;
use std::process::{Command, Stdio};

/// Measures a pair's cost at several numbers of threads
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    threads: Vec<u32>,
    /// Pairs of each thread.
    #[arg(long, default_value_t = 1_000_000)]
    pairs: u64,
    /// How often each is run, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// What the rounds of one number of threads said.
struct Taken {
    threads: u32,
    bare: Vec<f64>,
    recorded: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let heaptape = programs::heaptape()?;
    let folder = tempfile::tempdir()?;
    let program = programs::compile("scaling.c", folder.path())?;
    println!("{}\n", machine::description());
    let empty = |&threads: &u32| Taken {
        threads,
        bare: Vec::new(),
        recorded: Vec::new(),
    };
    let mut taken: Vec<Taken> = arguments.threads.iter().map(empty).collect();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for row in &mut taken {
            let numbers = [row.threads.to_string(), arguments.pairs.to_string()];
            let mut bare = programs::command(&program);
            row.bare.push(pair_ns(bare.args(&numbers))?);
            let tape = folder.path().join("scaling.tape");
            let mut recorded = programs::command(&heaptape);
            recorded
                .args(["run", "--quiet", "--no-symbolize", "--force", "-o"])
                .arg(&tape)
                .arg("--")
                .arg(&program)
                .args(&numbers);
            row.recorded.push(pair_ns(&mut recorded)?);
            check(&tape, u64::from(row.threads) * arguments.pairs)?;
        }
    }
    print(&taken)
}

/// Runs the program, bare or recorded; nanoseconds that a pair took.
fn pair_ns(command: &mut Command) -> anyhow::Result<f64> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.trim()
        .parse()
        .with_context(|| format!("{command:?} said {text}"))
}

/// Fails unless every pair was recorded.
fn check(tape: &Path, pairs: u64) -> anyhow::Result<()> {
    let recording = heaptape::Recording::open(tape, &heaptape::OpenOptions::default())?;
    let lost = recording.tape().lost_events();
    let allocs = recording.summary()?.allocs;
    ensure!(lost == 0, "{lost} events were lost");
    ensure!(allocs >= pairs, "{allocs} allocations of {pairs}");
    Ok(())
}

fn print(taken: &[Taken]) -> anyhow::Result<()> {
    println!(
        "| threads | ns a pair, bare | recorded | added | of that of the first row |\n\
         |---|---|---|---|---|"
    );
    let mut first = None;
    for row in taken {
        let spread = |takes: &[f64]| Spread::of(takes.iter().copied()).context("no rounds");
        let (bare, recorded) = (spread(&row.bare)?, spread(&row.recorded)?);
        let added = recorded.median - bare.median;
        let of_first = added / *first.get_or_insert(added);
        println!(
            "| {} | {bare:.1} | {recorded:.1} | {added:.1} | {of_first:.2} |",
            row.threads
        );
    }
    Ok(())
}
