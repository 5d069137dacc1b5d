//! A view, drawn.
//!
//! In: a view and room on a screen. Out: its cells. Nothing of the tape gets there but letters that
//! can be shown; a terminal that knows ASCII alone gets that alone.

use super::session::{Facts, Rates};
use super::table;
use super::view::View;
use super::worker::Shot;
use crate::report::rows::Shown;
use crate::report::style::{Paint, columns, cut_end, printable};
use crate::report::units::{Sizes, count, size, time};
use crate::stats::SortBy;
use crate::symbols::Language;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

/// Bars for a terminal that knows ASCII alone.
const ASCII_BARS: bar::Set<'_> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "*",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

const HELP: [&str; 14] = [
    "g            next grouping",
    "1 to 9       line, function, file, module, traceback, thread, size, domain, kind",
    "s            next order: bytes, count, growth, average, key",
    "/            only rows whose file fits a pattern (as --include); !PATTERN leaves out",
    "l            frames of any language, native ones, Python's",
    "space, p     hold this moment; go on",
    "b            count changes from this moment on",
    "r            all as it was at the start",
    "arrows, j k  scroll; page up, page down, home, end",
    "?, h         this help",
    "Ctrl-L       draw again",
    "Ctrl-Z       stop; fg goes on",
    "q, Esc       quit",
    "",
];

/// Draws `view` over the whole of `frame`.
pub fn draw(view: &mut View, frame: &mut Frame<'_>) {
    let area = frame.area();
    let rows = usize::from(area.height);
    let head_rows = match rows {
        9.. => 3,
        5.. => 2,
        _ => 1,
    };
    let spark_rows = match rows {
        26.. => 4,
        18.. => 3,
        12.. => 2,
        10.. => 1,
        _ => 0,
    };
    let footer_rows = usize::from(rows >= 4);
    let heading_rows = usize::from(rows >= 3);
    let taken = head_rows + spark_rows + footer_rows + heading_rows;
    view.page = rows.saturating_sub(taken);
    view.first_row = view.first_row.min(last_first(view));
    let mut pen = Pen {
        view,
        area,
        next: area.y,
        buffer: frame.buffer_mut(),
    };
    pen.head(head_rows);
    pen.spark(spark_rows);
    if view.shows_help {
        pen.help(view.page + heading_rows);
    } else {
        pen.table(view.page, heading_rows > 0);
    }
    if footer_rows > 0 {
        pen.next = area.bottom().saturating_sub(1);
        pen.line(footer(view));
    }
    if !view.looks.unicode {
        as_ascii(frame.buffer_mut());
    }
}

fn last_first(view: &View) -> usize {
    let count = view.shot.as_ref().map_or(0, |shot| shot.rows.len());
    count.saturating_sub(view.page.max(1))
}

/// Draws line by line.
struct Pen<'a> {
    view: &'a View,
    area: Rect,
    next: u16,
    buffer: &'a mut Buffer,
}

impl Pen<'_> {
    fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    fn line(&mut self, pieces: table::Pieces) {
        if self.next >= self.area.bottom() {
            return;
        }
        let colored = self.view.looks.colored;
        let spans = pieces.into_iter().map(|(text, paint)| {
            let style = style(paint, colored);
            Span::styled(printable(&text), style)
        });
        let line = Line::from_iter(spans);
        let (x, y) = (self.area.x, self.next);
        self.buffer.set_line(x, y, &line, self.area.width);
        self.next += 1;
    }

    fn text(&mut self, text: &str, paint: Paint) {
        let text = cut_end(&printable(text), self.width());
        self.line(vec![(text, paint)]);
    }

    fn head(&mut self, rows: usize) {
        let Some(shot) = &self.view.shot else {
            return self.text("heaptape top: reading", Paint::Bold);
        };
        let facts = &shot.facts;
        let state = state(self.view, facts);
        let command = printable(&facts.command);
        let left = self.width().saturating_sub(columns(&state) + 2);
        let command = cut_end(&command, left);
        let gap = " ".repeat(usize::from(!command.is_empty()) * 2);
        let state_paint = match facts.state {
            "recording" => Paint::Better,
            _ => Paint::Number,
        };
        self.line(vec![
            (command, Paint::Bold),
            (gap, Paint::Plain),
            (state, state_paint),
        ]);
        if rows > 1 {
            self.text(&heap_words(facts), Paint::Plain);
        }
        if rows > 2 {
            self.text(&rate_words(shot), Paint::Plain);
        }
    }

    fn spark(&mut self, rows: usize) {
        let Some(shot) = self.view.shot.as_ref().filter(|_| rows > 0) else {
            self.next += rows as u16;
            return;
        };
        let looks = self.view.looks;
        let set = match looks.unicode {
            true => bar::NINE_LEVELS,
            false => ASCII_BARS,
        };
        let area = Rect {
            y: self.next,
            height: rows as u16,
            ..self.area
        };
        let data = shot.trace.columns(self.width());
        Sparkline::default()
            .bar_set(set)
            .data(data.iter().copied())
            .style(style(Paint::Number, looks.colored))
            .render(area.intersection(self.area), self.buffer);
        self.next += rows as u16;
    }

    fn table(&mut self, rows: usize, has_heading: bool) {
        let Some(shot) = &self.view.shot else {
            return;
        };
        if let Some(problem) = &shot.problem {
            return self.text(problem, Paint::Worse);
        }
        if !shot.facts.has_begun {
            return self.text(
                "nothing is told yet: the first second is not over",
                Paint::Dim,
            );
        }
        let first = self.view.first_row;
        let (heading, lines) = table::lines(shot, first, rows, self.width());
        if has_heading {
            self.line(heading);
        }
        if lines.is_empty() {
            self.text("no block fits", Paint::Dim);
        }
        lines.into_iter().for_each(|line| self.line(line));
    }

    fn help(&mut self, rows: usize) {
        for line in HELP.iter().take(rows) {
            self.text(line, Paint::Plain);
        }
    }
}

