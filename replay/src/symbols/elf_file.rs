//! What one ELF file, or its separate debug file, tells of places in it.
//!
//! In: a module's file as it was recorded. Out: the files of this machine that may name its places,
//! or why there are none; and the symbols of places, with inlined functions expanded. A file whose
//! build-id is not the recorded one names nothing.

use super::companions::{ANOTHER_BUILD_ID, Companions, passed_over, separate_debug_file};
use super::names;
use super::native::{CodePlace, RecordedFile};
use super::paths::{on_disk, tidy};
use super::standard_library::{is_defined_in_library, may_be_inlined, telling_name};
use blazesym::helper::read_elf_build_id;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::text;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Places that one symbolizer works on together.
const BATCH_PLACES: usize = 512;

/// Symbols of places of one file.
pub(super) struct Named {
    /// One for each place.
    pub(super) symbols: Vec<Symbol>,
    /// The symbol library failed at one of the places or more.
    pub(super) has_failed: bool,
    /// Why a debug file was not used.
    pub(super) note: Option<String>,
    /// A file that is there could not be opened: another time it may be.
    pub(super) is_makeshift: bool,
}

/// The files that may name a module's places, the best first, or why there is none.
pub(super) fn source_files(file: &RecordedFile) -> Result<Vec<PathBuf>, String> {
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

/// Names `places` of `file` by the first of `files` that can. `done` is told of places that are
/// done, several at a time.
pub(super) fn name_places(
    file: &RecordedFile,
    files: &[PathBuf],
    places: &[CodePlace],
    done: impl Fn(usize),
) -> Named {
    let found = usable_source(files, &file.build_id);
    let note = found.note.map(|note| format!("{}: {note}", file.path));
    let is_makeshift = found.is_makeshift;
    let Some(Usable {
        symbolizer,
        full,
        plain,
        ..
    }) = found.usable
    else {
        done(places.len());
        return Named {
            symbols: places.iter().map(|place| place.unknown()).collect(),
            has_failed: false,
            note,
            is_makeshift,
        };
    };
    let mut symbols = Vec::with_capacity(places.len());
    let mut has_failed = false;
    for batch in places.chunks(BATCH_PLACES) {
        let addresses: Vec<u64> = batch.iter().map(|place| place.look_up_address()).collect();
        let found = symbolizer.symbolize(&full, Input::VirtOffset(&addresses));
        has_failed |= found.is_err();
        let mut found = found.unwrap_or_default().into_iter();
        for (place, &address) in batch.iter().zip(&addresses) {
            let mut symbol = place.unknown();
            if let Some(Symbolized::Sym(sym)) = found.next() {
                symbol.frames = frames(&sym, &symbolizer, &plain, address);
            }
            symbols.push(symbol);
        }
        done(batch.len());
    }
    Named {
        symbols,
        has_failed,
        note,
        is_makeshift,
    }
}

/// What names the places of a file.
struct Usable {
    symbolizer: Symbolizer,
    /// With its debug information.
    full: Source<'static>,
    /// By its symbol table alone.
    plain: Source<'static>,
    /// Keeps the path in `full` valid.
    _file: Option<File>,
}

/// The outcome of a search among the files that may name places.
#[derive(Default)]
struct Found {
    usable: Option<Usable>,
    /// Why a debug file is not used.
    note: Option<String>,
    /// See [`Named::is_makeshift`].
    is_makeshift: bool,
}

/// The first of `files` that has the build-id and can be opened.
fn usable_source(files: &[PathBuf], build_id: &[u8]) -> Found {
    let mut found = Found::default();
    for file in files {
        let of_file = read_elf_build_id(file);
        found.is_makeshift |= of_file.is_err();
        if of_file.is_ok_and(|of_file| *of_file.unwrap_or_default() != *build_id) {
            let note = || passed_over(file, ANOTHER_BUILD_ID);
            found.note = found.note.or_else(|| Some(note()));
            continue;
        }
        let companions = Companions::of(file);
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_demangling(false)
            .set_debug_dirs(Some(companions.folders.clone()))
            .build();
        let opens = |source: &Source<'_>| {
            let nothing = symbolizer.symbolize(source, Input::VirtOffset(&[]));
            nothing.is_ok()
        };
        let mut plain = Elf::new(file);
        plain.debug_syms = false;
        let plain = Source::Elf(plain);
        let (mut full, mut held) = (None, None);
        if companions.are_files {
            let with_all = Source::Elf(Elf::new(file));
            if !companions.is_of_another_build() && opens(&with_all) {
                full = Some(with_all);
            } else if let Some((open, source)) = without_package(file, &companions)
                && opens(&source)
            {
                let note = || passed_over(&companions.package, NO_PACKAGE);
                found.note = found.note.or_else(|| Some(note()));
                (full, held) = (Some(source), Some(open));
            } else {
                found.note = found.note.or_else(|| companions.passed_over());
                found.is_makeshift = true;
            }
        }
        if full.is_some() || opens(&plain) {
            found.usable = Some(Usable {
                full: full.unwrap_or_else(|| plain.clone()),
                symbolizer,
                plain,
                _file: held,
            });
            return found;
        }
        found.is_makeshift = true;
    }
    found
}

/// Why a package of split debug information is not used.
const NO_PACKAGE: &str = "it is no ELF file, or damaged";

/// `file` under a name beside which the symbol library finds no package of split debug information,
/// when there is one that may be what it fails at.
fn without_package(file: &Path, companions: &Companions) -> Option<(File, Source<'static>)> {
    if !companions.package.exists() || companions.is_of_another_build() {
        return None;
    }
    let open = File::open(file).ok()?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    Some((open, Source::Elf(Elf::new(name))))
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
        let found = usable_source(&both, &of_this);
        assert!(found.usable.is_some());
        assert!(
            found
                .note
                .is_some_and(|note| note.contains("/bin/sh was passed over: its build-id"))
        );
        let found = usable_source(&both, &of_other);
        assert!(found.usable.is_some() && found.note.is_none());
        let found = usable_source(&[other], &of_this);
        assert!(found.usable.is_none() && found.note.is_some());
    }
}
