//! Whole processes: `heaptape index`, `stats` and `diff` as a user runs them.

use crate::latency::Latency;
use crate::somewhere;
use anyhow::{Context, ensure};
use heaptape_benches::{machine, memory, programs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// An index that was built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Built {
    pub(crate) seconds: f64,
    /// CPU of all its threads.
    pub(crate) cpu_seconds: f64,
    /// Most anonymous memory of the process.
    pub(crate) anonymous_kib: u64,
    pub(crate) index_bytes: u64,
}

fn quiet(heaptape: &Path, verb: &str, threads: usize) -> Command {
    let mut command = programs::command(heaptape);
    command
        .arg(verb)
        .arg("--threads")
        .arg(threads.to_string())
        .stdout(Stdio::null());
    command
}

/// Builds the index of `tape` anew, and leaves it there.
pub(crate) fn index(heaptape: &Path, tape: &Path, threads: usize) -> anyhow::Result<Built> {
    let index = tape.with_extension("tape.idx");
    let _ = std::fs::remove_file(&index);
    let (cpu, start) = (
        machine::own_cpu_seconds(libc::RUSAGE_CHILDREN),
        Instant::now(),
    );
    let mut child = quiet(heaptape, "index", threads)
        .arg(tape)
        .spawn()
        .with_context(|| heaptape.display().to_string())?;
    let anonymous_kib = memory::watch(&mut child)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(child.wait()?.success(), "heaptape index failed");
    Ok(Built {
        seconds,
        cpu_seconds: machine::own_cpu_seconds(libc::RUSAGE_CHILDREN) - cpu,
        anonymous_kib,
        index_bytes: index.metadata()?.len(),
    })
}

/// A moment as the command line takes it.
fn moment(take: usize) -> String {
    format!("{:.4}%", somewhere(take) * 100.0)
}

/// `heaptape stats` at random moments.
pub(crate) fn stats(heaptape: &Path, tape: &Path, threads: usize) -> anyhow::Result<Latency> {
    Latency::of(|take| {
        let mut stats = quiet(heaptape, "stats", threads);
        programs::succeed(stats.arg(tape).args(["--at", &moment(take)]))
    })
}

/// `heaptape diff` of two random moments.
pub(crate) fn diff(heaptape: &Path, tape: &Path, threads: usize) -> anyhow::Result<Latency> {
    let at = |take| format!("{}@{}", tape.display(), moment(take));
    Latency::of(|take| {
        let mut diff = quiet(heaptape, "diff", threads);
        programs::succeed(diff.arg(at(take)).arg(at(take + 100)))
    })
}
