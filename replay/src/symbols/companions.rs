//! The files that the symbol library opens beside an ELF file: where its links to separate debug
//! information lead, and its package of split debug information.
//!
//! What comes in: the path of an ELF file. What goes out: the folders to look in, every path that
//! is looked at, whether only files would be opened, and why a separate debug file that is there is
//! not used. The links' files are opened where they are, whatever they are, and opening a pipe
//! waits for its writer.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where separate debug files are looked for.
const DEBUG_FOLDERS: [&str; 2] = ["/usr/lib/debug", "/lib/debug"];
/// The folder for them beside a file.
const DEBUG_FOLDER_BESIDE: &str = ".debug";
/// Longer sections hold no link.
const LINK_BYTES_MAX: u64 = 64 << 10;
/// Longer tables of sections are not read: real ones are far shorter.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// Where the symbol library goes from an ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companions {
    /// Where separate debug files are looked for, before the file's own folder.
    pub(super) folders: Vec<PathBuf>,
    /// Nothing that may be opened is a pipe or a device.
    pub(super) are_files: bool,
    /// Where its package of split debug information would be.
    pub(super) package: PathBuf,
    /// Everything whose presence or content decides what the library finds, the file first.
    pub(super) looked_at: Vec<PathBuf>,
    /// The separate debug file that the library takes by the link, and the file's own build-id.
    linked: Option<(PathBuf, Vec<u8>)>,
}

impl Companions {
    /// Of the ELF file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let mut folders: Vec<PathBuf> = DEBUG_FOLDERS.map(PathBuf::from).into();
        let package = with_end(path, ".dwp");
        let mut are_files = is_harmless(&package);
        let mut looked_at = vec![path.to_owned(), package.clone()];
        // The library looks beside what a symbolic link leads to.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let links = Links::of(&real);
        if let Some(name) = &links.separate {
            let beside = real.with_file_name(DEBUG_FOLDER_BESIDE);
            looked_at.push(beside.join(&**name));
            if !real.with_file_name(name).exists() && beside.join(&**name).is_file() {
                folders.push(beside);
            }
        }
        let separate = links.separate.as_deref();
        let linked = separate.and_then(|name| linked(&real, name, &folders, &links.build_id));
        let separate: Vec<PathBuf> = separate
            .map(|name| candidates(&real, name, &folders))
            .unwrap_or_default()
            .into_iter()
            .chain(separate_debug_file_paths(&links.build_id))
            .collect();
        are_files &= separate.iter().all(|file| is_harmless(file));
        looked_at.extend_from_slice(&separate);
        let linking = separate
            .iter()
            .map(PathBuf::as_path)
            .chain([real.as_path()]);
        for file in linking.filter(|file| file.is_file()) {
            let shared = Links::of(file).shared;
            for (name, build_id) in &shared {
                let mut paths = candidates(file, name, &folders);
                paths.extend(separate_debug_file_paths(build_id));
                are_files &= paths.iter().all(|path| is_harmless(path));
                looked_at.extend(paths);
            }
        }
        Self {
            folders,
            are_files,
            package,
            looked_at,
            linked: linked.map(|file| (file, links.build_id)),
        }
    }

    /// True when the separate debug file that is linked to has another build-id than the file: then
    /// it is another program's, whatever its checksum says. To be asked where they are files.
    pub(super) fn is_of_another_build(&self) -> bool {
        self.linked.as_ref().is_some_and(|(file, build_id)| {
            let other = blazesym::helper::read_elf_build_id(file);
            !build_id.is_empty() && matches!(other, Ok(Some(other)) if *other != **build_id)
        })
    }

    /// Why the separate debug file that is linked to cannot be used, when it cannot; None where
    /// there is none.
    pub(super) fn passed_over(&self) -> Option<String> {
        let (file, build_id) = self.linked.as_ref()?;
        let why = match blazesym::helper::read_elf_build_id(file) {
            Err(_) => "it is no ELF file",
            Ok(Some(other)) if *other != **build_id => ANOTHER_BUILD_ID,
            Ok(_) => "it belongs to another build or is damaged",
        };
        Some(passed_over(file, why))
    }
}

/// Why a debug file with another build-id is not used.
pub(super) const ANOTHER_BUILD_ID: &str = "its build-id is another one";

/// Says of a debug file why it is not used.
pub(super) fn passed_over(debug_file: &Path, why: &str) -> String {
    format!(
        "the debug file {} was passed over: {why}",
        debug_file.display()
    )
}

/// The file that the symbol library finds for a link to `name` in the file at `from`: it looks in
/// this order and takes what is there first.
fn linked(from: &Path, name: &OsStr, folders: &[PathBuf], build_id: &[u8]) -> Option<PathBuf> {
    let by_build_id = separate_debug_file_paths(build_id).into_iter();
    let by_name = folders.iter().map(|folder| folder.join(name));
    let mut all = by_build_id
        .chain(by_name)
        .chain(candidates(from, name, folders));
    all.find(|file| file != from && file.exists())
}

