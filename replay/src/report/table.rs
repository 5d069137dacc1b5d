//! Aligned tables: numbers to the right, one wide last column of text that takes what is left of
//! the line.

use super::style::{Paint, Style, columns, cut_end, cut_middle, printable};
use std::io::{self, Write};

/// A number in a table.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// Its colour.
    pub paint: Paint,
}

impl Cell {
    /// A cell.
    #[must_use]
    pub fn new(text: String, paint: Paint) -> Self {
        Self { text, paint }
    }

    /// A cell without colour.
    #[must_use]
    pub fn plain(text: String) -> Self {
        Self::new(text, Paint::Plain)
    }
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The numbers, one for each heading but the last.
    pub cells: Vec<Cell>,
    /// The wide column.
    pub key: String,
    /// What stands beside the key where there is room.
    pub aside: String,
    /// Lines below the row, under the key.
    pub below: Vec<String>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The headings; the last one is of the wide column.
    pub headings: Vec<&'static str>,
    /// Places of the headings that are left out, one after another, until the wide column has room
    /// enough on a narrow terminal.
    pub dispensable: &'static [usize],
    /// The rows.
    pub rows: Vec<Row>,
}

const GAP: &str = "  ";
/// Columns of numbers are left out before the wide column gets narrower than this.
const KEY_COLUMNS_WANTED: usize = 20;
/// What it keeps in every case.
const KEY_COLUMNS_MIN: usize = 8;

impl Table {
    /// Writes the table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        let shown = self.shown(style);
        let indent = indent(&shown);
        let room = style
            .width
            .map(|width| width.saturating_sub(indent).max(KEY_COLUMNS_MIN));
        let mut line = String::from(GAP);
        for &(place, width) in &shown {
            let heading = self.headings.get(place).copied().unwrap_or_default();
            line.push_str(&format!("{heading:>width$}{GAP}"));
        }
        line.push_str(self.headings.last().copied().unwrap_or_default());
        writeln!(out, "{}", style.paint(Paint::Bold, line.trim_end()))?;
        for row in &self.rows {
            write!(out, "{GAP}")?;
            for &(place, width) in &shown {
                let Some(cell) = row.cells.get(place) else {
                    continue;
                };
                let pad = " ".repeat(width.saturating_sub(columns(&cell.text)));
                write!(out, "{pad}{}{GAP}", style.paint(cell.paint, &cell.text))?;
            }
            write_key(row, room, style, out)?;
            for below in &row.below {
                let below = printable(below);
                let below = room.map_or(below.clone(), |room| cut_end(&below, room));
                let below = style.paint(Paint::Dim, &below);
                writeln!(out, "{}{below}", " ".repeat(indent))?;
            }
        }
        self.write_left_out(&shown, style, out)
    }

    /// The columns of numbers that are shown, with their widths.
    fn shown(&self, style: &Style) -> Vec<(usize, usize)> {
        let numbers = self.headings.len().saturating_sub(1);
        let mut shown: Vec<(usize, usize)> = (0..numbers)
            .map(|place| (place, self.width(place)))
            .collect();
        let Some(width) = style.width else {
            return shown;
        };
        let longest = self.rows.iter().map(|row| columns(&row.key)).max();
        let wanted = longest.unwrap_or(0).min(KEY_COLUMNS_WANTED);
        for unneeded in self.dispensable {
            if indent(&shown) + wanted <= width {
                break;
            }
            shown.retain(|(place, _)| place != unneeded);
        }
        shown
    }

    fn write_left_out(
        &self,
        shown: &[(usize, usize)],
        style: &Style,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let numbers = self.headings.split_last().map_or(&[][..], |(_, rest)| rest);
        let left_out: Vec<&str> = (0..)
            .zip(numbers)
            .filter(|(place, _)| !shown.iter().any(|(other, _)| other == place))
            .map(|(_, heading)| *heading)
            .collect();
        if left_out.is_empty() {
            return Ok(());
        }
        let text = format!("(a wider terminal shows: {})", left_out.join(", "));
        let text = style.fold(&text, GAP.len(), GAP.len());
        writeln!(out, "{GAP}{}", style.paint(Paint::Dim, &text))
    }

    fn width(&self, place: usize) -> usize {
        let heading = self.headings.get(place).map_or(0, |text| columns(text));
        let cells = self.rows.iter().filter_map(|row| row.cells.get(place));
        cells
            .map(|cell| columns(&cell.text))
            .fold(heading, usize::max)
    }
}

