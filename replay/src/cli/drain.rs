//! `heaptape drain`: the drainer of a program that was started without `heaptape run`.

use super::output::Output;
use super::run::tape_to_symbolize;
use super::{Exit, Outcome};
use crate::launch::{detach, watch};
use clap::Args;
use heaptape::symbols::symbolize_tapes;
use heaptape_drain::{Drainer, Names, Settings};
use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the program may take to join the session.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// Make a session, say where it is, and drain it until its processes are gone
///
/// The recorder starts this itself when a program is run with LD_PRELOAD=libheaptape.so and
/// HEAPTAPE_OUT=TAPE.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Example:\n  heaptape drain --out app.tape --ready-fd 3"
)]
pub(super) struct Drain {
    /// The tape.
    #[arg(long, value_name = "TAPE")]
    out: PathBuf,
    /// The descriptor that the session's path is written to.
    #[arg(long, value_name = "FD")]
    ready_fd: RawFd,
}

impl Drain {
    pub(super) fn run(self, _output: &mut Output) -> Outcome {
        if self.ready_fd < 3 {
            anyhow::bail!("--ready-fd must be 3 or more");
        }
        let path = std::path::absolute(&self.out)?;
        // SAFETY: whoever started us opened it for us alone.
        let ready = unsafe { OwnedFd::from_raw_fd(self.ready_fd) };
        let mut drainer = Drainer::create(&Settings::default(), &path)?;
        if let Err(error) = drainer.create_tape(Names::new(&path)) {
            drainer.abandon();
            return Err(error.into());
        }
        drainer.adopt_first_process();
        let mut line = drainer.session_path().as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        let said = File::from(ready).write_all(&line);
        if said.is_err() {
            // Nobody waits for the session.
            drainer.abandon();
            return Ok(Exit::DONE);
        }
        detach::detach();
        let start = Instant::now();
        while !drainer.has_first_process() && start.elapsed() < JOIN_LIMIT {
            let sleep = drainer.pass();
            drainer.wait(sleep.min(Duration::from_millis(1)), &[]);
        }
        let outcome = watch::until_tree_is_gone(drainer);
        let paths: Vec<&Path> = outcome.tapes.iter().filter_map(tape_to_symbolize).collect();
        // In the background: nobody is there to be told.
        symbolize_tapes(&paths, None, |_, _| {}, |_, _| {});
        Ok(Exit::DONE)
    }
}
