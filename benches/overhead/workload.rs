//! What is run: the workloads, and the recorders around them.

use anyhow::{Context, bail};
use clap::ValueEnum;
use heaptape_benches::programs::{command, compile, find, sources, succeed};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
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
    /// Python: objects, method calls, a heap of events, json.
    PythonObjects,
    /// Python: small objects made some twenty calls deep.
    PythonCalls,
    /// Python: json and syntax trees.
    PythonDocuments,
    /// Python: regular expressions, counting, sorting.
    PythonPatterns,
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
            Self::PythonObjects => "python-objects",
            Self::PythonCalls => "python-calls",
            Self::PythonDocuments => "python-documents",
            Self::PythonPatterns => "python-patterns",
        }
    }

    /// The script and the argument of a workload in Python.
    fn script(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::PythonObjects => Some(("objects.py", "30000")),
            Self::PythonCalls => Some(("calls.py", "40000")),
            Self::PythonDocuments => Some(("documents.py", "12")),
            Self::PythonPatterns => Some(("patterns.py", "12")),
            _ => None,
        }
    }

    /// The recorders that are there for it; bare first.
    pub(crate) fn recorders(self) -> anyhow::Result<Vec<Recorder>> {
        let missing = |name| eprintln!("{name} is not installed: nothing to compare with");
        let mut recorders = vec![Recorder::Bare, Recorder::Heaptape];
        if self.script().is_none() {
            recorders.push(Recorder::Unsymbolized);
            match find("heaptrack") {
                Some(_) => recorders.push(Recorder::Heaptrack),
                None => missing("heaptrack"),
            }
            return Ok(recorders);
        }
        recorders.push(Recorder::PythonStacks);
        let memray = command(python()?).args(["-c", "import memray"]).output()?;
        match memray.status.success() {
            true => recorders.extend([Recorder::Memray, Recorder::MemrayNative]),
            false => missing("memray"),
        }
        recorders.push(Recorder::Tracemalloc);
        Ok(recorders)
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
            _ => {
                let (script, argument) = self.script().context("no such workload")?;
                let script = sources().join("python").join(script);
                vec![python()?, script.into(), argument.into()]
            }
        })
    }
}

/// The interpreter itself: what `PYTHON` names, else `python3`, may be a script that starts it.
fn python() -> anyhow::Result<OsString> {
    let named = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let asked = command(&named)
        .args(["-c", "import sys; print(sys.executable, end='')"])
        .output()
        .with_context(|| format!("{} is not there: install python3", named.display()))?;
    Ok(OsString::from_vec(asked.stdout))
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
    /// `heaptape run --stacks python`.
    PythonStacks,
    /// memray with every allocation of Python's.
    Memray,
    /// The same with native frames.
    MemrayNative,
    /// `tracemalloc` with 25 frames.
    Tracemalloc,
}

impl Recorder {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Heaptape => "heaptape",
            Self::Unsymbolized => "heaptape --no-symbolize",
            Self::Heaptrack => "heaptrack",
            Self::PythonStacks => "heaptape --stacks python",
            Self::Memray => "memray --trace-python-allocators",
            Self::MemrayNative => "memray --native --trace-python-allocators",
            Self::Tracemalloc => "tracemalloc(25)",
        }
    }

    /// What it is compared with.
    pub(crate) fn reference(self, is_python: bool) -> Option<Self> {
        match self {
            Self::Heaptape if is_python => Some(Self::MemrayNative),
            Self::Heaptape | Self::Unsymbolized => Some(Self::Heaptrack),
            Self::PythonStacks => Some(Self::Memray),
            _ => None,
        }
    }

    /// True when it leaves a tape.
    pub(crate) fn is_heaptape(self) -> bool {
        matches!(
            self,
            Self::Heaptape | Self::Unsymbolized | Self::PythonStacks
        )
    }

    /// The command that runs `line` under this recorder, its files in `folder`.
    pub(crate) fn command(self, line: &[OsString], heaptape: &Path, folder: &Path) -> Command {
        let mut around = match self {
            Self::Bare => {
                let mut bare = command(line.first().map_or("true".as_ref(), OsString::as_os_str));
                bare.args(line.iter().skip(1));
                return bare;
            }
            Self::Heaptape | Self::Unsymbolized | Self::PythonStacks => {
                let mut run = command(heaptape);
                run.args(["run", "--quiet"]);
                if self == Self::Unsymbolized {
                    run.arg("--no-symbolize");
                }
                if self == Self::PythonStacks {
                    run.args(["--stacks", "python"]);
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
            Self::Memray | Self::MemrayNative | Self::Tracemalloc => {
                return self.in_interpreter(line, folder);
            }
        };
        around.args(line);
        around
    }

    /// The same for what the interpreter in `line` runs itself.
    fn in_interpreter(self, line: &[OsString], folder: &Path) -> Command {
        let (interpreter, script) = line.split_first().unzip();
        let mut run = command(interpreter.map_or("python3".as_ref(), OsString::as_os_str));
        if self == Self::Tracemalloc {
            run.args(["-X", "tracemalloc=25"]);
        } else {
            run.args(["-m", "memray", "run", "-q", "--trace-python-allocators"]);
            if self == Self::MemrayNative {
                run.arg("--native");
            }
            run.arg("-o").arg(folder.join("log"));
        }
        run.args(script.unwrap_or_default());
        run
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
