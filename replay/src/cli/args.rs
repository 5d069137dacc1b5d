//! Options that several verbs share.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use heaptape::report::ColorChoice;
use heaptape::report::rows_text::TextOptions;
use heaptape::report::units::Sizes;
use heaptape::stats::amount::parse_size;
use heaptape::stats::{BlockFilter, Cumulative, FilePattern, FrameFilter, GroupBy, Query, SortBy};
use heaptape::symbols::Language;
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person.
    Text,
    /// One object.
    Json,
    /// RFC 4180, a line a row.
    Csv,
}

/// Forms of an answer that is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FactsFormat {
    /// For a person.
    Text,
    /// One object.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    File,
    Line,
    Function,
    Module,
    Traceback,
    Thread,
    Size,
    Domain,
    /// The entry point: malloc, calloc, new, mmap, …
    Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    Any,
    Python,
    Native,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Bytes; in a diff the size of their change.
    Bytes,
    /// Blocks or allocations; in a diff the size of their change.
    Count,
    /// Bytes by block.
    Average,
    /// The key, from the smallest.
    Key,
    /// Diff, top: the change of bytes, from what grew most.
    Growth,
    /// Diff: bytes at the second moment.
    LiveBytes,
    /// Diff: blocks at the second moment.
    LiveCount,
    /// Churn: temporary allocations.
    Temporary,
    /// Churn: bytes of temporary allocations.
    TemporaryBytes,
    /// Churn: mean lifetime.
    Lifetime,
    /// Churn: longest lifetime.
    MaxLifetime,
}

/// What `--threads` may be.
pub(super) const THREADS_WORDS: &str = "write how many threads, from 1 to 1024";

/// How a tape is opened.
#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// Neither use nor write an index: read the whole tape.
    #[arg(long)]
    pub(super) no_index: bool,
    /// Threads to work with [default: one for each core].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number(1u16..=1024, THREADS_WORDS))]
    pub(super) threads: Option<u16>,
}

/// How an answer is written.
#[derive(Debug, Args)]
pub(super) struct FormatArgs {
    /// How to write the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Sizes to the byte, not in KiB and MiB.
    #[arg(long)]
    pub(super) exact: bool,
}

/// How an answer that is no table is written.
#[derive(Debug, Args)]
pub(super) struct FactsFormatArgs {
    /// How to write the answer.
    #[arg(long, value_enum, default_value_t = FactsFormat::Text)]
    pub(super) format: FactsFormat,
    /// Sizes to the byte, not in KiB and MiB.
    #[arg(long)]
    pub(super) exact: bool,
}

impl FormatArgs {
    pub(super) fn sizes(&self) -> Sizes {
        Sizes { exact: self.exact }
    }
}

/// Which blocks count, whatever is made of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Grouping and choosing")]
pub(super) struct FilterArgs {
    /// Only blocks whose place is in a file that fits (shell pattern, or PATTERN:LINE; a place
    /// without a file goes by its module); repeatable.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No blocks whose place is in a file that fits; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// --include and --exclude look at every frame of the stack.
    #[arg(long)]
    all_frames: bool,
    /// Only this thread, by name or id; repeatable.
    #[arg(long, value_name = "THREAD")]
    thread: Vec<String>,
    /// Only blocks of at least this size.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    min_size: Option<u64>,
    /// Only blocks of at most this size.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    max_size: Option<u64>,
    /// Count the blocks that a forked process got from its parent.
    #[arg(long)]
    inherited: bool,
}

impl FilterArgs {
    /// `base`, choosing what is said here, in these domains.
    pub(super) fn choose_in(&self, domains: &[String], base: Query) -> Query {
        let patterns = |texts: &[String]| texts.iter().map(|text| FilePattern::new(text)).collect();
        Query {
            blocks: BlockFilter {
                domains: domains.to_vec(),
                threads: self.thread.clone(),
                size_min: self.min_size,
                size_max: self.max_size,
            },
            frames: FrameFilter {
                include: patterns(&self.include),
                exclude: patterns(&self.exclude),
                all_frames: self.all_frames,
            },
            inherited: self.inherited,
            ..base
        }
    }
}

