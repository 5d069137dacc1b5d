//! The code places of several tapes, looked up together: each file is read once for all of them.
//!
//! What comes in: places of one tape after the other, with its modules. What goes out: the source
//! frames of each. Modules of two tapes are one when path and build-id are equal (without one: and
//! when they were met). The answer never depends on which tapes are together: where a file makes
//! the symbol library fail, each tape asks alone.

use super::native::{self, CodePlace, LookUp, Note, RecordedFile};
use heaptape_format::symbols::SourceFrame;
use rustc_hash::{FxHashMap, FxHashSet};

/// Number of a place in a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PlaceNumber(u32);

/// Places of several tapes, each once, and the modules that they are in.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each with its place here as its number; 0 is unknown code.
    modules: Vec<RecordedFile>,
    module_numbers: FxHashMap<RecordedFile, u32>,
    places: Vec<CodePlace>,
    place_numbers: FxHashMap<CodePlace, PlaceNumber>,
}

/// The module numbers of one tape → those of a [`Batch`].
#[derive(Debug, Default)]
pub(super) struct ModuleNumbers(FxHashMap<u32, u32>);

impl Batch {
    /// Distinct places in it.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Adds a place of a tape, whose `module` it is; `numbers` belongs to the tape.
    pub(super) fn add(
        &mut self,
        place: CodePlace,
        module: Option<RecordedFile>,
        numbers: &mut ModuleNumbers,
    ) -> PlaceNumber {
        let number = numbers.0.entry(place.module);
        let place = CodePlace {
            module: *number.or_insert_with(|| self.module_number(module)),
            ..place
        };
        // A batch of 2^32 places does not fit in memory.
        let next = PlaceNumber(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        *self.place_numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            next
        })
    }

    fn module_number(&mut self, module: Option<RecordedFile>) -> u32 {
        let Some(module) = module else {
            return 0;
        };
        let modules = &mut self.modules;
        *self
            .module_numbers
            .entry(module)
            .or_insert_with_key(|module| {
                modules.push(module.clone());
                u32::try_from(modules.len()).unwrap_or(0)
            })
    }

    fn module(&self, number: u32) -> Option<&RecordedFile> {
        self.modules.get((number as usize).checked_sub(1)?)
    }

    /// Looks up all places. `progress` is told (done, total).
    pub(super) fn answer(&self, progress: impl FnMut(u64, u64) + Send) -> Answers<'_> {
        let mut places = self.places.clone();
        places.sort_unstable();
        let found = native::look_up(&places, |number| self.module(number).cloned(), progress);
        let mut answers = Answers {
            batch: self,
            frames: vec![Vec::new(); self.places.len()],
            notes: FxHashMap::default(),
            failed: FxHashSet::default(),
        };
        answers.take(found);
        answers
    }
}

/// What the places of a [`Batch`] are called.
#[derive(Debug)]
pub(super) struct Answers<'b> {
    batch: &'b Batch,
    /// By the number of the place.
    frames: Vec<Vec<SourceFrame>>,
    /// By the number of the module.
    notes: FxHashMap<u32, Note>,
    /// Modules at which the symbol library failed.
    failed: FxHashSet<u32>,
}

impl Answers<'_> {
    fn take(&mut self, found: LookUp) {
        for symbol in found.symbols {
            let number = self.batch.place_numbers.get(&CodePlace::of_symbol(&symbol));
            let frames = number.and_then(|number| self.frames.get_mut(number.0 as usize));
            if let Some(frames) = frames {
                *frames = symbol.frames;
            }
        }
        let notes = found.notes.into_iter();
        self.notes.extend(notes.map(|note| (note.module, note)));
        self.failed.extend(found.failed);
    }

    /// The frames of a place, the most recent first; none where nothing is known.
    pub(super) fn frames(&self, number: PlaceNumber) -> &[SourceFrame] {
        let frames = self.frames.get(number.0 as usize);
        frames.map_or(&[], Vec::as_slice)
    }

    /// Makes the answers to `numbers`, all places of one tape, those that the tape alone gets:
    /// where the symbol library failed it asks again, without the places of the others.
    pub(super) fn separate(&mut self, numbers: impl Iterator<Item = PlaceNumber>) {
        if self.failed.is_empty() {
            return;
        }
        let places = numbers.filter_map(|number| self.batch.places.get(number.0 as usize));
        let places: FxHashSet<CodePlace> = places
            .filter(|place| self.failed.contains(&place.module))
            .copied()
            .collect();
        let mut places: Vec<CodePlace> = places.into_iter().collect();
        places.sort_unstable();
        let batch = self.batch;
        self.take(native::look_up(
            &places,
            |number| batch.module(number).cloned(),
            |_, _| (),
        ));
    }

    /// The notes on the modules of a tape, by path.
    pub(super) fn notes(&self, numbers: &ModuleNumbers) -> Vec<Note> {
        let modules: FxHashSet<u32> = numbers.0.values().copied().collect();
        let mut notes: Vec<(&RecordedFile, &Note)> = modules
            .into_iter()
            .filter_map(|number| Some((self.batch.module(number)?, self.notes.get(&number)?)))
            .collect();
        notes.sort_by_key(|(module, _)| *module);
        notes.into_iter().map(|(_, note)| note.clone()).collect()
    }
}
