//! Source-level frames, interned, and the frames of whole stacks.
//!
//! What comes in: stacks of native code places. What goes out: for each stack the list of its
//! source frames, the most recent first, inlined functions expanded. Symbols that the tape carries
//! win; only what they do not cover is looked up on this machine.

use super::native::{self, CodePlace, RecordedFile};
use super::paths::file_name;
use crate::block::StackId;
use crate::tape::Tape;
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::{CutReason, Frame, Module};
use rustc_hash::{FxHashMap, FxHashSet};

/// The language of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// Compiled code.
    Native,
    /// Python code.
    Python,
}

impl Language {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Python => "python",
        }
    }
}

/// One frame as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolvedFrame {
    /// The function's name; None when unknown.
    pub function: Option<Box<str>>,
    /// The source file; None when unknown.
    pub file: Option<Box<str>>,
    /// The line from 1, 0 when unknown.
    pub line: u32,
    /// File name of the module, `[unknown]` for code outside all modules.
    pub module: Box<str>,
    /// Frames without a function: the offset in the module. Otherwise 0.
    pub offset: u64,
    /// Its language.
    pub language: Language,
    /// True when it was inlined into the next frame.
    pub inlined: bool,
}

impl ResolvedFrame {
    /// `module+0xoffset`: the name of a frame that has no symbol.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}+{:#x}", self.module, self.offset)
    }
}

/// Number of a frame in a [`FrameTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u32);

/// Frames, each once. One table serves all tapes of a question, so that equal frames of two tapes
/// have one id.
#[derive(Debug, Default)]
pub struct FrameTable {
    frames: Vec<ResolvedFrame>,
    ids: FxHashMap<ResolvedFrame, FrameId>,
}

impl FrameTable {
    /// The id of `frame`, a new one when it was never seen.
    pub fn intern(&mut self, frame: ResolvedFrame) -> FrameId {
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        // A table of 2^32 distinct source frames does not fit in memory.
        let id = FrameId(u32::try_from(self.frames.len()).unwrap_or(u32::MAX));
        self.frames.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }

    /// The frame of an id that this table gave.
    #[must_use]
    pub fn get(&self, id: FrameId) -> &ResolvedFrame {
        static NOTHING: std::sync::OnceLock<ResolvedFrame> = std::sync::OnceLock::new();
        self.frames.get(id.0 as usize).unwrap_or_else(|| {
            NOTHING.get_or_init(|| ResolvedFrame {
                function: None,
                file: None,
                line: 0,
                module: UNKNOWN_MODULE.into(),
                offset: 0,
                language: Language::Native,
                inlined: false,
            })
        })
    }

    /// Frames in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// True when no frame was interned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// The module name of code that belongs to no known module.
pub const UNKNOWN_MODULE: &str = "[unknown]";

/// What frames are resolved from: a tape, or in tests a table.
pub trait StackSource {
    /// The frames of a stack, the most recent first.
    fn frames(&self, stack: StackId) -> Vec<Frame>;
    /// The module of a number.
    fn module(&self, index: u32) -> Option<&Module>;
    /// The file of the module of a number.
    fn file(&self, index: u32) -> Option<RecordedFile> {
        let module = self.module(index)?;
        Some(RecordedFile {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            met_unix_ns: u64::MAX,
        })
    }
    /// Symbols that need no look-up.
    fn embedded(&self) -> Vec<Symbol>;
}

impl StackSource for Tape {
    fn frames(&self, stack: StackId) -> Vec<Frame> {
        Tape::frames(self, stack).collect()
    }

    fn module(&self, index: u32) -> Option<&Module> {
        Tape::module(self, index)
    }

    fn file(&self, index: u32) -> Option<RecordedFile> {
        let module = Tape::module(self, index)?;
        Some(RecordedFile::of(self, module))
    }

