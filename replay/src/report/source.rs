//! Lines of source files, where the files are still there.
//!
//! A line is shown beside numbers only as a help: a missing, huge or binary file shows nothing,
//! and nothing here says that the file is the one that was compiled.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

/// Files longer than this are not read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Source files, each read once.
#[derive(Debug, Default)]
pub struct SourceLines {
    files: HashMap<String, Option<String>>,
}

impl SourceLines {
    /// The text of `line` (from 1) of `file` without the space around it; None when it is not
    /// there or blank.
    pub fn line(&mut self, file: &str, line: u32) -> Option<String> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        let text = self
            .files
            .entry(file.to_owned())
            .or_insert_with(|| read(file))
            .as_ref()?;
        let line = text.lines().nth(index)?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

fn read(path: &str) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    // A pipe or a device would block or never end.
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
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
        assert_eq!(lines.line(path, 1).as_deref(), Some("int x;"));
        assert_eq!(lines.line(path, 3).as_deref(), Some("x = malloc(4);"));
        assert_eq!(lines.line(path, 2), None);
        assert_eq!(lines.line(path, 4), None);
        assert_eq!(lines.line(path, 0), None);
        assert_eq!(lines.line("/nowhere/b.c", 1), None);
        assert_eq!(lines.line("/dev/zero", 1), None);
    }
}
