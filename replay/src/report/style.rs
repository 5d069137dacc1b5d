//! Colours and widths: what the terminal (or the file) can show.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Nothing special.
    Plain,
    /// Headings.
    Bold,
    /// What matters less: source lines, function names beside a key.
    Dim,
    /// Numbers that a row is about.
    Number,
    /// Memory that grew, a failed gate.
    Worse,
    /// Memory that shrank.
    Better,
}

/// How to show text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colours are used.
    pub colored: bool,
    /// Columns of the terminal; None: lines may be of any length.
    pub width: Option<usize>,
}

impl Style {
    /// No colours and no limit.
    pub const PLAIN: Self = Self {
        colored: false,
        width: None,
    };

    /// The style for standard output.
    #[must_use]
    pub fn of_stdout(choice: ColorChoice) -> Self {
        Self::of(&std::io::stdout(), choice)
    }

    /// The style for standard error.
    #[must_use]
    pub fn of_stderr(choice: ColorChoice) -> Self {
        Self::of(&std::io::stderr(), choice)
    }

    fn of(stream: &(impl AsFd + IsTerminal), choice: ColorChoice) -> Self {
        let is_terminal = stream.is_terminal();
        Self {
            colored: is_colored(choice, is_terminal),
            width: is_terminal.then(|| terminal_width(stream)),
        }
    }

    /// `text` in lines that fit the terminal, broken at spaces: `taken` columns stand before the
    /// first, `indent` spaces are put before the others. Words that are too wide lose their middle.
    #[must_use]
    pub fn fold(&self, text: &str, taken: usize, indent: usize) -> String {
        let Some(width) = self.width else {
            return text.to_owned();
        };
        let mut folded = String::new();
        let (mut line_columns, mut is_first) = (taken, true);
        for piece in pieces(text) {
            let piece_columns = columns(piece);
            if !is_first && line_columns + 1 + piece_columns <= width {
                folded.push(' ');
                line_columns += 1;
            } else if !is_first {
                folded.push('\n');
                folded.push_str(&" ".repeat(indent));
                line_columns = indent;
            }
            let piece = cut_middle(piece, width.saturating_sub(line_columns).max(1));
            line_columns += columns(&piece);
            folded.push_str(&piece);
            is_first = false;
        }
        folded
    }

    /// Writes the heading of an answer.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_title(&self, title: &str, out: &mut dyn Write) -> io::Result<()> {
        let title = self.fold(&printable(title), 0, 2);
        // Each line by itself: a colour that reaches over the end of a line fills some terminals.
        for line in title.lines() {
            writeln!(out, "{}", self.paint(Paint::Bold, line))?;
        }
        Ok(())
    }

    /// `text` in the colour of `paint`.
    #[must_use]
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => "",
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Number => "36",
            Paint::Worse => "31",
            Paint::Better => "32",
        };
        if !self.colored || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn is_colored(choice: ColorChoice, is_terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !set("NO_COLOR") && !dumb,
    }
}

/// Words, those with a number in front of them not parted from it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (place, _) in text.match_indices(' ') {
        let is_number = text
            .get(begin..place)
            .is_some_and(|piece| piece.ends_with(|letter: char| letter.is_ascii_digit()));
        if !is_number {
            pieces.extend(text.get(begin..place));
            begin = place + 1;
        }
    }
    pieces.extend(text.get(begin..));
    pieces
}

/// Columns of the terminal: COLUMNS when set, else what the terminal says, else 100.
fn terminal_width(stream: &impl AsFd) -> usize {
    let stated = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let columns = stated.or_else(|| asked_width(stream)).unwrap_or(100);
    columns.clamp(40, 1000)
}

