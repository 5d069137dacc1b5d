//! Where a thread, or what the C library calls back, enters a program all of whose frames there are
//! the standard library's: compiled into the program's own file, with the program's closure inlined
//! into one of them. Without debug information nothing else is left of it.

use super::frames::ResolvedFrame;
use super::frames::{FrameId, FrameTable, Language};
use super::standard_library::is_standard_library;

/// Rust's standard library calls what a thread or a program begins with through this function, so
/// that whoever prints a stack knows where the program's part ends.
const RUST_ENTRY: &str = "::__rust_begin_short_backtrace";
/// What stands in names that were made for a closure.
const CLOSURES: [&str; 2] = ["::{lambda", "{closure#"];

/// Among `frames`, the most recent first, the one in which the program's code must be. Of those of
/// the standard library that are in no library's file it is the outermost, or rather the one that
/// is named after a closure.
pub(super) fn entry(
    frames: impl Iterator<Item = FrameId>,
    table: &FrameTable,
    is_of_library: impl Fn(&ResolvedFrame) -> bool,
) -> Option<FrameId> {
    let (mut outermost, mut closure) = (None, None);
    for id in frames {
        let frame = table.get(id);
        let Some(name) = frame.function.as_deref() else {
            continue;
        };
        let is_compiled_in = frame.language == Language::Native
            && !is_of_library(frame)
            && is_standard_library(name, frame.file.as_deref());
        if !is_compiled_in {
            continue;
        }
        if name.contains(RUST_ENTRY) {
            return Some(id);
        }
        outermost = Some(id);
        if CLOSURES.iter().any(|mark| name.contains(mark)) {
            closure = outermost;
        }
    }
    closure.or(outermost)
}
