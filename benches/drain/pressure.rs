//! A program that allocates as fast as it can, bare and recorded.
//!
//! In: threads and seconds. Out: a row of the table: pairs a second, the calls that took long, lost
//! events, and the largest memory of the drainer while it drained (symbols are left out).

use anyhow::{Context, ensure};
use heaptape_benches::memory::kibibytes;
use heaptape_benches::programs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Column heads.
pub(crate) const HEADER: &str = "\
| threads | M pairs/s bare | recorded | calls > 0.5 ms bare | recorded | longest, ms bare \
| recorded | lost | drainer RssAnon | session RssShmem |
|---|---|---|---|---|---|---|---|---|---|";
/// How often the drainer's memory is read.
const LOOK_GAP: Duration = Duration::from_millis(20);

/// One row's program.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) heaptape: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) threads: u32,
    pub(crate) seconds: u32,
}

/// What the program says of itself.
#[derive(Debug, Clone, Copy)]
struct Said {
    pairs: u64,
    waits: u64,
    waited_us: u64,
    longest_us: u64,
}

/// Largest sizes that the kernel told, in KiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    anonymous: u64,
    shared: u64,
}

impl Run<'_> {
    /// Runs it bare and recorded.
    pub(crate) fn row(&self) -> anyhow::Result<String> {
        let (bare, _) = self.take(programs::command(self.program))?;
        let tape = self.folder.join("pressure.tape");
        let mut recorded = programs::command(self.heaptape);
        recorded
            .args(["run", "--quiet", "--no-symbolize", "--force", "-o"])
            .arg(&tape)
            .arg("--")
            .arg(self.program);
        let (said, memory) = self.take(recorded)?;
        let lost = lost_events(self.heaptape, &tape)?;
        std::fs::remove_file(&tape)?;
        let rate = |said: Said| said.pairs as f64 / f64::from(self.seconds) / 1e6;
        let waits = |said: Said| format!("{} ({} ms)", said.waits, said.waited_us / 1000);
        Ok(format!(
            "| {} | {:.1} | {:.1} | {} | {} | {:.1} | {:.1} | {lost} | {:.1} MiB | {:.1} MiB |",
            self.threads,
            rate(bare),
            rate(said),
            waits(bare),
            waits(said),
            bare.longest_us as f64 / 1e3,
            said.longest_us as f64 / 1e3,
            memory.anonymous as f64 / 1024.0,
            memory.shared as f64 / 1024.0,
        ))
    }

    /// What the program says, and the largest memory of the process that was started.
    fn take(&self, mut command: Command) -> anyhow::Result<(Said, Memory)> {
        command
            .args([self.threads.to_string(), self.seconds.to_string()])
            .stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let memory = watch(&mut child)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        let text = String::from_utf8(output.stdout)?;
        let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
        let [pairs, waits, waited_us, longest_us] = numbers?[..] else {
            anyhow::bail!("{command:?} says {text:?}");
        };
        let said = Said {
            pairs,
            waits,
            waited_us,
            longest_us,
        };
        Ok((said, memory))
    }
}

/// Reads the memory of `child` until it has ended.
fn watch(child: &mut Child) -> anyhow::Result<Memory> {
    let status = format!("/proc/{}/status", child.id());
    let mut largest = Memory::default();
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        largest.anonymous = largest.anonymous.max(kibibytes(&text, "RssAnon:"));
        largest.shared = largest.shared.max(kibibytes(&text, "RssShmem:"));
        std::thread::sleep(LOOK_GAP);
    }
    Ok(largest)
}

fn lost_events(heaptape: &Path, tape: &Path) -> anyhow::Result<u64> {
    let mut info = programs::command(heaptape);
    info.arg("info")
        .arg(tape)
        .args(["--no-index", "--format", "json"]);
    let output = info.output()?;
    let info: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    info["lost_events"].as_u64().context("no lost_events")
}
