//! What is run: the workloads, and the recorders around them.

use anyhow::{Context, bail};
use clap::ValueEnum;
use heaptape_benches::programs::{command, compile, find, sources, succeed};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// malloc/free pairs under varied stacks of about 14 frames, one thread.
    Stacks,
    /// Two producers and two consumers that free each other's blocks.
    Handover,
    /// The sqlite3 command with an in-memory load.
    Sqlite,
    /// g++'s compiler proper on a preprocessed file that leans on the standard library.
    Cc1plus,
    /// /bin/true: what starting costs.
    True,
}

impl Workload {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stacks => "stacks",
            Self::Handover => "handover",
            Self::Sqlite => "sqlite",
            Self::Cc1plus => "cc1plus",
            Self::True => "true",
        }
    }

    /// Builds it into `folder`: the command line that runs it.
    pub(crate) fn build(self, folder: &Path) -> anyhow::Result<Vec<OsString>> {
        let pairs = |program: PathBuf| vec![program.into(), "2000000".into()];
        let needed = |name: &str, package: &str| {
            find(name).with_context(|| format!("{name} is not there: install {package}"))
        };
        Ok(match self {
            Self::Stacks => pairs(compile("stacks.c", folder)?),
            Self::Handover => pairs(compile("handover.c", folder)?),
            Self::Sqlite => {
                let script = sources().join("load.sql");
                let read = format!(".read '{}'", script.display());
                let program = needed("sqlite3", "sqlite3")?;
                vec![program.into(), ":memory:".into(), read.into()]
            }
            Self::Cc1plus => {
                let input = folder.join("stl.ii");
                let driver = needed("g++", "g++")?;
                let mut preprocess = command(&driver);
                preprocess.arg("-E").arg(sources().join("stl.cpp"));
                succeed(preprocess.arg("-o").arg(&input))?;
                let asked = command(&driver)
                    .arg("-print-prog-name=cc1plus")
                    .output()?
                    .stdout;
                let compiler = String::from_utf8(asked)?;
                let mut line: Vec<OsString> = vec![compiler.trim().into()];
                line.extend(["-O0", "-quiet", "-fpreprocessed"].map(OsString::from));
                line.extend([input.into(), "-o".into(), "/dev/null".into()]);
                line
            }
            Self::True => vec![needed("true", "coreutils")?.into()],
        })
    }
}

/// What stands around a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorder {
    /// Nothing.
    Bare,
    /// `heaptape run`, symbols included.
    Heaptape,
    /// `heaptape run --no-symbolize`.
    Unsymbolized,
    /// heaptrack, its interpretation included.
    Heaptrack,
}

impl Recorder {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Heaptape => "heaptape",
            Self::Unsymbolized => "heaptape --no-symbolize",
            Self::Heaptrack => "heaptrack",
        }
    }

    /// True when it leaves a tape.
    pub(crate) fn is_heaptape(self) -> bool {
        matches!(self, Self::Heaptape | Self::Unsymbolized)
    }

    /// The command that runs `line` under this recorder, its files in `folder`.
    pub(crate) fn command(self, line: &[OsString], heaptape: &Path, folder: &Path) -> Command {
        let mut around = match self {
            Self::Bare => {
                let mut bare = command(line.first().map_or("true".as_ref(), OsString::as_os_str));
                bare.args(line.iter().skip(1));
                return bare;
            }
            Self::Heaptape | Self::Unsymbolized => {
                let mut run = command(heaptape);
                run.args(["run", "--quiet"]);
                if self == Self::Unsymbolized {
                    run.arg("--no-symbolize");
                }
                run.arg("-o").arg(tape(folder)).arg("--");
                run
            }
            Self::Heaptrack => {
                let mut heaptrack = command("heaptrack");
                heaptrack.arg("-o");
                heaptrack.arg(folder.join("log"));
                heaptrack
            }
        };
        around.args(line);
        around
    }

    /// Bytes of the recording in `folder`.
    pub(crate) fn recorded_bytes(self, folder: &Path) -> anyhow::Result<u64> {
        if self.is_heaptape() {
            return Ok(std::fs::metadata(tape(folder))?.len());
        }
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"log") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }
}

/// Where the tape of a run is.
pub(crate) fn tape(folder: &Path) -> PathBuf {
    folder.join("x.tape")
}

/// What a tape says of its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Events: a realloc is two, a death and a birth.
    pub(crate) events: u64,
    /// Events that were lost.
    pub(crate) lost: u64,
}

/// Asks `heaptape info` about the tape in `folder`.
pub(crate) fn facts(heaptape: &Path, folder: &Path) -> anyhow::Result<Facts> {
    let output = command(heaptape)
        .arg("info")
        .arg(tape(folder))
        .args(["--format", "json"])
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    facts_of(&output.stdout).context("heaptape info says something unexpected")
}

fn facts_of(json: &[u8]) -> Option<Facts> {
    let info: serde_json::Value = serde_json::from_slice(json).ok()?;
    let events = |kind| info.get("events")?.get(kind)?.as_u64();
    let unknown = info.get("unknown_frees")?.as_u64()?;
    Some(Facts {
        events: events("alloc")? + events("free")? + 2 * events("realloc")? + unknown,
        lost: info.get("lost_events")?.as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realloc_is_two_events_and_nothing_is_guessed() {
        let json = br#"{"events":{"alloc":5,"free":3,"realloc":2},"unknown_frees":1,
            "lost_events":7}"#;
        let facts = Facts {
            events: 13,
            lost: 7,
        };
        assert_eq!(facts_of(json), Some(facts));
        assert_eq!(facts_of(br#"{"events":{"alloc":null}}"#), None);
    }
}
