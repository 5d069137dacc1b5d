//! Instructions that the recorder adds to a pair of malloc and free, counted by callgrind.
//!
//! `cargo run --release -p heaptape-benches --bin instructions`. Each figure is the slope between
//! two numbers of pairs, so what starting costs cancels out; other load does not change it. The
//! session is a real one, drained here, so rings never fill.

mod count;

use anyhow::{Context, ensure};
use count::{Counter, Layer};
use heaptape_benches::{machine, programs};

/// A shape of workloads/pair.c and its depth.
const CASES: [(&str, u32); 7] = [
    ("fixed", 5),
    ("fixed", 15),
    ("fixed", 40),
    ("rebuilt", 15),
    ("sites", 15),
    ("walk", 10),
    ("walk", 15),
];
/// Pairs of the shorter and the longer run. Both fit into the memory that a session starts with.
const PAIRS: (u64, u64) = (20_000, 60_000);

fn main() -> anyhow::Result<()> {
    programs::find("valgrind").context("valgrind is not there: install valgrind")?;
    let heaptape = programs::heaptape()?;
    let folder = tempfile::tempdir()?;
    let counter = Counter {
        library: programs::library(&heaptape, folder.path())?,
        program: programs::compile("pair.c", folder.path())?,
        folder: folder.path().to_owned(),
    };
    println!("{}", machine::description());
    println!("\nInstructions a pair: bare, and added by each layer to bare.\n");
    println!("| shape | frames | bare | off | without stacks | with stacks |");
    println!("|---|---|---|---|---|---|");
    for (shape, depth) in CASES {
        let mut costs = Vec::new();
        let mut frames = 0;
        for layer in Layer::ALL {
            eprintln!("{shape} {depth}: {}", layer.name());
            let short = counter.run(layer, shape, depth, PAIRS.0)?;
            let long = counter.run(layer, shape, depth, PAIRS.1)?;
            ensure!(
                long.instructions > short.instructions,
                "more pairs took fewer instructions"
            );
            let added = (long.instructions - short.instructions) as f64;
            costs.push(added / (PAIRS.1 - PAIRS.0) as f64);
            frames = frames.max(long.frames);
        }
        let bare = costs.first().copied().unwrap_or_default();
        let added = costs
            .iter()
            .skip(1)
            .map(|cost| format!("{:.0}", cost - bare));
        let added: Vec<String> = added.collect();
        println!(
            "| {shape} {depth} | {frames} | {bare:.0} | {} |",
            added.join(" | ")
        );
    }
    Ok(())
}
