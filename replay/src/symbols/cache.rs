//! Symbols that were found before, in the user's cache folder: naming a place takes reading and
//! sorting the debug information of its whole file, run after run.
//!
//! In: the files that may name a module's places. Out: an entry, with the symbols of the places
//! that were looked up when each of those files, and each companion that it has or could have, was
//! what it is now; and entries get more. Whatever goes wrong here costs time, never a name: then
//! there is no entry.
//!
//! An entry is a file of symbol chunks (SPEC.md §9), all of them of module 0. Its name has the
//! build-id and a hash of the facts about the files and about this executable, whose next version
//! may find better names. Those that were not used for the longest time are removed when the
//! folder gets large.

use super::companions::{Companions, separate_debug_file_paths};
use super::embed;
use super::native::CodePlace;
use crate::cache_folder;
use crate::temporary::Temporary;
use heaptape_format::ChunkKind;
use heaptape_format::chunk::ChunkEncoder;
use heaptape_format::scan::{Found, Scan};
use heaptape_format::symbols::{SourceFrame, Symbol, symbols};
use rustc_hash::FxHashMap;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An entry with more symbols is begun anew: reading it all would take longer than it saves.
const ENTRY_SYMBOLS_MAX: usize = 1 << 17;
/// A longer file is no entry.
const ENTRY_BYTES_MAX: u64 = 64 << 20;
/// Entries are removed when all together are larger.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
/// Then so much of them stays.
const FOLDER_BYTES_LEFT: u64 = FOLDER_BYTES_MAX / 4 * 3;
/// Longer build-ids make no file names.
const BUILD_ID_BYTES_MAX: usize = 64;
/// Entries are written often and read often.
const ZSTD_LEVEL: i32 = 1;

/// The folder of the entries.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's; None where the user has no cache folder, or one that others may write to.
    pub(super) fn of_user() -> Option<Self> {
        let all = cache_folder::of_user()?;
        let folder = all.join("symbols");
        let may_be_used = [&all, &folder]
            .iter()
            .all(|folder| cache_folder::is_own(folder).unwrap_or(!folder.exists()));
        may_be_used.then_some(Self { folder })
    }

    /// One in `folder`.
    #[cfg(test)]
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is known of the places in a module with `build_id` that `files` may name. None when
    /// nothing can be known for sure.
    pub(super) fn entry(&self, files: &[PathBuf], build_id: &[u8]) -> Option<Entry> {
        if build_id.is_empty() || build_id.len() > BUILD_ID_BYTES_MAX {
            return None;
        }
        let mut facts = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut facts);
        hash_file(Path::new("/proc/self/exe"), &mut facts);
        for path in separate_debug_file_paths(build_id) {
            hash_file(&path, &mut facts);
        }
        for file in files {
            for path in Companions::of(file).looked_at {
                hash_file(&path, &mut facts);
            }
        }
        let build_id: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{build_id}-{:016x}", facts.finish());
        let path = self.folder.join(name);
        let known = read(&path).unwrap_or_default();
        Some(Entry { path, known })
    }
}

/// Path and identity of a file, or that it is not there.
fn hash_file(path: &Path, facts: &mut DefaultHasher) {
    path.hash(facts);
    let identity = path.metadata().ok().map(|file| {
        let changed = [
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ];
        (file.dev(), file.ino(), file.len(), changed)
    });
    identity.hash(facts);
}

/// What is known of the places of a file: the frames of each, by offset and exactness; none where
/// the file says nothing.
type Known = FxHashMap<(u64, bool), Vec<SourceFrame>>;

/// The known symbols of one file.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    known: Known,
}

impl Entry {
    /// The frames of `place`, a place of the file; None when it was never looked up.
    pub(super) fn frames(&self, place: CodePlace) -> Option<&[SourceFrame]> {
        let frames = self.known.get(&(place.offset, place.exact));
        frames.map(Vec::as_slice)
    }

    /// Writes it with `found`, symbols of the file, in addition.
    pub(super) fn store<'s>(self, found: impl Iterator<Item = &'s Symbol>) {
        let mut all: Vec<Symbol> = found
            .map(|symbol| Symbol {
                module: 0,
                ..symbol.clone()
            })
            .collect();
        if all.is_empty() {
            return;
        }
        if all.len() + self.known.len() <= ENTRY_SYMBOLS_MAX {
            all.extend(
                self.known
                    .into_iter()
                    .map(|((offset, exact), frames)| Symbol {
                        module: 0,
                        offset,
                        exact,
                        frames,
                    }),
            );
        }
        all.sort_unstable_by_key(|symbol| (symbol.offset, symbol.exact));
        all.dedup_by_key(|symbol| (symbol.offset, symbol.exact));
        // It is written again by the next run that misses it.
        let _not_written = write(&self.path, &all);
    }
}

