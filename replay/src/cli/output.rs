//! Where the answer goes, and what is said beside it.

use crate::launch::started::output_was_closed;
use heaptape::report::style::printable;
use heaptape::report::{ColorChoice, Style};
use std::io::{self, BufWriter, Stdout, Write};

/// Notes of one kind that are shown before the rest is counted.
const NOTES_SHOWN: usize = 3;

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    /// Colours and width for it.
    pub(super) style: Style,
    /// The same for standard error.
    pub(super) error_style: Style,
    writer: BufWriter<Stdout>,
}

impl Output {
    pub(super) fn new(choice: ColorChoice) -> Self {
        Self {
            style: Style::of_stdout(choice),
            error_style: Style::of_stderr(choice),
            writer: BufWriter::with_capacity(1 << 16, io::stdout()),
        }
    }

    /// Writes a sentence, in lines that fit the terminal.
    pub(super) fn say(&mut self, sentence: &str) -> io::Result<()> {
        let text = self.style.fold(&printable(sentence), 0, 2);
        writeln!(self, "{text}")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check_open()?;
        self.writer.write(bytes).map_err(explained)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(explained)
    }
}

/// What the system would say, had Rust not opened something else in place of a closed output.
pub(super) fn check_open() -> io::Result<()> {
    if output_was_closed() {
        return Err(explained(io::Error::from_raw_os_error(libc::EBADF)));
    }
    Ok(())
}

/// Says what could not be done.
pub(super) fn explained(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the output: {error}"))
}

/// Says in one line on standard error what went wrong.
pub(super) fn complain(message: &str) {
    let line = message
        .split('\n')
        .map(|part| printable(part.trim()))
        .collect::<Vec<_>>()
        .join(" ");
    // Nobody listens: there is nobody to tell.
    let _ = writeln!(io::stderr(), "heaptape: {line}");
}

/// Says on standard error what a reader of the answer should know.
pub(super) fn note(message: &str) {
    complain(&format!("note: {message}"));
}

/// Says the first of `notes`, and how many more there are.
pub(super) fn notes(notes: &[String]) {
    for message in notes.iter().take(NOTES_SHOWN) {
        note(message);
    }
    if let Some(more) = notes
        .len()
        .checked_sub(NOTES_SHOWN)
        .filter(|&more| more > 0)
    {
        note(&format!("the same for {more} more modules"));
    }
}