/// `/usr/lib/debug/.build-id/ab/cdef….debug`, when it is there.
pub(super) fn separate_debug_file(build_id: &[u8]) -> Option<PathBuf> {
    separate_debug_file_paths(build_id)
        .into_iter()
        .find(|file| file.is_file())
}

/// Where [`separate_debug_file`] looks.
pub(super) fn separate_debug_file_paths(build_id: &[u8]) -> Vec<PathBuf> {
    let hex: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let Some((first, rest)) = hex.split_at_checked(2) else {
        return Vec::new();
    };
    let in_folder = |folder| PathBuf::from(format!("{folder}/.build-id/{first}/{rest}.debug"));
    DEBUG_FOLDERS.map(in_folder).into()
}

/// Everywhere that a file called `name` is looked for when the file at `from` links to it.
fn candidates(from: &Path, name: &OsStr, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = vec![from.with_file_name("").join(name)];
    for folder in folders {
        found.push(folder.join(name));
        for above in from.ancestors().skip(1) {
            let below = above.strip_prefix("/").unwrap_or(above);
            found.push(folder.join(below).join(name));
        }
    }
    found
}

/// True when opening what is at `path` cannot wait: it is a file or a folder, or not there.
fn is_harmless(path: &Path) -> bool {
    path.metadata()
        .map_or(true, |found| found.is_file() || found.is_dir())
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// The links of an ELF file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Links {
    /// `.gnu_debuglink`: the name of its separate debug file.
    separate: Option<Box<OsStr>>,
    /// `.gnu_debugaltlink` and `.debug_sup`: names of files with what several files share, and
    /// their build-ids.
    shared: Vec<(Box<OsStr>, Vec<u8>)>,
    build_id: Vec<u8>,
}

impl Links {
    /// Of the file at `path`; none of what is no ELF file, or damaged.
    fn of(path: &Path) -> Self {
        let build_id = blazesym::helper::read_elf_build_id(&path);
        let build_id = build_id.ok().flatten().unwrap_or_default().into_owned();
        let sections = File::open(path).ok().and_then(|file| sections(&file));
        let sections = sections.unwrap_or_default();
        let name = |content: &[u8]| -> Option<(Box<OsStr>, usize)> {
            let end = content.iter().position(|&byte| byte == 0)?;
            Some((OsStr::from_bytes(content.get(..end)?).into(), end + 1))
        };
        let mut links = Self {
            build_id,
            ..Self::default()
        };
        for (kind, content) in sections {
            // A version and a kind stand before the name.
            let start = if kind == SUPPLEMENT { 3 } else { 0 };
            let Some((name, end)) = content.get(start..).and_then(name) else {
                continue;
            };
            match kind {
                SEPARATE => links.separate = Some(name),
                _ => {
                    let behind = content.get(start + end..).unwrap_or_default();
                    links.shared.push((name, behind.to_vec()));
                }
            }
        }
        links
    }
}

const SEPARATE: &[u8] = b".gnu_debuglink";
const SHARED: &[u8] = b".gnu_debugaltlink";
const SUPPLEMENT: &[u8] = b".debug_sup";

/// The sections of a 64-bit ELF file that hold links: name and content.
fn sections(file: &File) -> Option<Vec<(&'static [u8], Vec<u8>)>> {
    let header = read(file, 0, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = word(&header, 40)?;
    let (count, names) = (short(&header, 60)?, short(&header, 62)?);
    // Of a file with very many sections, the first one tells the numbers.
    let first = read(file, table, SECTION_BYTES)?;
    let count = if count == 0 { word(&first, 32)? } else { count };
    let names = match names {
        0xffff => u64::from(u32::from_le_bytes(first.get(40..44)?.try_into().ok()?)),
        names => names,
    };
    let table = read(file, table, count.checked_mul(SECTION_BYTES)?)?;
    let sections: Vec<&[u8]> = table.chunks_exact(SECTION_BYTES as usize).collect();
    let content = |section: &[u8]| read(file, word(section, 24)?, word(section, 32)?);
    let names = content(sections.get(usize::try_from(names).ok()?)?)?;
    let mut found = Vec::new();
    for section in sections {
        let name = u32::from_le_bytes(section.get(..4)?.try_into().ok()?);
        let name = names.get(usize::try_from(name).ok()?..).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut kinds = [SEPARATE, SHARED, SUPPLEMENT].into_iter();
        if let Some(kind) = kinds.find(|&kind| kind == name)
            && word(section, 32)? <= LINK_BYTES_MAX
        {
            found.extend(content(section).map(|content| (kind, content)));
        }
    }
    Some(found)
}

const SECTION_BYTES: u64 = 64;

fn read(file: &File, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    if bytes > TABLE_BYTES_MAX {
        return None;
    }
    let mut content = vec![0; usize::try_from(bytes).ok()?];
    file.read_exact_at(&mut content, offset).ok()?;
    Some(content)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u64::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}