/// Where the wide column begins.
fn indent(shown: &[(usize, usize)]) -> usize {
    let numbers = shown.iter().map(|(_, width)| width + GAP.len());
    numbers.sum::<usize>() + GAP.len()
}

fn write_key(row: &Row, room: Option<usize>, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let key = printable(&row.key);
    let shown = room.map_or(key.clone(), |room| cut_middle(&key, room));
    write!(out, "{shown}")?;
    if !row.aside.is_empty() {
        let aside = printable(&row.aside);
        let left = room.map(|room| room.saturating_sub(columns(&shown) + GAP.len()));
        match left {
            None => write!(out, "{GAP}{}", style.paint(Paint::Dim, &aside))?,
            Some(left) if left >= 8 => {
                let aside = cut_middle(&aside, left);
                write!(out, "{GAP}{}", style.paint(Paint::Dim, &aside))?;
            }
            Some(_) => {}
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table, width: Option<usize>) -> String {
        let style = Style {
            colored: false,
            width,
        };
        let mut out = Vec::new();
        table.write(&style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_keys_fill_the_line() {
        let row = |bytes: &str, key: &str| Row {
            cells: vec![Cell::plain(bytes.into())],
            key: key.into(),
            aside: "main".into(),
            below: vec!["x = malloc(n);".into()],
        };
        let table = Table {
            headings: vec!["bytes", "line"],
            dispensable: &[],
            rows: vec![row("1,000,000", "src/main.c:42"), row("7", "a.c:1")],
        };
        assert_eq!(
            text(&table, None),
            "      bytes  line\n\
             \x20 1,000,000  src/main.c:42  main\n\
             \x20            x = malloc(n);\n\
             \x20         7  a.c:1  main\n\
             \x20            x = malloc(n);\n"
        );
        for line in text(&table, Some(34)).lines() {
            assert!(columns(line) <= 34, "{line}");
        }
    }

    #[test]
    fn a_long_key_is_cut_to_the_terminal() {
        let key = "std::map<int, std::vector<int>>::operator[](int&&)".repeat(4);
        let table = Table {
            headings: vec!["bytes", "function"],
            dispensable: &[],
            rows: vec![Row {
                cells: vec![Cell::plain("12".into())],
                key: key.clone(),
                ..Row::default()
            }],
        };
        let shown = text(&table, Some(60));
        let line = shown.lines().nth(1).unwrap();
        assert_eq!(columns(line), 60);
        assert!(line.contains('…') && line.ends_with("(int&&)"));
        assert!(
            text(&table, None).contains(&key),
            "a file gets the whole name"
        );
    }
    #[test]
    fn a_narrow_terminal_gets_fewer_numbers() {
        let cells = ["12.5 KiB", "100.0", "1,234,567"];
        let table = Table {
            headings: vec!["bytes", "%", "blocks", "line"],
            dispensable: &[1, 2],
            rows: vec![Row {
                cells: cells.map(|text| Cell::plain(text.into())).into(),
                key: "/a/path/to/the/source/file.c:123".into(),
                ..Row::default()
            }],
        };
        assert!(!text(&table, Some(50)).contains("wider"));
        assert_eq!(
            text(&table, Some(45)),
            "     bytes     blocks  line\n\
             \x20 12.5 KiB  1,234,567  /a/path/to/…file.c:123\n\
             \x20 (a wider terminal shows: %)\n"
        );
        let narrow = text(&table, Some(40));
        assert!(narrow.ends_with("(a wider terminal shows: %, blocks)\n"));
        assert!(narrow.lines().all(|line| columns(line) <= 40), "{narrow}");
    }
}
