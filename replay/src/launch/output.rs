//! Where the tape that the user names may be.
//!
//! In: a path, and whether what is there may be replaced. Out: the absolute path, or why not.

use super::record::NotStarted;
use heaptape::replaceable;
use std::io;
use std::path::{Path, PathBuf};

/// More links one after another are a circle.
const LINKS_MAX: usize = 40;

/// The absolute path of the tape that was named. What is there may be another tape, nothing
/// else: numbers behind the name of a device would make files among devices.
pub(super) fn check(folder: &Path, output: &Path, force: bool) -> Result<PathBuf, NotStarted> {
    let path = folder.join(output);
    if path.file_name().is_none() || path.is_dir() {
        return Err(anyhow::anyhow!("{} is a folder, not a tape", output.display()).into());
    }
    if path.metadata().is_ok_and(|file| !file.is_file()) || is_among_devices(&path) {
        return Err(anyhow::anyhow!(
            "{} is a device or a pipe, not a tape: name a file, in a folder of yours",
            output.display()
        )
        .into());
    }
    if force {
        replaceable::check_tape(&path)?;
    }
    Ok(path)
}

/// Takes away what has the name of the tape that is to be replaced, and its index.
pub(super) fn remove_old(path: &Path) -> Result<(), NotStarted> {
    let index = index_of(path);
    let index = replaceable::is_index(&index).then_some(index);
    for old in [path.to_owned()].into_iter().chain(index) {
        match std::fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let text = format!("cannot replace {}", old.display());
                return Err(anyhow::Error::from(error).context(text).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// True when `path`, or what it leads to, stands among devices or processes: `/dev/stdout` is a
/// file when that was redirected to one, but the names beside it are not ours.
fn is_among_devices(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        let (Some(folder), Some(name)) = (folder, path.file_name()) else {
            return false;
        };
        let is_memory = folder.starts_with("/dev/shm");
        if (folder.starts_with("/dev") || folder.starts_with("/proc")) && !is_memory {
            return true;
        }
        let Ok(target) = std::fs::read_link(folder.join(name)) else {
            return false;
        };
        path = folder.join(target);
    }
    false
}

/// The tape's index.
fn index_of(tape: &Path) -> PathBuf {
    let mut name = tape.as_os_str().to_owned();
    name.push(".idx");
    PathBuf::from(name)
}
