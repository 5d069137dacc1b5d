//! Native code places → functions, files and lines, from the ELF and DWARF files of this machine.
//!
//! What comes in: places (module, offset) of a tape and its modules. What goes out: one
//! [`Symbol`] for each place, with inlined functions expanded, and notes on modules that have no
//! usable file. It never guesses: a file whose build-id is not the recorded one names nothing.

use super::companions::{ANOTHER_BUILD_ID, Companions, passed_over, separate_debug_file};
use super::names;
use super::paths::{on_disk, tidy};
use super::shield::shielded;
use super::standard_library::{is_defined_in_library, may_be_inlined, telling_name};
use crate::tape::Tape;
use blazesym::helper::read_elf_build_id;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::{Frame, Module};
use heaptape_format::text;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A place in the recorded program's code, as stack frames name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodePlace {
    /// Number of the module in the tape; 0: unknown code, `offset` is the address.
    pub module: u32,
    /// ELF virtual address.
    pub offset: u64,
    /// False: a return address, so the call is the instruction before it.
    pub exact: bool,
}

impl CodePlace {
    /// The place of a frame; None for frames of an interpreter, and where a stack was cut.
    #[must_use]
    pub fn of(frame: Frame) -> Option<Self> {
        match frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => Some(Self {
                module,
                offset,
                exact,
            }),
            Frame::Python { .. } | Frame::Cut(_) => None,
        }
    }

    /// The place that a symbol names.
    #[must_use]
    pub fn of_symbol(symbol: &Symbol) -> Self {
        Self {
            module: symbol.module,
            offset: symbol.offset,
            exact: symbol.exact,
        }
    }

    /// Its symbol.
    #[must_use]
    pub fn symbol(self, frames: Vec<SourceFrame>) -> Symbol {
        Symbol {
            module: self.module,
            offset: self.offset,
            exact: self.exact,
            frames,
        }
    }

    /// The ELF virtual address to look up: inside the call instruction.
    #[must_use]
    pub fn look_up_address(self) -> u64 {
        if self.exact {
            self.offset
        } else {
            self.offset.saturating_sub(1)
        }
    }
}

/// What a look-up found.
#[derive(Debug, Default)]
pub struct LookUp {
    /// One symbol for each place, in no order; without frames where nothing is known.
    pub symbols: Vec<Symbol>,
    /// One for each module file that cannot be used, or whose debug file cannot.
    pub notes: Vec<Note>,
    /// Modules at whose files the symbol library failed: what is known of their places depends on
    /// which of them were looked up together.
    pub failed: Vec<u32>,
}

/// Why a module has no symbols, or not those of a debug file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Number of the module.
    pub module: u32,
    /// It is about a debug file.
    pub is_of_debug_file: bool,
    /// One line for a person.
    pub text: String,
}

/// Places that one symbolizer works on together.
const BATCH_PLACES: usize = 512;
/// A module with more places than this is shared among threads.
const PART_PLACES_MIN: usize = 8192;
/// The note on a file that the symbol library cannot digest.
const MALFORMED: &str = "the file is malformed";

/// The file that a module was, as its tape tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordedFile {
    /// Its path.
    pub path: String,
    /// Its build-id; empty when it has none.
    pub build_id: Vec<u8>,
    /// Without a build-id: when it was there at the latest, Unix time in nanoseconds. What was
    /// changed since may be another file.
    pub met_unix_ns: u64,
}

impl RecordedFile {
    /// The file of `module`, a module of `tape`.
    #[must_use]
    pub fn of(tape: &Tape, module: &Module) -> Self {
        let header = &tape.header;
        let met_unix_ns = match module.build_id.is_empty() {
            true => header
                .start_realtime_ns
                .saturating_add(header.stamp_to_ns(module.stamp)),
            false => 0,
        };
        Self {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            met_unix_ns,
        }
    }
}