    fn embedded(&self) -> Vec<Symbol> {
        self.symbols()
    }
}

/// The source frames of stacks of one tape.
#[derive(Debug, Default)]
pub struct StackFrames {
    places: FxHashMap<StackId, Box<[FrameId]>>,
    cuts: FxHashMap<StackId, CutReason>,
    /// What could not be symbolised, one line a module.
    pub notes: Vec<String>,
}

impl StackFrames {
    /// The frames of a stack, the most recent first; empty for stacks without a known frame and
    /// for stacks that were not asked for.
    #[must_use]
    pub fn get(&self, stack: StackId) -> &[FrameId] {
        self.places.get(&stack).map_or(&[], |frames| frames)
    }

    /// Why the outermost frames of a stack are missing; None when they are there.
    #[must_use]
    pub fn cut(&self, stack: StackId) -> Option<CutReason> {
        self.cuts.get(&stack).copied()
    }

    /// Resolves `stacks` of `source` into frames of `table`.
    #[must_use]
    pub fn resolve(
        source: &dyn StackSource,
        stacks: &FxHashSet<StackId>,
        table: &mut FrameTable,
    ) -> Self {
        let mut stacks: Vec<StackId> = stacks.iter().copied().collect();
        stacks.sort_unstable();
        let mut wanted: FxHashSet<CodePlace> = FxHashSet::default();
        for &stack in &stacks {
            wanted.extend(source.frames(stack).into_iter().filter_map(CodePlace::of));
        }
        let mut resolved = FxHashMap::default();
        for symbol in source.embedded() {
            // A later symbol of a place replaces an earlier one.
            let place = CodePlace::of_symbol(&symbol);
            if wanted.contains(&place) {
                resolved.insert(place, intern(source, place, symbol.frames, table));
            }
        }
        wanted.retain(|place| !resolved.contains_key(place));
        let mut missing: Vec<CodePlace> = wanted.into_iter().collect();
        missing.sort_unstable();
        let found = native::look_up(&missing, |index| source.file(index), |_, _| ());
        let mut symbols = found.symbols;
        symbols.sort_unstable_by_key(|symbol| (symbol.module, symbol.offset, symbol.exact));
        for symbol in symbols {
            let place = CodePlace::of_symbol(&symbol);
            resolved.insert(place, intern(source, place, symbol.frames, table));
        }
        let mut cuts = FxHashMap::default();
        let places = stacks.into_iter().map(|stack| {
            let frames = source.frames(stack);
            cuts.extend(frames.iter().find_map(|frame| match frame {
                Frame::Cut(reason) => Some((stack, *reason)),
                Frame::Native { .. } => None,
            }));
            let ids: Box<[FrameId]> = frames
                .into_iter()
                .filter_map(CodePlace::of)
                .flat_map(|place| resolved.get(&place).into_iter().flatten().copied())
                .collect();
            (stack, ids)
        });
        let places = places.collect();
        Self {
            places,
            cuts,
            notes: found.notes.into_iter().map(|note| note.text).collect(),
        }
    }
}

fn intern(
    source: &dyn StackSource,
    place: CodePlace,
    frames: Vec<SourceFrame>,
    table: &mut FrameTable,
) -> Vec<FrameId> {
    let path = source
        .module(place.module)
        .map_or("", |module| &module.path);
    let module: Box<str> = match file_name(path) {
        "" => UNKNOWN_MODULE.into(),
        name => name.into(),
    };
    let text = |text: String| (!text.is_empty()).then(|| text.into_boxed_str());
    let nameless = vec![SourceFrame::default()];
    let frames = if frames.is_empty() { nameless } else { frames };
    frames
        .into_iter()
        .map(|frame| {
            let function = text(frame.function);
            table.intern(ResolvedFrame {
                offset: if function.is_none() { place.offset } else { 0 },
                function,
                file: text(frame.file),
                line: frame.line,
                module: module.clone(),
                language: Language::Native,
                inlined: frame.inlined,
            })
        })
        .collect()
}
