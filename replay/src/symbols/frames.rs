//! Source-level frames, interned.

use rustc_hash::FxHashMap;

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
    /// Whether it belongs to a standard library, where neither its name nor a file tells.
    pub in_standard_library: Option<bool>,
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
                in_standard_library: None,
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