/// Looks up `places`, in parallel over modules. `progress` is told (done, total).
pub fn look_up(
    places: &[CodePlace],
    file: impl Fn(u32) -> Option<RecordedFile>,
    progress: impl FnMut(u64, u64) + Send,
) -> LookUp {
    let mut found = LookUp::default();
    let mut files: FxHashMap<u32, Option<RecordedFile>> = FxHashMap::default();
    for place in places {
        files
            .entry(place.module)
            .or_insert_with(|| file(place.module).filter(|file| file.path.starts_with('/')));
    }
    let mut by_file: BTreeMap<&RecordedFile, Vec<CodePlace>> = BTreeMap::new();
    for &place in places {
        match files.get(&place.module).and_then(Option::as_ref) {
            Some(file) => by_file.entry(file).or_default().push(place),
            None => found.symbols.push(unknown(place)),
        }
    }
    let mut work = Vec::new();
    for (file, mut places) in by_file {
        let path = &file.path;
        let files = shielded(|| source_files(file));
        match files.unwrap_or_else(|| Err(MALFORMED.to_owned())) {
            Ok(files) => {
                places.sort_unstable_by_key(|place| place.look_up_address());
                let parts = rayon::current_num_threads().min(places.len() / PART_PLACES_MIN + 1);
                let part = places.len().div_ceil(parts.max(1)).max(1);
                work.extend(
                    places
                        .chunks(part)
                        .map(|part| (file, files.clone(), part.to_vec())),
                );
            }
            Err(note) => {
                found.notes.extend(places.first().map(|place| Note {
                    module: place.module,
                    is_of_debug_file: false,
                    text: format!("{path}: {note}"),
                }));
                found.symbols.extend(places.into_iter().map(unknown));
            }
        }
    }
    let progress = Progress::new(places.len(), found.symbols.len(), progress);
    let named: Vec<Named> = work
        .into_par_iter()
        .map(|(file, files, places)| {
            let named = shielded(|| name_part(file, &files, &places, &progress));
            named.unwrap_or_else(|| Named {
                symbols: places.into_iter().map(unknown).collect(),
                has_failed: true,
                note: None,
            })
        })
        .collect();
    for part in named {
        let module = part.symbols.first().map(|symbol| symbol.module);
        found.failed.extend(module.filter(|_| part.has_failed));
        // All parts of a file say the same.
        if let (Some(text), Some(module)) = (part.note, module)
            && found.notes.iter().all(|note| note.text != text)
        {
            found.notes.push(Note {
                module,
                is_of_debug_file: true,
                text,
            });
        }
        found.symbols.extend(part.symbols);
    }
    found
}

/// Symbols of places of one file.
struct Named {
    symbols: Vec<Symbol>,
    /// The symbol library failed at one of the places or more.
    has_failed: bool,
    /// Why a debug file was not used.
    note: Option<String>,
}

fn unknown(place: CodePlace) -> Symbol {
    place.symbol(Vec::new())
}

/// Counts what all threads have done and tells it.
struct Progress<P> {
    total: u64,
    state: Mutex<(u64, P)>,
}

impl<P: FnMut(u64, u64) + Send> Progress<P> {
    fn new(total: usize, done: usize, tell: P) -> Self {
        let progress = Self {
            total: total as u64,
            state: Mutex::new((0, tell)),
        };
        progress.add(done);
        progress
    }

    fn add(&self, places: usize) {
        // A poisoned lock only means that a thread died while telling; telling goes on.
        let mut state = self.state.lock().unwrap_or_else(|lock| lock.into_inner());
        state.0 += places as u64;
        let done = state.0;
        (state.1)(done, self.total);
    }
}

/// The files that may name a module's places, the best first, or why there is none.
fn source_files(file: &RecordedFile) -> Result<Vec<PathBuf>, String> {
    let (path, build_id) = (&on_disk(&file.path), file.build_id.as_slice());
    let debug_file = separate_debug_file(build_id);
    // Opening a pipe would wait for its writer.
    if path.metadata().is_ok_and(|file| !file.is_file()) {
        let no_file = || "what is at its path now is no file".to_owned();
        return debug_file.map(|file| vec![file]).ok_or_else(no_file);
    }
    let on_disk = match read_elf_build_id(&path) {
        Ok(found) => found.unwrap_or_default().into_owned(),
        Err(error) => {
            return match (debug_file, path.exists()) {
                (Some(file), _) => Ok(vec![file]),
                (None, false) => Err("the file is not on this machine".to_owned()),
                (None, true) => Err(format!("the file cannot be read ({error})")),
            };
        }
    };
    if on_disk.is_empty() && build_id.is_empty() && was_changed(path, file.met_unix_ns) {
        return Err("it was changed after it was met, and has no build-id to tell by".to_owned());
    }
    if on_disk == build_id {
        return Ok(debug_file.into_iter().chain([path.to_owned()]).collect());
    }
    match debug_file {
        Some(file) => Ok(vec![file]),
        None if build_id.is_empty() => {
            Err("the recording has no build-id of the file, so it may be another one".to_owned())
        }
        None => Err("the file is not the one that was recorded (its build-id differs)".to_owned()),
    }
}

/// True when the file at `path` was written, renamed or made after `unix_ns`.
fn was_changed(path: &Path, unix_ns: u64) -> bool {
    let Ok(file) = path.metadata() else {
        return true;
    };
    let changed = i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec());
    changed > i128::from(unix_ns)
}

fn name_part<P: FnMut(u64, u64) + Send>(
    file: &RecordedFile,
    files: &[PathBuf],
    places: &[CodePlace],
    progress: &Progress<P>,
) -> Named {
    let (source, note) = usable_source(files, &file.build_id);
    let note = note.map(|note| format!("{}: {note}", file.path));
    let Some((symbolizer, full, plain)) = source else {
        progress.add(places.len());
        return Named {
            symbols: places.iter().copied().map(unknown).collect(),
            has_failed: false,
            note,
        };
    };
    let mut symbols = Vec::with_capacity(places.len());
    let mut has_failed = false;
    for batch in places.chunks(BATCH_PLACES) {
        let addresses: Vec<u64> = batch.iter().map(|place| place.look_up_address()).collect();
        let found = symbolizer.symbolize(&full, Input::VirtOffset(&addresses));
        has_failed |= found.is_err();
        let mut found = found.unwrap_or_default().into_iter();
        for (&place, &address) in batch.iter().zip(&addresses) {
            let mut symbol = unknown(place);
            if let Some(Symbolized::Sym(sym)) = found.next() {
                symbol.frames = frames(&sym, &symbolizer, &plain, address);
            }
            symbols.push(symbol);
        }
        progress.add(batch.len());
    }
    Named {
        symbols,
        has_failed,
        note,
    }
}

