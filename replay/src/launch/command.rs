//! Finding the program of a command, as a shell would.
//!
//! In: the first word of a command. Out: the path of an executable file, or the exit code that a
//! shell gives.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why there is nothing to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// There is no such file: exit code 127.
    Missing,
    /// There is, but it cannot be executed: exit code 126, and why.
    NotExecutable(String),
}

/// Finds `program`: a path when it holds a slash, else along `PATH`.
pub(crate) fn find(program: &OsStr) -> Result<PathBuf, NotFound> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return executable(&path).map(|()| path);
    }
    if program.is_empty() {
        return Err(NotFound::Missing);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut worst = NotFound::Missing;
    for folder in std::env::split_paths(&path) {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &folder
        };
        let candidate = folder.join(program);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(NotFound::Missing) => {}
            Err(other) => worst = other,
        }
    }
    Err(worst)
}

fn executable(path: &Path) -> Result<(), NotFound> {
    let file = match std::fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(NotFound::NotExecutable("permission denied".into()));
        }
        Err(_) => return Err(NotFound::Missing),
    };
    if file.is_dir() {
        return Err(NotFound::NotExecutable("is a directory".into()));
    }
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return Err(NotFound::Missing);
    };
    // SAFETY: the path is zero-terminated and valid for the call.
    let allowed = unsafe { libc::access(name.as_ptr(), libc::X_OK) } == 0;
    if allowed && file.is_file() {
        Ok(())
    } else {
        Err(NotFound::NotExecutable("permission denied".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        for missing in ["no-such-program-anywhere", "/no/such/file", ""] {
            assert_eq!(find(OsStr::new(missing)), Err(NotFound::Missing));
        }
        let folder = tempfile::tempdir().unwrap();
        let reason = |path: &Path| match find(path.as_os_str()) {
            Err(NotFound::NotExecutable(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(folder.path()), "is a directory");
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(reason(&plain), "permission denied");
    }
}
