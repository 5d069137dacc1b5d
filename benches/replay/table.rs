//! The bars, and the figures beside them.

use crate::commands::Built;
use crate::latency::Latency;
use crate::questions::Answers;

/// All figures of one tape.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) events: u64,
    pub(crate) tape_bytes: u64,
    pub(crate) decode_seconds: f64,
    /// For each number of threads.
    pub(crate) columns: Vec<Column>,
}

/// The figures of one number of threads.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) threads: usize,
    pub(crate) built: Built,
    pub(crate) stats: Latency,
    pub(crate) diff: Latency,
    pub(crate) answers: Answers,
}

/// Of a latency: the half, and nineteen twentieths, in milliseconds at most.
type Limits = (f64, f64);

/// A row: its name, its bars, a cell a column, and whether the bar that must be met is.
struct Row {
    figure: &'static str,
    must: String,
    moonshot: String,
    cells: Vec<String>,
    is_met: Option<bool>,
}

impl Row {
    fn print(&self) {
        let verdict = match self.is_met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let Self {
            figure,
            must,
            moonshot,
            cells,
            ..
        } = self;
        println!(
            "| {figure} | {must} | {moonshot} | {} | {verdict} |",
            cells.join(" | ")
        );
    }
}

const MEBIBYTE: f64 = 1_048_576.0;
/// What an index build may take, and for each live block.
const INDEX_MEMORY: (f64, f64) = (64.0 * MEBIBYTE, 48.0);

impl Figures {
    fn millions(&self) -> f64 {
        self.events as f64 / 1e6
    }

    fn live(&self) -> usize {
        let columns = self.columns.iter();
        columns.map(|column| column.answers.live).max().unwrap_or(0)
    }

    /// The column of one thread.
    fn alone(&self) -> Option<&Column> {
        self.columns.first()
    }

    /// A row of a latency. It must be met on all threads: that is how commands run.
    fn latency(
        &self,
        figure: &'static str,
        must: Limits,
        moonshot: Option<Limits>,
        of: impl Fn(&Column) -> &Latency,
    ) -> Row {
        let words = |(half, most): Limits| match half < most {
            true => format!("≤ {half} / {most}"),
            false => format!("≤ {half}"),
        };
        let last = self.columns.last().map(&of);
        Row {
            figure,
            must: words(must),
            moonshot: moonshot.map(words).unwrap_or_default(),
            cells: self.columns.iter().map(|c| of(c).to_string()).collect(),
            is_met: last.map(|last| last.p50() <= must.0 && last.p95() <= must.1),
        }
    }

    fn decode(&self) -> Row {
        let rate = self.millions() / self.decode_seconds;
        let mut cells = vec![format!("{rate:.1}")];
        cells.resize(self.columns.len(), String::new());
        Row {
            figure: "decode, M events/s of CPU",
            must: "≥ 40".into(),
            moonshot: "80".into(),
            cells,
            is_met: Some(rate >= 40.0),
        }
    }

    fn build(&self) -> [Row; 3] {
        let alone = self.alone();
        let rate = |built: &Built| self.millions() / built.seconds;
        let cell = |built: &Built| {
            let Built {
                seconds,
                cpu_seconds,
                ..
            } = built;
            format!(
                "{:.1} ({seconds:.2} s, CPU {cpu_seconds:.2} s)",
                rate(built)
            )
        };
        let faster =
            |column: &Column| alone.map_or(1.0, |alone| alone.built.seconds / column.built.seconds);
        let allowed = INDEX_MEMORY.0 + INDEX_MEMORY.1 * self.live() as f64;
        let memory = |column: &Column| column.built.anonymous_kib as f64 * 1024.0;
        let most = self.columns.iter().map(memory).fold(0.0, f64::max);
        let columns = || self.columns.iter();
        [
            Row {
                figure: "index build, M events/s",
                must: "≥ 8 a core".into(),
                moonshot: "20".into(),
                cells: columns().map(|c| cell(&c.built)).collect(),
                is_met: alone.map(|alone| rate(&alone.built) >= 8.0),
            },
            Row {
                figure: "index build, times as fast as on one thread",
                must: "≥ 1.7".into(),
                moonshot: String::new(),
                cells: columns().map(|c| format!("{:.2}", faster(c))).collect(),
                is_met: self.columns.get(1).map(|column| faster(column) >= 1.7),
            },
            Row {
                figure: "index build, RssAnon in MiB",
                must: format!("≤ {:.0}", allowed / MEBIBYTE),
                moonshot: String::new(),
                cells: columns()
                    .map(|c| format!("{:.0}", memory(c) / MEBIBYTE))
                    .collect(),
                is_met: Some(most <= allowed),
            },
        ]
    }

