//! Lines of source files, where the files are still there.
//!
//! A line is shown beside numbers only as a help: a missing, huge or binary file shows nothing, and
//! so does one that was changed after the recording began. Nothing here says that the file is the
//! one that was compiled.

use crate::symbols::paths::on_disk;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::time::UNIX_EPOCH;

/// Files longer than this are not read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Source files, each read once.
#[derive(Debug, Default)]
pub struct SourceLines {
    files: HashMap<String, Option<Source>>,
}

#[derive(Debug)]
struct Source {
    text: String,
    /// When it was changed last: Unix time in nanoseconds.
    changed_ns: u64,
}

impl SourceLines {
    /// The text of `line` (from 1) of `file` without the space around it; None when it is not
    /// there or blank, or the file was changed after `recorded_ns` (Unix time).
    pub fn line(&mut self, file: &str, line: u32, recorded_ns: u64) -> Option<String> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        let source = self
            .files
            .entry(file.to_owned())
            .or_insert_with(|| read(file))
            .as_ref()
            .filter(|source| source.changed_ns <= recorded_ns)?;
        let line = source.text.lines().nth(index)?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

fn read(path: &str) -> Option<Source> {
    let path = on_disk(path);
    let metadata = std::fs::metadata(&path).ok()?;
    // A pipe or a device would block or never end.
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let changed = metadata.modified().ok()?;
    let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Source {
        text: String::from_utf8(bytes).ok()?,
        changed_ns: u64::try_from(changed.as_nanos()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_from_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.c");
        std::fs::write(&path, "int x;\n\n  x = malloc(4);  \n").unwrap();
        let path = path.to_str().unwrap();
        let mut lines = SourceLines::default();
        let mut line = |file, number| lines.line(file, number, u64::MAX);
        assert_eq!(line(path, 1).as_deref(), Some("int x;"));
        assert_eq!(line(path, 3).as_deref(), Some("x = malloc(4);"));
        assert_eq!(line(path, 2), None);
        assert_eq!(line(path, 4), None);
        assert_eq!(line(path, 0), None);
        assert_eq!(line("/nowhere/b.c", 1), None);
        assert_eq!(line("/dev/zero", 1), None);
    }

    #[test]
    fn a_file_that_was_changed_later_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.c");
        std::fs::write(&path, "int x;\n").unwrap();
        let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
        let changed = changed.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let changed = u64::try_from(changed).unwrap();
        let mut lines = SourceLines::default();
        let path = path.to_str().unwrap();
        assert_eq!(lines.line(path, 1, changed - 1), None);
        assert_eq!(lines.line(path, 1, changed).as_deref(), Some("int x;"));
    }
}
