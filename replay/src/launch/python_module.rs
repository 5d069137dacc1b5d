//! `heaptape.py`, with which scripts set marks, where Python finds it.
//!
//! In: the cache folders. Out: a folder in one of them that holds this module alone, and an
//! environment that names it. The folder has the hash of the content in its name: launchers of two
//! versions do not disturb each other. Folders of older versions are left, as they are a few
//! kilobytes, and a program may import late.

use super::library::{cache_folders, reason};
use super::unpacked::provide;
use anyhow::bail;
use heaptape::cache_folder::make_own;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const CONTENT: &[u8] = include_bytes!("../../python/heaptape.py");
const NAME: &str = "heaptape.py";
/// Names its content.
const HASH: &str = env!("HEAPTAPE_MODULE_HASH");
/// Where Python looks for modules.
const VARIABLE: &str = "PYTHONPATH";

/// Lets the Python programs that this process starts import the module. The process must have one
/// thread.
///
/// # Errors
/// There is no folder for it; what to do, for a person.
pub(crate) fn offer() -> anyhow::Result<()> {
    let folder = unpack(cache_folders())?;
    let before = std::env::var_os(VARIABLE).unwrap_or_default();
    // SAFETY: there is one thread, so nobody reads the environment.
    unsafe { std::env::set_var(VARIABLE, search_path(&folder, &before)) };
    Ok(())
}

/// Puts the module into the first of `folders` that can have it; where.
fn unpack(folders: Vec<PathBuf>) -> anyhow::Result<PathBuf> {
    let mut tried = Vec::new();
    for folder in folders {
        match unpack_into(&folder) {
            Ok(folder) => return Ok(folder),
            Err(error) => tried.push(format!("{}: {}", folder.display(), reason(&error))),
        }
    }
    bail!(
        "the Python module finds no place ({}); \
         set XDG_CACHE_HOME to a folder that can be written",
        tried.join("; ")
    )
}

fn unpack_into(cache: &Path) -> anyhow::Result<PathBuf> {
    if cache.as_os_str().as_bytes().contains(&b':') {
        bail!("a colon in its path");
    }
    make_own(cache)?;
    let folder = cache.join(format!("python-{HASH}"));
    make_own(&folder)?;
    // Nobody removes it: the lock is not needed.
    provide(&folder, &folder.join(NAME), CONTENT)?;
    Ok(folder)
}

/// `folder`, then what was there; once when that names it.
fn search_path(folder: &Path, before: &OsStr) -> OsString {
    let folder = folder.as_os_str();
    let mut all = before.as_bytes().split(|&byte| byte == b':');
    if before.is_empty() || all.any(|word| word == folder.as_bytes()) {
        let all = if before.is_empty() { folder } else { before };
        return all.to_owned();
    }
    let mut all = folder.to_owned();
    all.push(":");
    all.push(before);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_search_path_keeps_what_was_there() {
        let path = |before| search_path(Path::new("/c/python-1"), OsStr::new(before));
        assert_eq!(path(""), "/c/python-1");
        assert_eq!(path("/a:/b"), "/c/python-1:/a:/b");
        assert_eq!(path("/a:/c/python-1"), "/a:/c/python-1");
        // An empty word is the current folder.
        assert_eq!(path(":/a"), "/c/python-1::/a");
    }

    #[test]
    fn the_first_folder_that_can_have_it_gets_it() {
        let home = tempfile::tempdir().unwrap();
        let others = home.path().join("others");
        fs::create_dir(&others).unwrap();
        fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let (colon, good) = (home.path().join("a:b"), home.path().join("good"));
        let bad = vec![others, file, colon];
        let error = unpack(bad.clone()).unwrap_err().to_string();
        assert!(error.contains("a colon in its path"), "{error}");
        let folder = unpack([bad, vec![good.clone()]].concat()).unwrap();
        assert_eq!(folder.parent(), Some(&*good));
        let module = folder.join(NAME);
        assert_eq!(fs::read(&module).unwrap(), CONTENT);
        fs::write(&module, "something else").unwrap();
        assert_eq!(unpack(vec![good]).unwrap(), folder);
        assert_eq!(fs::read(&module).unwrap(), CONTENT);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