/// Whether it goes on, and which moment is shown.
fn state(view: &View, facts: &Facts) -> String {
    let at = time(facts.at_ns);
    let state = match (&facts.ended_by, facts.state) {
        _ if facts.progress < 1.0 => format!("reading {:.0} %", facts.progress * 100.0),
        (Some(end), _) => format!("ended ({end})"),
        (None, "cut") => "cut: it has no end".to_owned(),
        (None, state) => state.to_owned(),
    };
    let held = if view.is_held { "  HELD" } else { "" };
    format!("{}  {state}  {at}{held}", facts.pid)
}

fn heap_words(facts: &Facts) -> String {
    format!(
        "live {} in {} blocks   peak {} at {}",
        size(facts.total.bytes),
        count(facts.total.count),
        size(facts.peak.bytes),
        time(facts.peak_ns)
    )
}

fn rate_words(shot: &Shot) -> String {
    let facts = &shot.facts;
    let mut parts = Vec::new();
    if let Some(rates) = facts.rates {
        let Rates {
            allocations,
            frees,
            bytes,
        } = rates;
        let (allocations, frees) = (count(allocations as u64), count(frees as u64));
        let bytes = size(bytes as u64);
        parts.push(format!(
            "{allocations} allocs/s  {bytes}/s  {frees} frees/s"
        ));
    }
    if shot.total.to.bytes != facts.total.bytes || shot.total.to.count != facts.total.count {
        parts.push(format!(
            "rows: {}",
            shot.total.to.words(Sizes { exact: false })
        ));
    }
    if facts.has_baseline || facts.since_ns < facts.at_ns {
        let what = if facts.has_baseline {
            "baseline at"
        } else {
            "since"
        };
        parts.push(format!("± {what} {}", time(facts.since_ns)));
    }
    let notes = facts.notes.iter().chain(&shot.notes);
    parts.extend(notes.take(1).map(|note| format!("! {note}")));
    parts.join("   ")
}

/// The keys, or what is being typed.
fn footer(view: &View) -> table::Pieces {
    if let Some(typed) = &view.typed {
        return vec![
            ("/".to_owned(), Paint::Bold),
            (format!("{}_", printable(typed)), Paint::Plain),
            ("   Enter applies, Esc cancels".to_owned(), Paint::Dim),
        ];
    }
    let language = match view.query.language {
        None => "any",
        Some(Language::Native) => "native",
        Some(Language::Python) => "python",
    };
    let held = if view.is_held { "go on" } else { "hold" };
    let pattern = match view.pattern.as_str() {
        "" => "filter",
        pattern => pattern,
    };
    let keys = [
        ("q", "quit"),
        ("g", view.query.group_by.name()),
        ("s", order_name(view.query.sort)),
        ("/", pattern),
        ("space", held),
        ("b", "baseline"),
        ("l", language),
        ("r", "reset"),
        ("?", "help"),
    ];
    let pieces = keys.into_iter().flat_map(|(key, what)| {
        [
            (key.to_owned(), Paint::Bold),
            (format!(" {what}  "), Paint::Dim),
        ]
    });
    pieces.collect()
}

/// The name of an order, as the command line has it.
fn order_name(sort: SortBy) -> &'static str {
    match sort {
        SortBy::LiveBytes => "bytes",
        SortBy::LiveCount => "count",
        other => other.name(),
    }
}

fn style(paint: Paint, colored: bool) -> Style {
    if !colored {
        return Style::default();
    }
    match paint {
        Paint::Plain => Style::default(),
        Paint::Bold => Style::default().add_modifier(Modifier::BOLD),
        Paint::Dim => Style::default().add_modifier(Modifier::DIM),
        Paint::Number => Style::default().fg(Color::Cyan),
        Paint::Worse => Style::default().fg(Color::Red),
        Paint::Better => Style::default().fg(Color::Green),
    }
}

/// Puts letters of ASCII in place of all others.
fn as_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        let plain = match symbol {
            "…" => ".",
            "±" => "+",
            "µ" => "u",
            _ => "?",
        };
        cell.set_symbol(plain);
    }
}

#[cfg(test)]
mod tests;