/// The symbols in the entry at `path`, which becomes the latest used; None when there is none.
fn read(path: &Path) -> Option<Known> {
    // Opening a pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    // The order of removal is all that depends on it.
    let _not_touched = file.set_modified(SystemTime::now());
    let mut bytes = Vec::new();
    let mut start = file.take(ENTRY_BYTES_MAX);
    start.read_to_end(&mut bytes).ok()?;
    let mut known = Known::default();
    let mut payload = Vec::new();
    for found in Scan::new(&bytes, 0) {
        let Found::Chunk(chunk) = found else {
            return None;
        };
        if chunk.header.kind != ChunkKind::SYMBOLS {
            return None;
        }
        chunk.payload(&bytes, &mut payload).ok()?;
        let part = symbols(&payload, chunk.header.count).ok()?;
        known.extend(
            part.into_iter()
                .map(|symbol| ((symbol.offset, symbol.exact), symbol.frames)),
        );
    }
    Some(known)
}

fn write(path: &Path, symbols: &[Symbol]) -> io::Result<()> {
    let chunks = embed::encode(symbols, 0, &mut ChunkEncoder::new(ZSTD_LEVEL));
    let chunks = chunks.map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(path);
    cache_folder::make_own(folder)?;
    let mut new = Temporary::create(path, 0o600)?;
    new.file().write_all(&chunks)?;
    new.put_in_place()?;
    prune(folder, FOLDER_BYTES_MAX, FOLDER_BYTES_LEFT)
}

/// Removes files of `folder`, those that were not used for the longest time first, until no more
/// than `left` bytes are there, when there are more than `limit`.
fn prune(folder: &Path, limit: u64, left: u64) -> io::Result<()> {
    let mut files: Vec<(PathBuf, Metadata)> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .collect();
    let mut bytes: u64 = files.iter().map(|(_, file)| file.len()).sum();
    if bytes <= limit {
        return Ok(());
    }
    files.sort_by_key(|(_, file)| file.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    for (path, file) in files {
        if bytes <= left {
            break;
        }
        fs::remove_file(path)?;
        bytes -= file.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(offset: u64, function: &str) -> Symbol {
        Symbol {
            module: 7,
            offset,
            exact: false,
            frames: match function {
                "" => Vec::new(),
                _ => vec![SourceFrame {
                    function: function.to_owned(),
                    ..SourceFrame::default()
                }],
            },
        }
    }

    fn functions(entry: &Entry) -> Vec<(u64, Option<&str>)> {
        let mut all: Vec<_> = entry
            .known
            .iter()
            .map(|(place, frames)| (place.0, frames.first().map(|frame| &*frame.function)))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_entry_is_of_the_files_as_they_are() {
        let room = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(room.path().join("cache"));
        let file = room.path().join("app");
        fs::write(&file, "one").unwrap();
        let files = [file.clone()];
        let entry = || cache.entry(&files, &[1, 2]).unwrap();
        assert!(cache.entry(&files, &[]).is_none());
        entry().store([symbol(10, "main"), symbol(20, "")].iter());
        assert_eq!(functions(&entry()), [(10, Some("main")), (20, None)]);
        entry().store([symbol(5, "first")].iter());
        let three = [(5, Some("first")), (10, Some("main")), (20, None)];
        assert_eq!(functions(&entry()), three);
        assert_eq!(functions(&cache.entry(&files, &[1, 3]).unwrap()), []);
        // A package of debug information comes, and goes.
        let package = room.path().join("app.dwp");
        fs::write(&package, "").unwrap();
        assert_eq!(functions(&entry()), []);
        fs::remove_file(&package).unwrap();
        assert_eq!(functions(&entry()), three);
        // Another file with the same bytes.
        fs::write(room.path().join("new"), "one").unwrap();
        fs::rename(room.path().join("new"), &file).unwrap();
        assert_eq!(functions(&entry()), []);
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("entry");
        write(&path, &[symbol(10, "main")]).unwrap();
        let good = fs::read(&path).unwrap();
        assert_eq!(read(&path).map(|known| known.len()), Some(1));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            // A bit of the padding means nothing.
            let expected = symbol(10, "main").frames;
            let known = read(&path).unwrap_or_default();
            assert!(
                known
                    .get(&(10, false))
                    .is_none_or(|frames| *frames == expected)
            );
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path).is_none_or(|known| known.is_empty() || at + 8 > good.len()));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&path).is_none());
        assert!(write(&path, &[symbol(10, "main")]).is_err());
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_used_last_stays() {
        let room = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| room.path().join(name));
        for path in &paths {
            write(path, &[symbol(10, "main")]).unwrap();
        }
        let bytes = fs::metadata(&paths[0]).unwrap().len();
        let hour = std::time::Duration::from_secs(3600);
        for (path, age) in paths.iter().zip([1, 3, 2]) {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - hour * age).unwrap();
        }
        prune(room.path(), 3 * bytes, bytes).unwrap();
        assert!(paths.iter().all(|path| path.exists()));
        assert_eq!(read(&paths[1]).unwrap().len(), 1);
        prune(room.path(), 3 * bytes - 1, bytes).unwrap();
        assert_eq!(paths.map(|path| path.exists()), [false, true, false]);
    }
}
