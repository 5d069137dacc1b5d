//! Rows as JSON: one object, written row by row, so that it never has to fit in memory.

use super::rows::Shown;
use crate::stats::key::place;
use crate::stats::query::Answer;
use crate::symbols::ResolvedFrame;
use heaptape_format::tables::CutReason;
use serde::Serialize;
use std::io::{self, Write};

/// A frame in JSON.
#[derive(Debug, Serialize)]
pub struct JsonFrame<'f> {
    function: Option<&'f str>,
    file: Option<&'f str>,
    line: Option<u32>,
    module: &'f str,
    language: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inlined: bool,
    /// Where it is, when nothing else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl<'f> JsonFrame<'f> {
    /// The JSON of `frame`.
    #[must_use]
    pub fn new(frame: &'f ResolvedFrame) -> Self {
        let nameless = frame.function.is_none() && place(frame).is_none();
        Self {
            function: frame.function.as_deref(),
            file: frame.file.as_deref(),
            line: (frame.line > 0).then_some(frame.line),
            module: &frame.module,
            language: frame.language.name(),
            inlined: frame.inlined,
            address: (nameless && frame.offset > 0).then(|| frame.address()),
        }
    }
}

/// The word for a cut in JSON.
#[must_use]
pub fn cut_name(reason: CutReason) -> &'static str {
    match reason {
        CutReason::Depth => "depth",
        CutReason::Unknown => "unknown",
    }
}

/// Writes an answer: the members of `head` (a JSON object with at least one), then `rows`.
///
/// # Errors
/// Those of `out`.
pub fn write<M: Shown>(
    head: &impl Serialize,
    answer: &Answer<M>,
    top: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let head = serde_json::to_string(head)?;
    let members = head.strip_suffix('}').unwrap_or(&head);
    write!(out, "{members},\n\"rows\":[")?;
    let rows = answer.rows.iter().take(top.unwrap_or(usize::MAX));
    for (place, (key, value)) in rows.enumerate() {
        let joint = if place == 0 { "\n" } else { ",\n" };
        let text = serde_json::to_string(&answer.grouper.text(*key))?;
        write!(out, "{joint}{{\"key\":{text},\"frames\":")?;
        let frames = answer.grouper.frames(*key);
        let frames: Vec<JsonFrame<'_>> = frames.iter().map(JsonFrame::new).collect();
        serde_json::to_writer(&mut *out, &frames)?;
        for (name, value) in M::MEMBERS.iter().zip(value.values(&answer.total)) {
            write!(out, ",\"{name}\":{value}")?;
        }
        if let Some(reason) = answer.grouper.cut(*key) {
            write!(out, ",\"cut\":\"{}\"", cut_name(reason))?;
        }
        write!(out, "}}")?;
    }
    writeln!(out, "]}}")
}