/// What names the places of a file: with its debug information, and by its symbol table alone.
type Usable<'d> = (Symbolizer, Source<'d>, Source<'d>);

/// The first of `files` that has the build-id and can be opened; and why a debug file is not used.
fn usable_source<'d>(files: &[PathBuf], build_id: &[u8]) -> (Option<Usable<'d>>, Option<String>) {
    let mut note = None;
    for file in files {
        if read_elf_build_id(file).is_ok_and(|found| *found.unwrap_or_default() != *build_id) {
            note = note.or_else(|| Some(passed_over(file, ANOTHER_BUILD_ID)));
            continue;
        }
        let companions = Companions::of(file);
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_demangling(false)
            .set_debug_dirs(Some(companions.folders.clone()))
            .build();
        let mut plain = Elf::new(file);
        plain.debug_syms = false;
        let plain = Source::Elf(plain);
        let opens = |source: &Source<'_>| {
            let nothing = symbolizer.symbolize(source, Input::VirtOffset(&[]));
            nothing.is_ok()
        };
        if companions.are_files {
            let full = Source::Elf(Elf::new(file));
            if !companions.is_of_another_build() && opens(&full) {
                return (Some((symbolizer, full, plain)), note);
            }
            note = note.or_else(|| companions.passed_over());
        }
        if opens(&plain) {
            return (Some((symbolizer, plain.clone(), plain)), note);
        }
    }
    (None, note)
}

/// The frames of one symbol, the most recent first.
fn frames(
    sym: &Sym<'_>,
    symbolizer: &Symbolizer,
    plain: &Source<'_>,
    address: u64,
) -> Vec<SourceFrame> {
    let frame = |name: &str, place: Option<&CodeInfo<'_>>, inlined| SourceFrame {
        function: match place {
            Some(_) => names::readable(name),
            None => telling_name(name),
        },
        file: place.map_or_else(String::new, |place| {
            tidy(&text::of_bytes(place.to_path().as_os_str().as_bytes()))
        }),
        line: place.and_then(|place| place.line).unwrap_or(0),
        inlined,
    };
    let mut frames: Vec<SourceFrame> = sym
        .inlined
        .iter()
        .rev()
        .map(|inlined| frame(&inlined.name, inlined.code_info.as_ref(), true))
        .collect();
    let linked = linked_name(&sym.name, symbolizer, plain, address);
    let name = linked.as_deref().unwrap_or(&sym.name);
    let mut outer = frame(name, sym.code_info.as_deref(), false);
    if frames.is_empty() && may_be_inlined(&outer.file) {
        let symbol = match names::is_mangled(name) {
            true => Some(name.to_owned()),
            false => symbol_at(symbolizer, plain, address)
                .filter(|symbol| symbol == name || names::is_mangled(symbol)),
        };
        // A bare name of debug information's alone tells no namespace, and so contradicts no file.
        if symbol.is_some_and(|symbol| !is_defined_in_library(&symbol)) {
            (outer.file, outer.line) = (String::new(), 0);
            outer.function = telling_name(name);
        }
    }
    frames.push(outer);
    frames
}

/// DWARF gives functions with internal linkage their bare name; the symbol table knows the
/// mangled one, which has the namespace and the parameters.
fn linked_name(
    name: &str,
    symbolizer: &Symbolizer,
    plain: &Source<'_>,
    address: u64,
) -> Option<String> {
    if names::is_mangled(name) {
        return None;
    }
    symbol_at(symbolizer, plain, address).filter(|linked| names::is_full_form(linked, name))
}

/// The name that the symbol table has for an address.
fn symbol_at(symbolizer: &Symbolizer, plain: &Source<'_>, address: u64) -> Option<String> {
    let found = symbolizer.symbolize_single(plain, Input::VirtOffset(address));
    match found {
        Ok(Symbolized::Sym(sym)) => Some(sym.name.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_build_id_names_nothing() {
        let this = std::env::current_exe().unwrap();
        let other = PathBuf::from("/bin/sh");
        let build_id = |file| read_elf_build_id(file).unwrap().unwrap().into_owned();
        let (of_this, of_other) = (build_id(&this), build_id(&other));
        let both = [other.clone(), this];
        let (source, note) = usable_source(&both, &of_this);
        assert!(source.is_some());
        assert!(note.is_some_and(|note| note.contains("/bin/sh was passed over: its build-id")));
        let (source, note) = usable_source(&both, &of_other);
        assert!(source.is_some() && note.is_none(), "{note:?}");
        let (source, note) = usable_source(&[other], &of_this);
        assert!(source.is_none() && note.is_some());
    }
}