fn asked_width(stream: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = stream.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for that.
    let answer = unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Columns that `text` takes: none for what combines with the letter before, two for wide letters.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` without control characters: names of files and functions are not trusted on a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    text.chars().map(shown).collect()
}

/// `text` cut in the middle to at most `width` columns: the start of a name and its end say more
/// than what is between.
#[must_use]
pub fn cut_middle(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    if width < 4 {
        return start(text, width).to_owned();
    }
    let tail = end(text, (width - 1) / 2);
    format!("{}…{tail}", start(text, width - 1 - columns(tail)))
}

/// `text` without its start, cut to at most `width` columns: the end of a path says most.
#[must_use]
pub fn cut_start(text: &str, width: usize) -> String {
    match width.checked_sub(1) {
        _ if columns(text) <= width => text.to_owned(),
        Some(left) => format!("…{}", end(text, left)),
        None => String::new(),
    }
}

/// `text` without its end, cut to at most `width` columns.
#[must_use]
pub fn cut_end(text: &str, width: usize) -> String {
    match width.checked_sub(1) {
        _ if columns(text) <= width => text.to_owned(),
        Some(left) => format!("{}…", start(text, left)),
        None => String::new(),
    }
}

/// The longest start of `text` that takes at most `width` columns.
fn start(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let too_far = text.char_indices().find(|(_, letter)| {
        taken += letter.width().unwrap_or(0);
        taken > width
    });
    let length = too_far.map_or(text.len(), |(place, _)| place);
    text.get(..length).unwrap_or(text)
}

/// The longest end of `text` that takes at most `width` columns.
fn end(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let fitting = text.char_indices().rev().take_while(|(_, letter)| {
        taken += letter.width().unwrap_or(0);
        taken <= width
    });
    let from = fitting.last().map_or(text.len(), |(place, _)| place);
    text.get(from..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(cut_middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(cut_middle("abcdefghij", 7), "abc…hij");
        assert_eq!(cut_middle("abcdefghij", 6), "abc…ij");
        assert_eq!(cut_middle("abcdefghij", 3), "abc");
        assert_eq!(cut_middle("äöüßäöüß", 5), "äö…üß");
        assert_eq!(cut_middle("", 5), "");
        assert_eq!(cut_start("/usr/include/a.h:7", 9), "…de/a.h:7");
        assert_eq!(cut_start("a.h:7", 9), "a.h:7");
        assert_eq!(cut_start("a.h:7", 0), "");
        assert_eq!(cut_end("x = malloc(7);", 9), "x = mall…");
        assert_eq!(cut_end("", 0), "");
    }

    #[test]
    fn letters_count_for_what_they_take() {
        let wide = "割り当て関数";
        assert_eq!(columns(wide), 12);
        assert_eq!(columns("e\u{301}"), 1);
        for width in 0..=12 {
            for cut in [cut_middle, cut_start, cut_end] {
                assert!(columns(&cut(wide, width)) <= width);
            }
        }
        assert_eq!(cut_middle(wide, 7), "割り…数");
        assert_eq!(cut_start(wide, 6), "…関数");
    }

    #[test]
    fn lines_are_folded_at_spaces() {
        let style = |width| Style {
            colored: false,
            width,
        };
        let text = "x.tape: live heap at peak (7 ms): 113 KiB in 802 blocks";
        assert_eq!(style(None).fold(text, 0, 2), text);
        assert_eq!(style(Some(100)).fold(text, 0, 2), text);
        assert_eq!(
            style(Some(30)).fold(text, 0, 2),
            "x.tape: live heap at peak\n  (7 ms): 113 KiB in\n  802 blocks"
        );
        assert_eq!(
            style(Some(20)).fold("a/very/long/path/to/x.tape: it", 0, 2),
            "a/very/lon…o/x.tape:\n  it"
        );
        assert_eq!(
            style(Some(20)).fold("one two", 16, 16),
            "one\n                two"
        );
    }

    #[test]
    fn colours_only_where_wanted() {
        let colored = Style {
            colored: true,
            width: None,
        };
        assert_eq!(colored.paint(Paint::Worse, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(colored.paint(Paint::Plain, "x"), "x");
        assert_eq!(Style::PLAIN.paint(Paint::Worse, "x"), "x");
        assert!(is_colored(ColorChoice::Always, false));
        assert!(!is_colored(ColorChoice::Never, true));
        assert!(!is_colored(ColorChoice::Auto, false));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
