//! The keys of rows: the text that stands for a frame, a stack, a thread, a size, a domain.

use crate::symbols::ResolvedFrame;

/// The key of allocations with no known frame.
pub const UNKNOWN: &str = "<unknown>";

/// The thread of blocks that were inherited from the parent process: none of the tape's own.
pub const INHERITED: &str = "<inherited>";

/// What rows stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The source file of the place.
    File,
    /// `FILE:LINE` of the place.
    Line,
    /// The function of the place.
    Function,
    /// The module (executable or library) of the place.
    Module,
    /// The whole stack.
    Traceback,
    /// The thread that allocated.
    Thread,
    /// The requested size.
    Size,
    /// The domain.
    Domain,
    /// The entry point.
    Kind,
}

impl GroupBy {
    /// Its name on the command line and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Line => "line",
            Self::Function => "function",
            Self::Module => "module",
            Self::Traceback => "traceback",
            Self::Thread => "thread",
            Self::Size => "size",
            Self::Domain => "domain",
            Self::Kind => "kind",
        }
    }

    /// True when one frame is the key: only then a stack can count for several keys.
    #[must_use]
    pub fn is_by_frame(self) -> bool {
        matches!(
            self,
            Self::File | Self::Line | Self::Function | Self::Module
        )
    }
}

/// Number of a key in a [`crate::stats::Grouper`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub u32);

/// The key of `frame` in a grouping; in a traceback, the text of one of its frames. `by_module`
/// keeps functions of the same name in two modules apart.
#[must_use]
pub fn label(frame: &ResolvedFrame, group_by: GroupBy, by_module: bool) -> String {
    let function = frame.function.as_deref();
    match group_by {
        GroupBy::File => frame.file.as_deref().unwrap_or(&frame.module).to_owned(),
        GroupBy::Module => frame.module.to_string(),
        GroupBy::Function => match function {
            Some(name) if by_module => format!("{}!{name}", frame.module),
            Some(name) => name.to_owned(),
            None => frame.address(),
        },
        GroupBy::Traceback => match (function, place(frame)) {
            (Some(name), Some(place)) => format!("{name} ({place})"),
            (Some(name), None) => format!("{name} ({})", frame.module),
            (None, Some(place)) => format!("{} ({place})", frame.address()),
            (None, None) => frame.address(),
        },
        // The other groupings have no frame; a frame asked for all the same is told by its line.
        GroupBy::Line | GroupBy::Thread | GroupBy::Size | GroupBy::Domain | GroupBy::Kind => {
            match (place(frame), function) {
                (Some(place), _) => place,
                (None, Some(name)) => format!("{}!{name}", frame.module),
                (None, None) => frame.address(),
            }
        }
    }
}

/// `FILE:LINE`.
#[must_use]
pub fn place(frame: &ResolvedFrame) -> Option<String> {
    let file = frame.file.as_deref()?;
    Some(format!("{file}:{}", frame.line))
}

/// What of `frame` a key of `group_by` stands for: the members that differ between frames of one
/// key are left out.
#[must_use]
pub fn stand_in(frame: &ResolvedFrame, group_by: GroupBy) -> ResolvedFrame {
    let mut shown = frame.clone();
    match group_by {
        GroupBy::File => {
            shown.function = None;
            shown.line = 0;
        }
        GroupBy::Module => {
            shown.function = None;
            shown.file = None;
            shown.line = 0;
        }
        GroupBy::Line
        | GroupBy::Function
        | GroupBy::Traceback
        | GroupBy::Thread
        | GroupBy::Size
        | GroupBy::Domain
        | GroupBy::Kind => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Language;

    fn frame(function: Option<&str>, file: Option<&str>, line: u32) -> ResolvedFrame {
        ResolvedFrame {
            function: function.map(Into::into),
            file: file.map(Into::into),
            line,
            module: "app".into(),
            offset: 0x1f,
            language: Language::Native,
            inlined: false,
            in_standard_library: None,
        }
    }

    #[test]
    fn keys_are_those_of_the_contract() {
        let full = frame(Some("grow(int)"), Some("/a/grow.cc"), 7);
        let nameless = frame(None, None, 0);
        let no_file = frame(Some("sqlite3Malloc"), None, 0);
        for (group_by, keys) in [
            (
                GroupBy::Line,
                ["/a/grow.cc:7", "app+0x1f", "app!sqlite3Malloc"],
            ),
            (GroupBy::File, ["/a/grow.cc", "app", "app"]),
            (
                GroupBy::Function,
                ["grow(int)", "app+0x1f", "sqlite3Malloc"],
            ),
            (GroupBy::Module, ["app", "app", "app"]),
            (
                GroupBy::Traceback,
                [
                    "grow(int) (/a/grow.cc:7)",
                    "app+0x1f",
                    "sqlite3Malloc (app)",
                ],
            ),
        ] {
            for (frame, key) in [&full, &nameless, &no_file].into_iter().zip(keys) {
                assert_eq!(label(frame, group_by, false), key);
            }
        }
        assert_eq!(label(&full, GroupBy::Function, true), "app!grow(int)");
        assert_eq!(label(&nameless, GroupBy::Function, true), "app+0x1f");
    }
}
