//! Rows as CSV (RFC 4180): a line of names, then one line a row, ended by CR LF.

use super::rows::Shown;
use crate::stats::query::Answer;
use std::io::{self, Write};

/// A field: in quotes when it must be.
#[must_use]
pub fn field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Writes one line of fields.
///
/// # Errors
/// Those of `out`.
pub fn line(fields: &[String], out: &mut dyn Write) -> io::Result<()> {
    let fields: Vec<String> = fields.iter().map(|text| field(text)).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// Writes the rows of an answer. `function`, `file`, `line` and `module` are those of the most
/// recent frame that the key stands for, empty where there is none.
///
/// # Errors
/// Those of `out`.
pub fn write<M: Shown>(
    answer: &Answer<M>,
    top: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let names = ["key", "function", "file", "line", "module"];
    let names = names.iter().chain(M::MEMBERS).map(|&name| name.to_owned());
    line(&names.collect::<Vec<_>>(), out)?;
    for (key, value) in answer.rows.iter().take(top.unwrap_or(usize::MAX)) {
        let mut fields = vec![answer.grouper.text(*key)];
        match answer.grouper.frames(*key).first() {
            Some(frame) => {
                fields.push(frame.function.as_deref().unwrap_or_default().to_owned());
                fields.push(frame.file.as_deref().unwrap_or_default().to_owned());
                fields.push(match frame.line {
                    0 => String::new(),
                    line => line.to_string(),
                });
                fields.push(frame.module.to_string());
            }
            None => fields.extend(std::iter::repeat_n(String::new(), 4)),
        }
        fields.extend(value.values(&answer.total).iter().map(ToString::to_string));
        line(&fields, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_rfc_4180_says() {
        for (text, quoted) in [
            ("plain", "plain"),
            ("std::map<int, int>", "\"std::map<int, int>\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("", ""),
        ] {
            assert_eq!(field(text), quoted);
        }
        let mut out = Vec::new();
        line(&["a".into(), "b,c".into()], &mut out).unwrap();
        assert_eq!(out, b"a,\"b,c\"\r\n");
    }
}
