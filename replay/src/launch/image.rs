//! Can a program be recorded by a preloaded library?
//!
//! In: the path of an executable. Out: how to start it. What cannot be recorded must run exactly
//! as if bare: a loader that is told of a library that it cannot load says so on the target's
//! standard error. Nothing here executes or maps the file; any bytes are read safely.

use heaptape_session::{allocators, reasons};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Scripts whose interpreter is a script, and so on: the kernel's limit is about this.
const INTERPRETERS_MAX: usize = 5;
/// Longer tables are not read: real ones are far shorter.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// What is known of a program before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// It can be recorded.
    Recordable,
    /// It cannot, but programs that it starts may: it can pass the environment on.
    Opaque(&'static str),
    /// It cannot, and must not even be told.
    Refused(&'static str),
    /// Neither a program nor a script with an interpreter: a shell runs it.
    Text,
}

/// Looks at the program at `path`, through scripts to their interpreter.
pub(crate) fn look_at(path: &Path) -> Image {
    let mut path = path.to_owned();
    for _ in 0..INTERPRETERS_MAX {
        // What cannot be read can still be executable; whether it is recorded will show.
        let Ok(file) = File::open(&path) else {
            return against_rights(&path).map_or(Image::Recordable, Image::Refused);
        };
        let mut head = [0; 256];
        let count = file.read_at(&mut head, 0).unwrap_or(0);
        let head = head.get(..count).unwrap_or_default();
        if let Some(interpreter) = interpreter_of_script(head) {
            path = interpreter;
        } else if head.starts_with(b"\x7fELF") {
            return elf_image(&file, head, &path).unwrap_or(Image::Recordable);
        } else {
            return Image::Text;
        }
    }
    Image::Recordable
}

/// True when the program at `path`, or the interpreter of the script that it is, is linked with an
/// allocator that has entry points of its own. What cannot be read is not.
pub(crate) fn brings_allocator(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..INTERPRETERS_MAX {
        let Ok(file) = File::open(&path) else {
            return false;
        };
        let mut head = [0; 256];
        let count = file.read_at(&mut head, 0).unwrap_or(0);
        let head = head.get(..count).unwrap_or_default();
        match interpreter_of_script(head) {
            Some(interpreter) => path = interpreter,
            None => return needs_allocator(&Elf { file: &file }, head).unwrap_or(false),
        }
    }
    false
}

/// The interpreter that the script at `path` names.
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    let file = File::open(path).ok()?;
    let mut head = [0; 256];
    let count = file.read_at(&mut head, 0).ok()?;
    interpreter_of_script(head.get(..count)?)
}

fn needs_allocator(elf: &Elf<'_>, head: &[u8]) -> Option<bool> {
    let segments = elf.segments(head.strip_prefix(b"\x7fELF").map(|_| head)?)?;
    let dynamic = segments.iter().find(|part| part.kind == PT_DYNAMIC)?;
    let (needed, strings) = elf.dynamic_strings(dynamic, &segments)?;
    let mut names = needed.iter().filter_map(|&name| {
        let text = strings.get(usize::try_from(name).ok()?..)?;
        text.split(|&byte| byte == 0).next()
    });
    Some(names.any(allocators::brings_allocator))
}

fn interpreter_of_script(head: &[u8]) -> Option<PathBuf> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let word = line
        .split(|byte| byte.is_ascii_whitespace())
        .find(|word| !word.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(word)))
}

/// The kernel would give the program more rights than we have: the loader then ignores preloaded
/// libraries.
fn against_rights(path: &Path) -> Option<&'static str> {
    let facts = path.metadata().ok()?;
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let group = unsafe { libc::getegid() };
    if facts.mode() & libc::S_ISUID != 0 && facts.uid() != user {
        return Some(reasons::SET_USER);
    }
    let group_bits = libc::S_ISGID | libc::S_IXGRP;
    if facts.mode() & group_bits == group_bits && facts.gid() != group {
        return Some(reasons::SET_GROUP);
    }
    (user != 0 && has_capabilities(path)).then_some(reasons::CAPABILITIES)
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(name) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let attribute = c"security.capability";
    // SAFETY: both names are zero-terminated; no buffer is written with length zero.
    let bytes =
        unsafe { libc::getxattr(name.as_ptr(), attribute.as_ptr(), std::ptr::null_mut(), 0) };
    bytes > 0
}

/// The parts of an ELF file that matter here.
struct Elf<'a> {
    file: &'a File,
}

/// One program header.
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    bytes: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const MACHINE_X86_64: u16 = 62;
/// The dynamic loader that loads our library.
const LOADER: &[u8] = b"ld-linux-x86-64.so.2";

