//! The programs that benchmarks run: heaptape, its library, compilers, the workloads.
//!
//! Everything is built into a folder of the caller's; nothing is left in the repository.

use anyhow::{Context, bail, ensure};
use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The sources of the workloads.
#[must_use]
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads")
}

/// A command without what would record it, or change how it is recorded.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_bytes().starts_with(b"HEAPTAPE") || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The path of a program in `PATH`.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The executable under test: `HEAPTAPE`, else the one that is built beside this benchmark.
///
/// # Errors
/// When it does not build.
pub fn heaptape() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("HEAPTAPE") {
        return std::fs::canonicalize(&path)
            .with_context(|| format!("HEAPTAPE={}", path.display()));
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "heaptape",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    succeed(&mut build)?;
    let ours = env::current_exe()?;
    let path = ours.with_file_name("heaptape");
    ensure!(
        path.is_file(),
        "{}: no such file; run with --release or set HEAPTAPE",
        path.display()
    );
    Ok(path)
}

/// The recorder's library as `heaptape` carries it: where it unpacks it for a recorded program.
///
/// # Errors
/// When nothing can be recorded.
pub fn library(heaptape: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut run = command(heaptape);
    run.args(["run", "--quiet", "--no-symbolize", "--force", "-o"])
        .arg(folder.join("library.tape"))
        .args(["--", "printenv", "LD_PRELOAD"]);
    let output = run
        .output()
        .with_context(|| heaptape.display().to_string())?;
    let text = String::from_utf8(output.stdout)?;
    let path = PathBuf::from(text.trim());
    ensure!(path.is_file(), "heaptape run says no library");
    Ok(path)
}

/// Runs a command that must succeed and is no part of what is measured.
///
/// # Errors
/// With the command, when it fails.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} does not start"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Compiles `workloads/SOURCE` (C) into `folder`.
///
/// # Errors
/// When there is no C compiler.
pub fn compile(source: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join(source.trim_end_matches(".c"));
    let mut compiler = command("cc");
    compiler
        .args(["-O2", "-g", "-pthread", "-fno-optimize-sibling-calls", "-o"])
        .args([&program, &sources().join(source)]);
    succeed(&mut compiler)?;
    Ok(program)
}
