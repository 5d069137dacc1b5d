//! Colours and widths: what the terminal (or the file) can show.

use std::io::IsTerminal;

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
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            colored: is_colored(choice, is_terminal),
            width: is_terminal.then(terminal_width),
        }
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

/// Columns of the terminal: COLUMNS when set, else what the terminal says, else 100.
fn terminal_width() -> usize {
    let stated = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let columns = stated.or_else(asked_width).unwrap_or(100);
    columns.clamp(40, 1000)
}

fn asked_width() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for that.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Columns that `text` takes: its characters, those that combine with the one before not counted.
#[must_use]
pub fn columns(text: &str) -> usize {
    let combining = [
        '\u{300}'..='\u{36f}',
        '\u{200b}'..='\u{200f}',
        '\u{fe00}'..='\u{fe0f}',
    ];
    let combines = |letter: &char| combining.iter().any(|range| range.contains(letter));
    text.chars().filter(|letter| !combines(letter)).count()
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
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    if width < 4 {
        return letters.into_iter().take(width).collect();
    }
    let head = (width - 1).div_ceil(2);
    let tail = width - 1 - head;
    let start = letters.iter().take(head);
    let end = letters.iter().skip(letters.len() - tail);
    start.chain(&['…']).chain(end).collect()
}

/// `text` without its start, cut to at most `width` columns: the end of a path says most.
#[must_use]
pub fn cut_start(text: &str, width: usize) -> String {
    let letters = text.chars().count();
    if letters <= width {
        return text.to_owned();
    }
    let tail = text.chars().skip(letters - width.saturating_sub(1));
    std::iter::once('…').chain(tail).take(width).collect()
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
