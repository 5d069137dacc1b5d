//! Paths of source files, tidied by their letters alone, and the files that texts of tapes name.
//!
//! What comes in: a path as DWARF states it, joined with its compilation folder. What goes out:
//! the same path without `.`, `..` and doubled slashes. Tidying never asks the file system: the
//! path belongs to the machine of the build.

use heaptape_format::text;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// `/a/./b//../c` → `/a/c`. Leading `..` of a relative path stay.
#[must_use]
pub fn tidy(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}

/// The file that `text`, a path as tapes store it, names on this machine: what is called so, or
/// else by the bytes that the text stands for.
#[must_use]
pub fn on_disk(text: &str) -> PathBuf {
    on_disk_in(Path::new(""), text)
}

/// The same in `folder`, when `text` is no path from the root.
#[must_use]
pub fn on_disk_in(folder: &Path, text: &str) -> PathBuf {
    let plain = folder.join(text);
    let bytes = text::to_bytes(text);
    if bytes == text.as_bytes() || plain.symlink_metadata().is_ok() {
        return plain;
    }
    folder.join(OsString::from_vec(bytes))
}

/// The part of a path behind its last slash.
#[must_use]
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_tidied() {
        for (path, tidied) in [
            ("/a/./b/../c", "/a/c"),
            (
                "/build/x/../../usr/include//stdio.h",
                "/usr/include/stdio.h",
            ),
            ("/../a", "/a"),
            ("../a/./b", "../a/b"),
            ("../../a", "../../a"),
            ("src/main.c", "src/main.c"),
            ("./main.c", "main.c"),
            ("a/..", ""),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(tidy(path), tidied, "{path}");
        }
        assert_eq!(file_name("/usr/lib/libc.so.6"), "libc.so.6");
        assert_eq!(file_name("[vdso]"), "[vdso]");
    }

    #[test]
    fn texts_name_files_that_are_not_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| folder.path().join(OsString::from_vec(name.to_vec()));
        let text = path(br"a\xff").into_os_string().into_string().unwrap();
        assert_eq!(on_disk(&text), path(b"a\xff"));
        std::fs::write(path(br"a\xff"), "").unwrap();
        assert_eq!(on_disk(&text), path(br"a\xff"));
        assert_eq!(on_disk("/a/b"), Path::new("/a/b"));
    }

    proptest::proptest! {
        #[test]
        fn tidying_twice_changes_nothing(path in "[a-c./]{0,24}") {
            let once = tidy(&path);
            proptest::prop_assert_eq!(tidy(&once), once.clone());
            proptest::prop_assert!(!once.contains("//"));
        }
    }
}
