//! The source frames of whole stacks.
//!
//! What comes in: stacks of native code places and frames of Python. What goes out: for each stack
//! its source frames, the most recent first, inlined functions expanded. Symbols that the tape
//! carries win; only what they do not cover is looked up on this machine. Stacks share their outer
//! frames here as they do in the tape: those of a deep recursion would not fit into memory one by
//! one.

use super::frames::{FrameId, FrameTable, Language, ResolvedFrame, UNKNOWN_MODULE};
use super::native::{self, CodePlace, RecordedFile};
use super::paths::file_name;
use super::python;
use super::standard_library::known_owner;
use crate::block::StackId;
use crate::tape::Tape;
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::{CodeObject, CutReason, Frame, Module};
use rustc_hash::{FxHashMap, FxHashSet};
use std::slice;

/// What frames are resolved from: a tape, or in tests a table.
pub trait StackSource {
    /// The most recent frame of a stack, and the stack without it. None: there is no frame.
    fn step(&self, stack: StackId) -> Option<(Frame, StackId)>;
    /// The module of a number.
    fn module(&self, index: u32) -> Option<&Module>;
    /// The code object of a number.
    fn code(&self, _number: u32) -> Option<&CodeObject> {
        None
    }
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
    fn step(&self, stack: StackId) -> Option<(Frame, StackId)> {
        Some((Tape::frame(self, stack)?, Tape::parent(self, stack)))
    }

    fn module(&self, index: u32) -> Option<&Module> {
        Tape::module(self, index)
    }

    fn code(&self, number: u32) -> Option<&CodeObject> {
        Tape::code(self, number)
    }

    fn file(&self, index: u32) -> Option<RecordedFile> {
        let module = Tape::module(self, index)?;
        Some(RecordedFile::of(self, module))
    }

    fn embedded(&self) -> Vec<Symbol> {
        self.symbols()
    }
}

/// Number of a stack in [`StackFrames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StackPlace(u32);

/// The places of frames, each with its place in [`StackFrames`]'s `codes`.
#[derive(Debug, Default)]
struct Wanted {
    native: FxHashMap<CodePlace, usize>,
    /// Number of the code object, and instruction.
    python: FxHashMap<(u32, u32), usize>,
}

impl Wanted {
    fn len(&self) -> usize {
        self.native.len() + self.python.len()
    }

    /// Where the source frames of `frame` will be; None where a stack was cut.
    fn place(&mut self, frame: Frame) -> Option<usize> {
        let next = self.len();
        match frame {
            Frame::Python { code, instruction } => {
                Some(*self.python.entry((code, instruction)).or_insert(next))
            }
            _ => CodePlace::of(frame).map(|place| *self.native.entry(place).or_insert(next)),
        }
    }
}

/// A stack: what its most recent code place adds to that of its caller.
#[derive(Debug)]
struct Part {
    outer: Option<StackPlace>,
    /// Place in `codes`.
    code: Option<usize>,
    cut: Option<CutReason>,
}

/// The source frames of stacks of one tape.
#[derive(Debug, Default)]
pub struct StackFrames {
    places: FxHashMap<StackId, StackPlace>,
    /// Callers come first.
    parts: Vec<Part>,
    /// The frames of each code place.
    codes: Vec<Vec<FrameId>>,
    /// What could not be symbolised, one line a module.
    pub notes: Vec<String>,
}

/// The frames of one stack, the most recent first.
#[derive(Debug, Clone)]
pub struct Frames<'f> {
    of: &'f StackFrames,
    now: slice::Iter<'f, FrameId>,
    outer: Option<StackPlace>,
}

impl Iterator for Frames<'_> {
    type Item = FrameId;

    fn next(&mut self) -> Option<FrameId> {
        loop {
            if let Some(&id) = self.now.next() {
                return Some(id);
            }
            let place = self.outer?;
            self.now = self.of.own(place).iter();
            self.outer = self.of.outer(place);
        }
    }
}