/// Which blocks count, and what rows stand for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Grouping and choosing")]
pub(super) struct ChooseArgs {
    /// What a row stands for.
    #[arg(long, value_enum, default_value_t = Group::Line)]
    group_by: Group,
    /// Count each stack once for every distinct key on it, not only for the allocation's place.
    #[arg(long)]
    cumulative: bool,
    /// With --cumulative: count each frame, so that recursion counts several times.
    #[arg(long, requires = "cumulative")]
    tracemalloc_compat: bool,
    /// Frames that make keys.
    #[arg(long, value_enum, default_value_t = Lang::Any)]
    lang: Lang,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only this domain: native, raw, mem, obj, mmap, a name, or all; repeatable. A domain of the
    /// program's own that is called like one of these is 'NAME (custom)' [default: the heap, which
    /// is native, raw, mem and obj].
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// What rows are sorted by.
    #[arg(long, value_enum, default_value_t = Sort::Bytes)]
    sort: Sort,
    /// Rows at most, 0 for all [default: 25 in text, all in JSON and CSV].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number(0..=usize::MAX, "write how many rows at most, or 0 for all"))]
    top: Option<usize>,
    /// One more allocation wrapper, a pattern of function names; repeatable.
    #[arg(long, value_name = "PATTERN", conflicts_with = "raw_sites")]
    wrapper: Vec<String>,
    /// The most recent frame is the place, wrapper or not.
    #[arg(long)]
    raw_sites: bool,
    /// Keep functions of one name in two modules apart.
    #[arg(long)]
    by_module: bool,
    /// Show no source lines.
    #[arg(long)]
    no_source: bool,
}

/// Reads a number of `range`; `words` say what to write when it is none.
pub(super) fn number<N: FromStr + PartialOrd + Clone>(
    range: RangeInclusive<N>,
    words: &'static str,
) -> impl Fn(&str) -> Result<N, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| words.to_owned())
    }
}

/// A size as users write it, in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a size as 4096, 64KiB or 1.5MiB".to_owned())
}

impl ChooseArgs {
    pub(super) fn query(&self) -> Query {
        let base = Query {
            group_by: self.group_by(),
            cumulative: match (self.cumulative, self.tracemalloc_compat) {
                (false, _) => Cumulative::Off,
                (true, false) => Cumulative::PerStack,
                (true, true) => Cumulative::PerFrame,
            },
            language: match self.lang {
                Lang::Any => None,
                Lang::Python => Some(Language::Python),
                Lang::Native => Some(Language::Native),
            },
            by_module: self.by_module,
            wrappers: self.wrapper.clone(),
            raw_sites: self.raw_sites,
            sort: self.sort(),
            ..Query::default()
        };
        self.filter.choose_in(&self.domain, base)
    }

    fn group_by(&self) -> GroupBy {
        match self.group_by {
            Group::File => GroupBy::File,
            Group::Line => GroupBy::Line,
            Group::Function => GroupBy::Function,
            Group::Module => GroupBy::Module,
            Group::Traceback => GroupBy::Traceback,
            Group::Thread => GroupBy::Thread,
            Group::Size => GroupBy::Size,
            Group::Domain => GroupBy::Domain,
            Group::Kind => GroupBy::Kind,
        }
    }

    fn sort(&self) -> SortBy {
        match self.sort {
            Sort::Bytes => SortBy::Bytes,
            Sort::Count => SortBy::Count,
            Sort::Average => SortBy::Average,
            Sort::Key => SortBy::Key,
            Sort::Growth => SortBy::Growth,
            Sort::LiveBytes => SortBy::LiveBytes,
            Sort::LiveCount => SortBy::LiveCount,
            Sort::Temporary => SortBy::Temporary,
            Sort::TemporaryBytes => SortBy::TemporaryBytes,
            Sort::Lifetime => SortBy::Lifetime,
            Sort::MaxLifetime => SortBy::LifetimeMax,
        }
    }

