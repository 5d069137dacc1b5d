//! Paths of source files, tidied by their letters alone.
//!
//! What comes in: a path as DWARF states it, joined with its compilation folder. What goes out:
//! the same path without `.`, `..` and doubled slashes. It never asks the file system: the path
//! belongs to the machine of the build.

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

    proptest::proptest! {
        #[test]
        fn tidying_twice_changes_nothing(path in "[a-c./]{0,24}") {
            let once = tidy(&path);
            proptest::prop_assert_eq!(tidy(&once), once.clone());
            proptest::prop_assert!(!once.contains("//"));
        }
    }
}
