//! Frames of Python: their functions, files and lines, from the code objects that a tape carries.
//!
//! What comes in: numbers of code objects with instructions. What goes out: a source frame for
//! each. Nothing is looked up on this machine.

use super::frames::{Language, ResolvedFrame};
use super::paths::file_name;
use super::stack_frames::StackSource;
use heaptape_format::line_table::LineTable;
use heaptape_format::tables::CodeObject;
use rustc_hash::FxHashMap;

/// The module name of frames whose file is not known.
const UNKNOWN_FILE: &str = "[python]";

/// The source frames of `wanted`, code objects with instructions, each with its value there. Each
/// line table is read once.
pub(super) fn resolve(
    source: &dyn StackSource,
    wanted: &FxHashMap<(u32, u32), usize>,
) -> Vec<(usize, ResolvedFrame)> {
    let mut wanted: Vec<((u32, u32), usize)> = wanted.iter().map(|(&it, &to)| (it, to)).collect();
    wanted.sort_unstable();
    let mut frames = Vec::with_capacity(wanted.len());
    for of_one in wanted.chunk_by(|((one, _), _), ((other, _), _)| one == other) {
        let Some(&((number, _), _)) = of_one.first() else {
            continue;
        };
        let code = source.code(number);
        let lines = code.map(|code| LineTable::new(code.form, code.first_line, &code.line_table));
        for &((_, instruction), to) in of_one {
            let line = lines.as_ref().map_or(0, |lines| lines.line(instruction));
            frames.push((to, frame(number, code, line)));
        }
    }
    frames
}

fn frame(number: u32, code: Option<&CodeObject>, line: u32) -> ResolvedFrame {
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    let function: Option<Box<str>> = code.and_then(|code| text(&code.name));
    let file: Option<Box<str>> = code.and_then(|code| text(&code.file));
    let module = match file.as_deref().map_or("", file_name) {
        "" => UNKNOWN_FILE,
        name => name,
    };
    ResolvedFrame {
        module: module.into(),
        // Code objects without a name are told apart.
        offset: if function.is_none() { number.into() } else { 0 },
        function,
        file,
        line,
        language: Language::Python,
        inlined: false,
        in_standard_library: None,
    }
}
