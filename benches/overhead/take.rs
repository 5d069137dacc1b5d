//! One run of a command: its time, its CPU, its memory, and what others used meanwhile.
//!
//! In: a command. Out: a [`Take`]. CPU is that of the command and of everything below it that was
//! waited for: drainers, compressors, interpreters and symbols count.

use anyhow::Context;
use heaptape_benches::machine::{self, seconds};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take {
    /// From start to end, in seconds.
    pub(crate) wall: f64,
    /// User and system time of the whole tree, in seconds.
    pub(crate) cpu: f64,
    /// Largest resident size of any process of the tree, in bytes. Nothing below the size of this
    /// benchmark is seen (some MiB): the kernel starts counting before the exec.
    pub(crate) peak_bytes: u64,
    /// CPU that everything else on the machine used, in cores.
    pub(crate) busy: f64,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs `command` in a session of its own, its output in files `stdout` and `stderr` of `folder`.
pub(crate) fn take(command: &mut Command, folder: &Path) -> anyhow::Result<Take> {
    command
        .stdout(File::create(folder.join("stdout"))?)
        .stderr(File::create(folder.join("stderr"))?);
    // SAFETY: setsid is async-signal-safe, as everything between fork and exec must be.
    unsafe { command.pre_exec(new_session) };
    let cpu_before = machine::cpu_seconds();
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("{command:?} does not start"))?;
    let (status, usage) = wait(child.id())?;
    let wall = start.elapsed().as_secs_f64();
    let all = machine::cpu_seconds() - cpu_before;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    Ok(Take {
        wall,
        cpu,
        peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        busy: ((all - cpu) / wall).max(0.0),
        status,
    })
}

fn new_session() -> std::io::Result<()> {
    // SAFETY: a plain call.
    match unsafe { libc::setsid() } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The end of child `pid`, with what it and its descendants used.
fn wait(pid: u32) -> std::io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both places are valid for the call.
        let ended =
            unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == pid.cast_signed() {
            // SAFETY: all zeroes is a valid value, and the kernel filled it in.
            return Ok((ExitStatus::from_raw(status), unsafe { usage.assume_init() }));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_the_command_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; echo out; exit 3",
        ]);
        let take = take(&mut shell, folder.path()).unwrap();
        assert_eq!(take.status.code(), Some(3));
        assert_eq!(
            std::fs::read(folder.path().join("stdout")).unwrap(),
            b"out\n"
        );
        assert!(take.cpu > 0.0 && take.wall > 0.0 && take.peak_bytes > 100_000);
    }
}
