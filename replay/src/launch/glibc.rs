//! Is the C library new enough for the recorder?
//!
//! In: the version that this process runs with: the programs that it starts have the same one.
//! Out: a refusal in one line, where the loader would complain on the program's standard error
//! about a library that it cannot load.

use anyhow::bail;
use std::ffi::CStr;

/// The newest symbol version that `libheaptape.so` needs.
const NEEDED: (u32, u32) = (2, 34);

/// Refuses a C library in which the recorder could not be loaded.
///
/// # Errors
/// Both versions, for a person.
pub(crate) fn check() -> anyhow::Result<()> {
    // SAFETY: a plain call without arguments.
    let text = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: glibc gives a zero-terminated constant.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if is_enough(&text) {
        return Ok(());
    }
    let (major, minor) = NEEDED;
    bail!("the recorder needs glibc {major}.{minor} or newer, and this system has {text}")
}

/// A version that cannot be read is left to the loader.
fn is_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| {
        let end = part.find(|character: char| !character.is_ascii_digit());
        part.get(..end.unwrap_or(part.len()))?.parse::<u32>().ok()
    });
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= NEEDED,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::unpacked::CONTENT;
    use std::process::Command;

    #[test]
    fn versions_are_compared_as_numbers() {
        for enough in [
            "2.34",
            "2.36",
            "2.100",
            "2.34.9000",
            "2.35-0ubuntu3",
            "3.0",
            "?",
        ] {
            assert!(is_enough(enough), "{enough}");
        }
        for old in ["2.33", "2.4", "1.99", "2.31-13"] {
            assert!(!is_enough(old), "{old}");
        }
        check().unwrap();
    }

    /// What `readelf ARGUMENT` says of the library that we carry.
    fn readelf(argument: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libheaptape.so");
        std::fs::write(&library, CONTENT).unwrap();
        let output = Command::new("readelf")
            .args(["--wide", argument])
            .arg(&library)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_library_needs_exactly_what_is_stated() {
        let versions = readelf("--version-info");
        let newest = versions
            .split("Name: GLIBC_")
            .skip(1)
            .filter_map(|rest| {
                let version = rest.split_whitespace().next()?;
                let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
                Some((parts.next()?, parts.next()?))
            })
            .max();
        assert_eq!(newest, Some(NEEDED), "{versions}");
    }

    #[test]
    fn the_library_needs_the_c_library_alone() {
        let dynamic = readelf("--dynamic");
        let needed: Vec<&str> = dynamic
            .lines()
            .filter(|line| line.contains("(NEEDED)"))
            .filter_map(|line| line.split(['[', ']']).nth(1))
            .filter(|name| !name.starts_with("ld-linux"))
            .collect();
        assert_eq!(needed, ["libc.so.6"]);
    }

    #[test]
    fn the_readme_states_the_same_version() {
        let (major, minor) = NEEDED;
        let readme = include_str!("../../../README.md");
        let stated = format!("x86-64 Linux with glibc {major}.{minor} or newer");
        assert!(readme.contains(&stated), "README.md lacks: {stated}");
    }
}
