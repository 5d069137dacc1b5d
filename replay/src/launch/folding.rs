//! Starting the process that folds a tape for a drainer (`heaptape run --limit`).
//!
//! In: what is to be folded. Out: this program, started once more, with the verb for it. It stands
//! apart from our process group: what the terminal sends to us and to the command is not for it.

use heaptape_drain::FoldJob;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Starts it.
pub(crate) fn start(job: &FoldJob) -> io::Result<Child> {
    let live: Vec<String> = job.live.iter().map(u32::to_string).collect();
    Command::new("/proc/self/exe")
        .arg0("heaptape")
        .arg("fold-part")
        .args(["--bytes", &job.bytes.to_string()])
        .args(["--stamp", &job.stamp.to_string()])
        .args(["--live", &live.join(",")])
        .arg("--")
        .arg(&job.tape)
        .arg(&job.target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}