impl StackFrames {
    /// The frames of a stack; none for stacks without a known frame and for stacks that were not
    /// asked for.
    #[must_use]
    pub fn get(&self, stack: StackId) -> Frames<'_> {
        Frames {
            of: self,
            now: [].iter(),
            outer: self.place(stack),
        }
    }

    /// Where a stack is; None for those that were not asked for.
    #[must_use]
    pub fn place(&self, stack: StackId) -> Option<StackPlace> {
        self.places.get(&stack).copied()
    }

    /// The frames that a stack adds to its caller's, the most recent first.
    #[must_use]
    pub fn own(&self, place: StackPlace) -> &[FrameId] {
        let part = self.parts.get(place.0 as usize);
        let code = part.and_then(|part| self.codes.get(part.code?));
        code.map_or(&[], Vec::as_slice)
    }

    /// The caller's stack.
    #[must_use]
    pub fn outer(&self, place: StackPlace) -> Option<StackPlace> {
        self.parts.get(place.0 as usize)?.outer
    }

    /// Why the outermost frames of a stack are missing; None when they are there.
    #[must_use]
    pub fn cut(&self, stack: StackId) -> Option<CutReason> {
        self.parts.get(self.place(stack)?.0 as usize)?.cut
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
        let mut all = Self::default();
        let mut wanted = Wanted::default();
        for stack in stacks {
            all.add(source, stack, &mut wanted);
        }
        all.codes.resize(wanted.len(), Vec::new());
        for (code, frame) in python::resolve(source, &wanted.python) {
            if let Some(frames) = all.codes.get_mut(code) {
                *frames = vec![table.intern(frame)];
            }
        }
        let wanted = wanted.native;
        let mut known = vec![false; all.codes.len()];
        for symbol in source.embedded() {
            // A later symbol of a place replaces an earlier one.
            let place = CodePlace::of_symbol(&symbol);
            if let Some(&code) = wanted.get(&place)
                && let (Some(frames), Some(known)) = (all.codes.get_mut(code), known.get_mut(code))
            {
                *frames = intern(source, place, symbol.frames, table);
                *known = true;
            }
        }
        let is_missing = |code: &usize| known.get(*code) == Some(&false);
        let missing = wanted.iter().filter(|(_, code)| is_missing(code));
        let mut missing: Vec<CodePlace> = missing.map(|(place, _)| *place).collect();
        missing.sort_unstable();
        let found = native::look_up(&missing, |index| source.file(index), |_, _| ());
        let mut symbols = found.symbols;
        symbols.sort_unstable_by_key(|symbol| (symbol.module, symbol.offset, symbol.exact));
        for symbol in symbols {
            let place = CodePlace::of_symbol(&symbol);
            let code = wanted.get(&place).copied();
            if let Some(frames) = code.and_then(|code| all.codes.get_mut(code)) {
                *frames = intern(source, place, symbol.frames, table);
            }
        }
        all.notes = found.notes.into_iter().map(|note| note.text).collect();
        all
    }

    /// Adds a stack and what of its callers is not there yet; the places of its frames get their
    /// numbers in `wanted`.
    fn add(&mut self, source: &dyn StackSource, stack: StackId, wanted: &mut Wanted) {
        let mut new = Vec::new();
        let mut at = stack;
        while !self.places.contains_key(&at)
            && let Some((frame, outer)) = source.step(at)
        {
            new.push((at, frame));
            at = outer;
        }
        let mut outer = self.place(at);
        let mut cut = outer.and_then(|place| self.parts.get(place.0 as usize)?.cut);
        for (stack, frame) in new.into_iter().rev() {
            if let Frame::Cut(reason) = frame {
                cut = Some(reason);
            }
            let code = wanted.place(frame);
            // Stacks have numbers of 32 bits.
            let place = StackPlace(self.parts.len() as u32);
            self.parts.push(Part { outer, code, cut });
            self.places.insert(stack, place);
            outer = Some(place);
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
            let (function, in_standard_library) = known_owner(frame.function);
            let (function, file) = (text(function), text(frame.file));
            table.intern(ResolvedFrame {
                offset: if function.is_none() { place.offset } else { 0 },
                in_standard_library: in_standard_library.filter(|_| file.is_none()),
                function,
                file,
                line: frame.line,
                module: module.clone(),
                language: Language::Native,
                inlined: frame.inlined,
            })
        })
        .collect()
}