    /// Rows at most in `format`; None: all.
    pub(super) fn top(&self, format: Format) -> Option<usize> {
        match (self.top, format) {
            (Some(0), _) | (None, Format::Json | Format::Csv) => None,
            (Some(top), _) => Some(top),
            (None, Format::Text) => Some(25),
        }
    }

    pub(super) fn text_options(
        &self,
        style: heaptape::report::Style,
        format: &FormatArgs,
    ) -> TextOptions {
        TextOptions {
            style,
            sizes: format.sizes(),
            top: self.top(Format::Text),
            sources: !self.no_source,
        }
    }
}

/// `TAPE` or `TAPE@T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TapeAt {
    pub(super) path: PathBuf,
    pub(super) moment: Option<String>,
}

impl TapeAt {
    /// The tape's path, or that of `other` for `@T` alone.
    pub(super) fn path_or<'a>(&'a self, other: &'a Self) -> &'a Path {
        if self.path.as_os_str().is_empty() {
            &other.path
        } else {
            &self.path
        }
    }

    /// Fails for `@T` alone, which `text` is.
    pub(super) fn refuse_no_tape(&self, text: &OsStr) -> anyhow::Result<()> {
        if self.path.as_os_str().is_empty() {
            bail!(
                "'{}' names no tape: write app.tape{0}; only the second of two may be @T alone",
                text.to_string_lossy()
            );
        }
        Ok(())
    }

    /// Splits at the last `@` behind the path of a file, else at the last one; not at all when a
    /// file has the whole name.
    pub(super) fn parse(text: &OsStr) -> anyhow::Result<Self> {
        let whole = PathBuf::from(text);
        let bytes = text.as_bytes();
        let places = || {
            (0..bytes.len())
                .rev()
                .filter(|&at| bytes.get(at) == Some(&b'@'))
        };
        // Paths and the names of marks may hold an @ of their own.
        let is_tape = |&at: &usize| {
            let path = bytes.get(..at).unwrap_or_default();
            path.is_empty() || Path::new(OsStr::from_bytes(path)).exists()
        };
        let at = places().find(is_tape).or_else(|| places().next());
        let Some(at) = at.filter(|_| !whole.exists()) else {
            return Ok(Self {
                path: whole,
                moment: None,
            });
        };
        let (path, moment) = bytes.split_at(at);
        let moment = std::str::from_utf8(moment.get(1..).unwrap_or_default())
            .with_context(|| format!("{}: the moment is not text", whole.display()))?;
        if moment.is_empty() {
            bail!(
                "{}: a moment must follow the @, as in x.tape@90%",
                whole.display()
            );
        }
        Ok(Self {
            path: PathBuf::from(OsStr::from_bytes(path)),
            moment: Some(moment.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_and_its_moment_are_told_apart() {
        let parse = |text: &str| TapeAt::parse(OsStr::new(text)).unwrap();
        assert_eq!(parse("x.tape").moment, None);
        assert_eq!(parse("x.tape@37%").moment.as_deref(), Some("37%"));
        let split = parse("a@b/x.tape@mark:load");
        assert_eq!(split.path, PathBuf::from("a@b/x.tape"));
        assert_eq!(split.moment.as_deref(), Some("mark:load"));
        assert_eq!(parse("@end").path, PathBuf::new());
        assert_eq!(parse("@mark:a@b").moment.as_deref(), Some("mark:a@b"));
        assert!(TapeAt::parse(OsStr::new("x.tape@")).is_err());
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("x@end");
        std::fs::write(&named, "").unwrap();
        assert_eq!(TapeAt::parse(named.as_os_str()).unwrap().path, named);
        let mut marked = named.clone().into_os_string();
        marked.push("@mark:a@b@");
        let split = TapeAt::parse(&marked).unwrap();
        assert_eq!(split.path, named);
        assert_eq!(split.moment.as_deref(), Some("mark:a@b@"));
    }
}
