//! Can a program be recorded by a preloaded library?
//!
//! In: the path of an executable and its arguments. Out: how to start it. What cannot be recorded
//! must run exactly as if bare: a loader that is told of a library that it cannot load says so on
//! the target's standard error. Nothing here executes or maps the file; any bytes are read safely.

use super::executed::{self, Executed, Program};
use heaptape_session::loader::LOADER;
use heaptape_session::{allocators, linked, reasons};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Longer tables are not read: real ones are far shorter.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// What is known of a program before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// It can be recorded.
    Recordable,
    /// It is static, and linked with the recorder: it needs no library.
    Linked,
    /// It cannot, but programs that it starts may: it can pass the environment on.
    Opaque(&'static str),
    /// It cannot, and must not even be told.
    Refused(&'static str),
    /// Neither a program nor a script with an interpreter: a shell runs it.
    Text,
}

/// Looks at what runs when the file at `path` is executed with `arguments`, the program's name not
/// among them.
pub(crate) fn look_at(path: &Path, arguments: &[OsString]) -> Image {
    let program = match executed::follow(path, arguments) {
        Executed::Program(program) => program,
        // Whether it is recorded will show.
        Executed::Unreadable(path) => {
            return against_rights(&path).map_or(Image::Recordable, Image::Refused);
        }
        Executed::Text => return Image::Text,
        Executed::Listing => return Image::Refused(reasons::LISTING),
        Executed::ByLoader | Executed::Nothing => return Image::Recordable,
    };
    let image = elf_image(&program).unwrap_or(Image::Recordable);
    let preloaded = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let lists = [
        preloaded.as_bytes(),
        program.by_loader.as_deref().unwrap_or_default(),
    ];
    let preloaded = lists.into_iter().find_map(reasons::of_preloaded);
    match (image, preloaded) {
        (Image::Recordable, Some(reason)) => Image::Refused(reason),
        (image, _) => image,
    }
}

/// True when the program that runs then is linked with an allocator that has entry points of its
/// own, or the dynamic loader is told to load one first. What cannot be read is not.
pub(crate) fn brings_allocator(path: &Path, arguments: &[OsString]) -> bool {
    let Executed::Program(program) = executed::follow(path, arguments) else {
        return false;
    };
    let preloaded = program.by_loader.as_deref().unwrap_or_default();
    allocators::names_allocator(preloaded) || needs_allocator(&program).unwrap_or(false)
}

fn needs_allocator(program: &Program) -> Option<bool> {
    let elf = Elf {
        file: &program.file,
    };
    let segments = elf.segments(&program.head)?;
    let dynamic = segments.iter().find(|part| part.kind == PT_DYNAMIC)?;
    let (needed, strings) = elf.dynamic_strings(dynamic, &segments)?;
    let mut names = needed.iter().filter_map(|&name| name_at(&strings, name));
    Some(names.any(allocators::brings_allocator))
}

/// The text at an offset of a table of strings.
fn name_at(strings: &[u8], offset: u64) -> Option<&[u8]> {
    let text = strings.get(usize::try_from(offset).ok()?..)?;
    text.split(|&byte| byte == 0).next()
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
    alignment: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const MACHINE_X86_64: u16 = 62;

/// None: the file's tables cannot be read, the loader will say more.
fn elf_image(program: &Program) -> Option<Image> {
    let head = &program.head;
    if *head.get(4)? != 2 {
        return Some(Image::Refused(reasons::BITS_32));
    }
    if *head.get(5)? != 1 || number::<2>(head, 18)? as u16 != MACHINE_X86_64 {
        return Some(Image::Refused(reasons::OTHER_PROCESSOR));
    }
    let is_by_kernel = program.by_loader.is_none();
    if let Some(reason) = against_rights(&program.path).filter(|_| is_by_kernel) {
        return Some(Image::Refused(reason));
    }
    let elf = Elf {
        file: &program.file,
    };
    let segments = elf.segments(head)?;
    let of_kind = |kind| segments.iter().find(move |segment| segment.kind == kind);
    let Some(interpreter) = of_kind(PT_INTERP) else {
        let reason = linked::reason_against(elf.recorder(&segments));
        return Some(reason.map_or(Image::Linked, Image::Opaque));
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
    let by_library = needed
        .iter()
        .find_map(|&name| reasons::of_library(name_at(&strings, name)?));
    let found = by_library.or_else(|| {
        let mut known = reasons::SANITIZER_SYMBOLS.iter();
        let (_, reason) = known.find(|(symbol, _)| contains(&strings, symbol))?;
        Some(*reason)
    });
    Some(found.map_or(Image::Recordable, Image::Refused))
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
                    alignment: number::<8>(entry, 48)?,
                })
            })
            .collect()
    }

    /// The version of the recorder that the image is linked with.
    fn recorder(&self, segments: &[Segment]) -> Option<u32> {
        let mut notes = segments.iter().filter(|part| part.kind == linked::PT_NOTE);
        notes.find_map(|part| {
            let read = |memory: &mut [u8], at: u64| {
                let offset = part.offset.checked_add(at);
                let count = offset.map(|offset| self.file.read_at(memory, offset));
                count.and_then(Result::ok).unwrap_or(0)
            };
            linked::version_in(part.bytes, part.alignment, read)
        })
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
    use std::path::PathBuf;

    fn written(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn ordinary_programs_and_scripts_can_be_recorded() {
        assert_eq!(look_at(Path::new("/bin/sh"), &[]), Image::Recordable);
        let (_folder, script) = written(b"#! /bin/sh -e\necho\n");
        assert_eq!(look_at(&script, &[]), Image::Recordable);
        let (_folder, text) = written(b"echo no interpreter\n");
        assert_eq!(look_at(&text, &[]), Image::Text);
        let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
        assert_eq!(look_at(loader, &["/bin/sh".into()]), Image::Recordable);
        let listing = Image::Refused(reasons::LISTING);
        assert_eq!(look_at(loader, &[]), listing);
    }

    #[test]
    fn foreign_machines_are_refused() {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x01\x01");
        let (_folder, path) = written(&head);
        assert_eq!(look_at(&path, &[]), Image::Refused(reasons::BITS_32));
        head[4] = 2;
        head[18] = 183;
        let (_folder, path) = written(&head);
        assert_eq!(
            look_at(&path, &[]),
            Image::Refused(reasons::OTHER_PROCESSOR)
        );
        head[18] = 62;
        let (_folder, path) = written(&head);
        assert_eq!(look_at(&path, &[]), Image::Opaque(reasons::STATIC));
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_of_a_program_does_harm() {
        let whole = std::fs::read("/bin/sh").unwrap();
        for length in (0..whole.len().min(4096)).step_by(7) {
            let (_folder, path) = written(&whole[..length]);
            look_at(&path, &[]);
        }
        for bit in 0..64 * 8 {
            let mut damaged = whole[..whole.len().min(65536)].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (_folder, path) = written(&damaged);
            look_at(&path, &[]);
        }
        assert_eq!(look_at(Path::new("/bin/sh"), &[]), Image::Recordable);
    }
}