    fn share(&self) -> Row {
        let share = |column: &Column| {
            column.built.index_bytes as f64 * 100.0 / self.tape_bytes.max(1) as f64
        };
        let cells = self.columns.iter().map(|c| format!("{:.1}", share(c)));
        Row {
            figure: "index, percent of the tape",
            must: "≤ 25".into(),
            moonshot: String::new(),
            cells: cells.collect(),
            is_met: self.alone().map(|alone| share(alone) <= 25.0),
        }
    }

    /// Prints all rows.
    pub(crate) fn print(&self) {
        println!(
            "\n#### {}: {:.2} M events, up to {} blocks alive, {:.1} MiB ({:.2} bytes an event)\n",
            self.name,
            self.millions(),
            self.live(),
            self.tape_bytes as f64 / MEBIBYTE,
            self.tape_bytes as f64 / self.events.max(1) as f64,
        );
        let heads = self.columns.iter().map(|c| match c.threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        });
        let heads: Vec<String> = heads.collect();
        println!("| figure | must | moonshot | {} | met |", heads.join(" | "));
        println!("|---|---|---|{}---|", "---|".repeat(heads.len()));
        self.decode().print();
        for row in self.build() {
            row.print();
        }
        self.share().print();
        let whole = ((40.0, 80.0), Some((15.0, 30.0)));
        let inside = ((10.0, 20.0), Some((3.0, 8.0)));
        let rows = [
            self.latency(
                "`stats` by line at T, whole process, ms",
                whole.0,
                whole.1,
                |c| &c.stats,
            ),
            self.latency("`diff` by line, whole process, ms", whole.0, whole.1, |c| {
                &c.diff
            }),
            self.latency(
                "stats by line at T, running process, ms",
                inside.0,
                inside.1,
                |c| &c.answers.stats,
            ),
            self.latency(
                "diff by line, running process, ms",
                inside.0,
                inside.1,
                |c| &c.answers.diff,
            ),
            self.latency("owners of an address, ms", (30.0, 30.0), None, |c| {
                &c.answers.owner
            }),
            self.latency("live set, ms for each M blocks", (15.0, 15.0), None, |c| {
                &c.answers.live_million
            }),
            self.latency(
                "timeline of 1,000 points, ms",
                (20.0, 20.0),
                Some((2.0, 2.0)),
                |c| &c.answers.timeline,
            ),
            Row {
                is_met: None,
                must: String::new(),
                ..self.latency("open with the index, ms", (20.0, 20.0), None, |c| {
                    &c.answers.opened
                })
            },
        ];
        for row in rows {
            row.print();
        }
    }
}

/// How figures grow with the number of events.
pub(crate) fn print_growth(tapes: &[Figures]) {
    let Some((first, rest)) = tapes.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return;
    };
    println!("\n#### Growth, on all threads, relative to the first\n");
    println!("| tape | index time for each event (must: within 20 %) | `stats` p50 (within 2×) |");
    println!("|---|---|---|");
    let last = |figures: &Figures| {
        let column = figures.columns.last()?;
        Some((
            column.built.seconds / figures.millions(),
            column.stats.p50(),
        ))
    };
    let Some(base) = last(first) else { return };
    println!(
        "| {} | {:.3} s a million | {:.1} ms |",
        first.name, base.0, base.1
    );
    for figures in rest {
        if let Some((index, stats)) = last(figures) {
            println!(
                "| {} | {index:.3} s a million, {:.2} | {stats:.1} ms, {:.2} |",
                figures.name,
                index / base.0,
                stats / base.1
            );
        }
    }
}
