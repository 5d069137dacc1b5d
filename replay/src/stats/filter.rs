//! Which blocks count: filters on the block itself and on the frames of its stack.

use crate::block::{Block, StreamId};
use crate::symbols::pattern::Pattern;
use crate::symbols::{FrameId, FrameTable, ResolvedFrame};
use crate::tape::Tape;
use crate::tape::domains::{ALL, BUILT_IN, CUSTOM};
use heaptape_format::event::DomainId;
use heaptape_format::tables::Stream;
use rustc_hash::FxHashSet;

/// Filters that look at the block alone.
#[derive(Debug, Clone, Default)]
pub struct BlockFilter {
    /// Only these domains, by name, or `all`; none: the heap, which is native, raw, mem and obj.
    pub domains: Vec<String>,
    /// Only these threads, by name or id; none: all.
    pub threads: Vec<String>,
    /// Smallest size in bytes.
    pub size_min: Option<u64>,
    /// Largest size in bytes.
    pub size_max: Option<u64>,
}

/// A [`BlockFilter`] made fit for one tape.
#[derive(Debug)]
pub struct TapeFilter {
    domain: DomainFilter,
    streams: Option<FxHashSet<StreamId>>,
    size: (u64, u64),
}

#[derive(Debug)]
enum DomainFilter {
    Heap,
    All,
    Some(Vec<DomainId>),
}

/// A filter that can never match in a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// The tape has no such domain; these it has.
    Domain(String, Vec<String>),
    /// The tape has no such thread; these it has.
    Thread(String, Vec<String>),
}

/// The domains that make up the heap.
const HEAP: [DomainId; 4] = [
    DomainId::NATIVE,
    DomainId::RAW,
    DomainId::MEM,
    DomainId::OBJ,
];

impl BlockFilter {
    /// The filter with its names looked up in `tape`.
    ///
    /// # Errors
    /// [`NoMatch`] when the tape has no such domain or thread.
    pub fn for_tape(&self, tape: &Tape) -> Result<TapeFilter, NoMatch> {
        let domain = if self.domains.is_empty() {
            DomainFilter::Heap
        } else if self.domains.iter().any(|name| name == ALL) {
            DomainFilter::All
        } else {
            let names = self.domains.iter();
            let found = names.map(|name| find_domain(name, tape));
            DomainFilter::Some(found.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let mut streams = FxHashSet::default();
        for name in &self.threads {
            streams.extend(find_thread(name, tape)?);
        }
        Ok(TapeFilter {
            domain,
            streams: (!self.threads.is_empty()).then_some(streams),
            size: (
                self.size_min.unwrap_or(0),
                self.size_max.unwrap_or(u64::MAX),
            ),
        })
    }
}

/// True when `tape` surely has the domain `name` of every recording's. Who asks for another one of
/// these names gets the program's own of that name too: a gate must not pass it by.
fn is_recorded(name: &str, tape: &Tape) -> bool {
    name == tape.domain_name(DomainId::NATIVE)
        || name == tape.domain_name(DomainId::MMAP) && tape.has_mappings()
}

/// The domains called `name`: two threads that name one at the same moment get a number each.
fn find_domain(name: &str, tape: &Tape) -> Result<Vec<DomainId>, NoMatch> {
    let custom = tape.domains.iter().map(|domain| DomainId(domain.id));
    let built_in = BUILT_IN.iter().map(|(domain, _)| *domain);
    let all = built_in.chain(custom);
    let is_recorded = is_recorded(name, tape);
    let is_called = |domain: &DomainId| {
        let called = tape.domain_name(*domain);
        called == name || !is_recorded && called.strip_suffix(CUSTOM) == Some(name)
    };
    let (found, others): (Vec<DomainId>, Vec<DomainId>) = all.partition(is_called);
    if found.is_empty() {
        let mut known: Vec<String> = Vec::new();
        for domain in others {
            let other = tape.domain_name(domain);
            if known.iter().all(|name| name != other) {
                known.push(other.to_owned());
            }
        }
        return Err(NoMatch::Domain(name.to_owned(), known));
    }
    Ok(found)
}

fn find_thread(name: &str, tape: &Tape) -> Result<FxHashSet<StreamId>, NoMatch> {
    let id: Option<u32> = name.parse().ok();
    let fits = |stream: &&Stream| stream.name == name || Some(stream.thread_id) == id;
    let found: FxHashSet<StreamId> = tape
        .streams
        .iter()
        .filter(fits)
        .map(|stream| StreamId(stream.index))
        .collect();
    if found.is_empty() {
        let mut known: Vec<String> = tape.streams.iter().map(thread_name).collect();
        known.sort_unstable();
        known.dedup();
        return Err(NoMatch::Thread(name.to_owned(), known));
    }
    Ok(found)
}

/// `NAME (ID)`, or the id alone: how a thread is shown, and its key.
#[must_use]
pub fn thread_name(stream: &Stream) -> String {
    if stream.name.is_empty() {
        stream.thread_id.to_string()
    } else {
        format!("{} ({})", stream.name, stream.thread_id)
    }
}

impl TapeFilter {
    /// True when `block` counts.
    #[must_use]
    pub fn admits(&self, block: &Block) -> bool {
        let domain = match &self.domain {
            // Mappings and arenas hold heap blocks, user-defined domains lie inside them: they
            // would count twice.
            DomainFilter::Heap => HEAP.contains(&block.domain),
            DomainFilter::All => true,
            DomainFilter::Some(domains) => domains.contains(&block.domain),
        };
        domain && self.admits_in_any_domain(block)
    }

    /// True when `block` would count, but its domain is not part of the heap and was not asked for.
    #[must_use]
    pub fn leaves_out(&self, block: &Block) -> bool {
        matches!(self.domain, DomainFilter::Heap)
            && !HEAP.contains(&block.domain)
            && self.admits_in_any_domain(block)
    }

    fn admits_in_any_domain(&self, block: &Block) -> bool {
        (self.size.0..=self.size.1).contains(&block.size)
            && self
                .streams
                .as_ref()
                .is_none_or(|streams| streams.contains(&block.stream))
    }
}

/// `PATTERN` or `PATTERN:LINE`, compared with a frame's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePattern {
    file: Pattern,
    line: Option<u32>,
}

impl FilePattern {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (file, line) = match text.rsplit_once(':') {
            Some((file, line)) if !file.is_empty() => match line.parse() {
                Ok(line) => (file, Some(line)),
                Err(_) => (text, None),
            },
            _ => (text, None),
        };
        // As tracemalloc does: a compiled file stands for its source.
        let source = match file.strip_suffix(".pyc") {
            Some(stem) => format!("{stem}.py"),
            None => file.to_owned(),
        };
        Self {
            file: Pattern::new(&source),
            line,
        }
    }

