//! Symbols that were found, kept for the next question of the same tape, which may have grown.
//!
//! In: stacks of a tape. Out: a source of their frames that needs no look-up. Each code place is
//! looked up once; what the tape carries itself, once it does, wins.

use super::native::{self, CodePlace, RecordedFile};
use super::stack_frames::StackSource;
use crate::block::StackId;
use crate::tape::Tape;
use heaptape_format::ChunkKind;
use heaptape_format::symbols::Symbol;
use heaptape_format::tables::{CodeObject, Frame, Module};
use rustc_hash::{FxHashMap, FxHashSet};

/// See the module.
#[derive(Debug, Default)]
pub struct KnownSymbols {
    /// By place; without frames where nothing is known.
    symbols: FxHashMap<CodePlace, Symbol>,
    /// Stacks all of whose places are known.
    stacks: FxHashSet<StackId>,
    /// Chunks of symbols that the tape had.
    chunks: usize,
    /// One line for each module that has no symbols for a reason worth saying.
    notes: Vec<String>,
}

impl KnownSymbols {
    /// What the notes of all look-ups say.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Code places that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Looks up what is not known yet of `stacks` of `tape`, always the same one.
    pub fn look_up(&mut self, tape: &Tape, stacks: &FxHashSet<StackId>) {
        self.take_over(tape);
        let mut missing: FxHashSet<CodePlace> = FxHashSet::default();
        for &stack in stacks {
            let mut at = stack;
            while at != StackId::NONE && self.stacks.insert(at) {
                let place = tape.frame(at).and_then(CodePlace::of);
                missing.extend(place.filter(|place| !self.symbols.contains_key(place)));
                at = tape.parent(at);
            }
        }
        if missing.is_empty() {
            return;
        }
        let mut missing: Vec<CodePlace> = missing.into_iter().collect();
        missing.sort_unstable();
        let file = |index| Some(RecordedFile::of(tape, tape.module(index)?));
        let found = native::look_up(&missing, file, |_, _| ());
        self.add(found.symbols);
        for note in found.notes {
            if !self.notes.contains(&note.text) {
                self.notes.push(note.text);
            }
        }
    }

    /// Takes over the symbols that were put into the tape.
    fn take_over(&mut self, tape: &Tape) {
        let chunks = tape.chunks.iter();
        let chunks = chunks.filter(|chunk| chunk.header.kind == ChunkKind::SYMBOLS);
        let chunks = chunks.count();
        if chunks != self.chunks {
            self.chunks = chunks;
            self.notes.clear();
            self.add(tape.symbols());
        }
    }

    fn add(&mut self, symbols: Vec<Symbol>) {
        // A later symbol of a place replaces an earlier one.
        let placed = symbols.into_iter();
        let placed = placed.map(|symbol| (CodePlace::of_symbol(&symbol), symbol));
        self.symbols.extend(placed);
    }
}

/// A tape with symbols that are known.
#[derive(Debug, Clone, Copy)]
pub struct KnownSource<'k> {
    /// The tape.
    pub tape: &'k Tape,
    /// Those of it.
    pub known: &'k KnownSymbols,
}

impl StackSource for KnownSource<'_> {
    fn step(&self, stack: StackId) -> Option<(Frame, StackId)> {
        StackSource::step(self.tape, stack)
    }

    fn module(&self, index: u32) -> Option<&Module> {
        self.tape.module(index)
    }

    fn code(&self, number: u32) -> Option<&CodeObject> {
        self.tape.code(number)
    }

    fn file(&self, index: u32) -> Option<RecordedFile> {
        StackSource::file(self.tape, index)
    }

    fn embedded(&self) -> Vec<Symbol> {
        self.known.symbols.values().cloned().collect()
    }
}
