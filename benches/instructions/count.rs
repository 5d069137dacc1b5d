//! One run of workloads/pair.c under callgrind.
//!
//! In: a layer, a shape and a number of pairs. Out: the instructions of the whole run, and what
//! the tape says: a run of which not every pair was recorded, or not with its stack, is an error.

use anyhow::{Context, ensure};
use heaptape::{OpenOptions, Recording};
use heaptape_benches::programs::command;
use heaptape_drain::process_info::Stat;
use heaptape_drain::{Drainer, Names, Settings};
use heaptape_session::layout::options;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How the program itself is started, so that the library is in the program alone and not in
/// valgrind.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// The block that each pair has, in bytes.
const BLOCK_BYTES: u64 = 48;
/// The longest wait between two passes of the drainer: what is published leaves soon.
const SLEEP_MAX: Duration = Duration::from_millis(5);

/// How much of the recorder takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// None of it.
    Bare,
    /// The library is there and switched off (`HEAPTAPE=0`).
    Off,
    /// Stamps and records, no stacks.
    WithoutStacks,
    /// All of it.
    Full,
}

impl Layer {
    /// All, the cheapest first.
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Off, Self::WithoutStacks, Self::Full];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Off => "off",
            Self::WithoutStacks => "without stacks",
            Self::Full => "with stacks",
        }
    }
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    /// Instructions, start and end included.
    pub(crate) instructions: u64,
    /// Frames of the pairs' stacks (of most of them, when they differ); 0 without stacks.
    pub(crate) frames: usize,
}

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) library: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Counter {
    /// Runs `pairs` pairs.
    pub(crate) fn run(
        &self,
        layer: Layer,
        shape: &str,
        depth: u32,
        pairs: u64,
    ) -> anyhow::Result<Counted> {
        let counts = self.folder.join("callgrind");
        let mut valgrind = command("valgrind");
        valgrind
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(LOADER);
        if layer != Layer::Bare {
            valgrind.arg("--preload").arg(&self.library);
        }
        valgrind
            .arg(&self.program)
            .args([shape, &depth.to_string(), &pairs.to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.join("messages"))?);
        let frames = match layer {
            Layer::Bare | Layer::Off => {
                let status = valgrind.env("HEAPTAPE", "0").status()?;
                ensure!(status.success(), self.failure(&valgrind, status));
                0
            }
            Layer::WithoutStacks | Layer::Full => self.record(layer, &mut valgrind, pairs)?,
        };
        let text = std::fs::read_to_string(&counts)
            .with_context(|| format!("callgrind wrote no {}", counts.display()))?;
        let instructions = total(&text).context("callgrind's file has no total")?;
        Ok(Counted {
            instructions,
            frames,
        })
    }

    fn failure(&self, command: &Command, status: ExitStatus) -> String {
        let messages = std::fs::read_to_string(self.folder.join("messages"));
        format!("{command:?}: {status}\n{}", messages.unwrap_or_default())
    }

    /// Runs `command` in a session that is drained here; the frames of its stacks.
    fn record(&self, layer: Layer, command: &mut Command, pairs: u64) -> anyhow::Result<usize> {
        let tape = self.folder.join("pair.tape");
        let _ = std::fs::remove_file(&tape);
        let settings = Settings {
            options: match layer {
                Layer::Full => 0,
                _ => options::NO_NATIVE_STACKS,
            },
            ..Settings::default()
        };
        let mut drainer = Drainer::create(&settings, &tape)?;
        drainer.create_tape(Names::new(&tape))?;
        command.env("HEAPTAPE_SESSION", drainer.session_path());
        let child = command.spawn();
        let ended = match child {
            Ok(child) => drain(&mut drainer, child),
            Err(error) => Err(error),
        };
        drainer.finish();
        let status = ended?;
        ensure!(status.success(), self.failure(command, status));
        frames_of_pairs(&tape, pairs)
    }
}

fn drain(drainer: &mut Drainer, mut child: Child) -> std::io::Result<ExitStatus> {
    let start_time = Stat::of(child.id()).map_or(0, |stat| stat.start_time);
    drainer.set_root(child.id(), start_time, vec!["pair".to_owned()]);
    loop {
        let sleep = drainer.pass();
        if let Some(status) = child.try_wait()? {
            drainer.root_ended(status.into_raw());
            return Ok(status);
        }
        drainer.wait(sleep.min(SLEEP_MAX), &[]);
    }
}

/// Checks that the tape has every pair; how many frames most of their stacks have.
fn frames_of_pairs(tape: &Path, pairs: u64) -> anyhow::Result<usize> {
    let options = OpenOptions {
        use_index: false,
        write_index: false,
        ..OpenOptions::default()
    };
    let recording = Recording::open(tape, &options)?;
    let lost = recording.tape().lost_events();
    ensure!(lost == 0, "{lost} events were lost");
    let mut counts = std::collections::BTreeMap::new();
    for lifetime in recording.lifetimes(0, u64::MAX)? {
        if lifetime.block.size == BLOCK_BYTES && lifetime.death.is_some() {
            let frames = recording.tape().frames(lifetime.block.stack).count();
            *counts.entry(frames).or_insert(0u64) += 1;
        }
    }
    let recorded: u64 = counts.values().sum();
    ensure!(
        recorded >= pairs,
        "{recorded} pairs of {pairs} were recorded"
    );
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    Ok(most.map_or(0, |(frames, _)| frames))
}

/// The instructions that a file of callgrind's tells in sum.
fn total(text: &str) -> Option<u64> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    of("totals:").or_else(|| of("summary:"))
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_found() {
        let text = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n3 4\ntotals: 34\n";
        assert_eq!(total(text), Some(34));
        assert_eq!(total("summary: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