    fn fits(&self, frame: Option<&ResolvedFrame>) -> bool {
        let (file, line) = match frame {
            Some(frame) => (file_name_for_patterns(frame), frame.line),
            None => (crate::stats::key::UNKNOWN, 0),
        };
        self.line.is_none_or(|wanted| wanted == line) && self.file.matches(file)
    }
}

/// What file patterns see of a frame: its file, else its module.
fn file_name_for_patterns(frame: &ResolvedFrame) -> &str {
    frame.file.as_deref().unwrap_or(&frame.module)
}

/// Filters on the frames of a stack: any `include` must fit (when there is one) and no `exclude`.
#[derive(Debug, Clone, Default)]
pub struct FrameFilter {
    /// Of these, one must fit.
    pub include: Vec<FilePattern>,
    /// Of these, none may fit.
    pub exclude: Vec<FilePattern>,
    /// Any frame may make a pattern fit, not only the allocation's place.
    pub all_frames: bool,
}

impl FrameFilter {
    /// True when a block of the stack `frames`, whose place is `place`, counts.
    #[must_use]
    pub fn admits(
        &self,
        frames: impl Iterator<Item = FrameId> + Clone,
        place: Option<FrameId>,
        table: &FrameTable,
    ) -> bool {
        let has_frames = frames.clone().next().is_some();
        let fits = |pattern: &FilePattern| {
            if self.all_frames && has_frames {
                let mut frames = frames.clone();
                frames.any(|id| pattern.fits(Some(table.get(id))))
            } else {
                pattern.fits(place.map(|id| table.get(id)))
            }
        };
        (self.include.is_empty() || self.include.iter().any(fits)) && !self.exclude.iter().any(fits)
    }

    /// True when every stack passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Language;

    fn frame(table: &mut FrameTable, file: &str, line: u32) -> FrameId {
        table.intern(ResolvedFrame {
            function: Some("f".into()),
            file: Some(file.into()),
            line,
            module: "app".into(),
            offset: 0,
            language: Language::Native,
            inlined: false,
            in_standard_library: None,
        })
    }

    fn filter(include: &[&str], exclude: &[&str], all_frames: bool) -> FrameFilter {
        let patterns = |texts: &[&str]| texts.iter().map(|text| FilePattern::new(text)).collect();
        FrameFilter {
            include: patterns(include),
            exclude: patterns(exclude),
            all_frames,
        }
    }

    #[test]
    fn any_include_and_every_exclude_decide() {
        let mut table = FrameTable::default();
        let inner = frame(&mut table, "/app/grow.c", 7);
        let outer = frame(&mut table, "/app/main.c", 9);
        let stack = [inner, outer];
        let admits = |filter: FrameFilter| filter.admits(stack.into_iter(), Some(inner), &table);
        assert!(admits(filter(&[], &[], false)));
        assert!(admits(filter(&["*/grow.c"], &[], false)));
        assert!(!admits(filter(&["*/main.c"], &[], false)));
        assert!(admits(filter(&["*/main.c"], &[], true)));
        assert!(admits(filter(&["*/other.c", "*grow*"], &[], false)));
        assert!(admits(filter(&["*/grow.c:7"], &[], false)));
        assert!(!admits(filter(&["*/grow.c:8"], &[], false)));
        assert!(!admits(filter(&[], &["*/grow.c"], false)));
        assert!(admits(filter(&[], &["*/main.c"], false)));
        assert!(!admits(filter(&[], &["*/main.c"], true)));
        assert!(!admits(filter(&["*"], &["*/none.c", "*/grow.c"], false)));
        assert!(filter(&["<unknown>"], &[], false).admits([].into_iter(), None, &table));
        assert!(!filter(&["*.c"], &[], true).admits([].into_iter(), None, &table));
    }

    #[test]
    fn a_colon_that_is_no_line_belongs_to_the_pattern() {
        assert_eq!(FilePattern::new("a:b").line, None);
        assert_eq!(FilePattern::new("a:12").line, Some(12));
        assert_eq!(FilePattern::new("a:b:12").line, Some(12));
        assert_eq!(FilePattern::new(":12").line, None);
        assert_eq!(FilePattern::new("m.pyc").file, Pattern::new("m.py"));
    }
}