/// None: the file's tables cannot be read, the loader will say more.
fn elf_image(file: &File, head: &[u8], path: &Path) -> Option<Image> {
    if *head.get(4)? != 2 {
        return Some(Image::Refused(reasons::BITS_32));
    }
    if *head.get(5)? != 1 || number::<2>(head, 18)? as u16 != MACHINE_X86_64 {
        return Some(Image::Refused(reasons::OTHER_PROCESSOR));
    }
    if let Some(reason) = against_rights(path) {
        return Some(Image::Refused(reason));
    }
    let elf = Elf { file };
    let segments = elf.segments(head)?;
    let of_kind = |kind| segments.iter().find(move |segment| segment.kind == kind);
    let Some(interpreter) = of_kind(PT_INTERP) else {
        // The loader run as a program loads our library like for any other program.
        let name = path.as_os_str().as_bytes();
        let is_loader = name.ends_with(LOADER) || name.ends_with(b"/ld.so");
        return Some(if is_loader {
            Image::Recordable
        } else {
            Image::Opaque(reasons::STATIC)
        });
    };
    let loader = elf.read(interpreter.offset, interpreter.bytes)?;
    let loader = loader.split(|&byte| byte == 0).next().unwrap_or_default();
    if !loader.ends_with(LOADER) {
        let is_musl = contains(loader, b"ld-musl");
        return Some(Image::Refused(if is_musl {
            reasons::MUSL
        } else {
            reasons::OTHER_LOADER
        }));
    }
    let (needed, strings) = elf.dynamic_strings(of_kind(PT_DYNAMIC)?, &segments)?;
    let by_library = needed.iter().find_map(|&name| {
        let name = strings.get(usize::try_from(name).ok()?..)?;
        let mut known = reasons::SANITIZER_LIBRARIES.iter();
        known.find(|(start, _)| name.starts_with(start))
    });
    let mut known = reasons::SANITIZER_SYMBOLS.iter();
    let found = by_library.or_else(|| known.find(|(symbol, _)| contains(&strings, symbol)));
    Some(found.map_or(Image::Recordable, |(_, reason)| Image::Refused(reason)))
}

impl Elf<'_> {
    fn read(&self, offset: u64, bytes: u64) -> Option<Vec<u8>> {
        if bytes > TABLE_BYTES_MAX {
            return None;
        }
        let mut content = vec![0; bytes as usize];
        let read: io::Result<()> = self.file.read_exact_at(&mut content, offset);
        read.ok().map(|()| content)
    }

    fn segments(&self, head: &[u8]) -> Option<Vec<Segment>> {
        let offset = number::<8>(head, 32)?;
        let (size, count) = (number::<2>(head, 54)?, number::<2>(head, 56)?);
        let table = self.read(offset, size * count)?;
        table
            .chunks_exact((size as usize).max(1))
            .map(|entry| {
                Some(Segment {
                    kind: number::<4>(entry, 0)? as u32,
                    offset: number::<8>(entry, 8)?,
                    address: number::<8>(entry, 16)?,
                    bytes: number::<8>(entry, 32)?,
                })
            })
            .collect()
    }

    /// Where the names of needed libraries are in the dynamic string table, and that table: it
    /// has the names of dynamic symbols too.
    fn dynamic_strings(
        &self,
        dynamic: &Segment,
        segments: &[Segment],
    ) -> Option<(Vec<u64>, Vec<u8>)> {
        let table = self.read(dynamic.offset, dynamic.bytes)?;
        let values = |tag| {
            table.chunks_exact(16).filter_map(move |entry| {
                (number::<8>(entry, 0)? == tag)
                    .then(|| number::<8>(entry, 8))
                    .flatten()
            })
        };
        let value = |tag| values(tag).next();
        let address = value(DT_STRTAB)?;
        let segment = segments.iter().find(|segment| {
            let inside = address.checked_sub(segment.address);
            segment.kind == PT_LOAD && inside.is_some_and(|inside| inside < segment.bytes)
        })?;
        let offset = segment.offset.checked_add(address - segment.address)?;
        let strings = self.read(offset, value(DT_STRSZ)?)?;
        Some((values(DT_NEEDED).collect(), strings))
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut value = [0; 8];
    value.get_mut(..N)?.copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(value))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn ordinary_programs_and_scripts_can_be_recorded() {
        assert_eq!(look_at(Path::new("/bin/sh")), Image::Recordable);
        let (_folder, script) = written(b"#! /bin/sh -e\necho\n");
        assert_eq!(look_at(&script), Image::Recordable);
        let (_folder, text) = written(b"echo no interpreter\n");
        assert_eq!(look_at(&text), Image::Text);
        let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
        assert_eq!(look_at(loader), Image::Recordable);
    }

    #[test]
    fn foreign_machines_are_refused() {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x01\x01");
        let (_folder, path) = written(&head);
        assert_eq!(look_at(&path), Image::Refused(reasons::BITS_32));
        head[4] = 2;
        head[18] = 183;
        let (_folder, path) = written(&head);
        assert_eq!(look_at(&path), Image::Refused(reasons::OTHER_PROCESSOR));
        head[18] = 62;
        let (_folder, path) = written(&head);
        assert_eq!(look_at(&path), Image::Opaque(reasons::STATIC));
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_of_a_program_does_harm() {
        let whole = std::fs::read("/bin/sh").unwrap();
        for length in (0..whole.len().min(4096)).step_by(7) {
            let (_folder, path) = written(&whole[..length]);
            look_at(&path);
        }
        for bit in 0..64 * 8 {
            let mut damaged = whole[..whole.len().min(65536)].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (_folder, path) = written(&damaged);
            look_at(&path);
        }
        assert_eq!(look_at(Path::new("/bin/sh")), Image::Recordable);
    }
}
