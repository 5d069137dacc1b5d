//! Can an executable file be recorded? A path goes in, the reason why not comes out,
//! and whether it brings an allocator of its own.
//!
//! The file is looked at before it is executed, because the dynamic loader would complain about our
//! library on the program's standard error where it does not fit. Raw system calls and a small
//! stack alone: this runs in children of `vfork`. What cannot be read or understood is left as it
//! is: then the kernel or the loader has the last word.

use super::image_file::{File, holds};
use super::image_tables::{
    DT_NEEDED, DT_STRSZ, DT_STRTAB, PT_DYNAMIC, PT_INTERP, ProgramHeaders, Segment,
    dynamic_entries, text_of, u16_at,
};
use core::ffi::CStr;
use heaptape_session::loader::{self, Command, LOADER};
use heaptape_session::sys::{self, syscall6};
use heaptape_session::{allocators, linked, reasons};

/// How many `#!` lines the kernel follows.
const SCRIPTS_MAX: u32 = 5;
/// Bytes that the kernel reads of a script's first line.
const FIRST_BYTES: usize = 256;
/// Bytes of the dynamic symbols' names that are searched at once.
const SEARCH_BYTES: usize = 2048;

/// True when nothing that looking at an image takes is forbidden here.
#[must_use]
pub fn may_look() -> bool {
    let calls = [
        libc::SYS_faccessat,
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_pread64,
        libc::SYS_close,
        libc::SYS_fgetxattr,
        libc::SYS_geteuid,
        libc::SYS_getegid,
    ];
    !calls.into_iter().any(sys::is_refused)
}

/// A file that the kernel would execute.
#[must_use]
pub fn is_executable(folder: i32, path: &CStr) -> bool {
    let arguments = [
        folder as usize,
        path.as_ptr() as usize,
        libc::X_OK as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the path is zero-terminated.
    if unsafe { syscall6(libc::SYS_faccessat, arguments) } != 0 {
        return false;
    }
    let file = File::open(folder, path);
    // What cannot be read may still be executed.
    file.and_then(|file| file.status())
        .is_none_or(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// What is known of an executable before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Why it cannot be recorded; `None`: it can, or it will not run at all.
    pub reason: Option<&'static str>,
    /// It is linked with an allocator that has entry points of its own.
    pub brings_allocator: bool,
    /// It is static, and linked with the recorder.
    pub records_itself: bool,
    /// It is the dynamic loader, which is asked to tell something: it would tell of us too.
    pub starts_nothing: bool,
}

/// Looks at the executable at `path` (relative to the descriptor `folder`). `arguments` are its
/// own, without its name: the dynamic loader is judged by the program that it is to start.
#[must_use]
pub fn judge<'a>(folder: i32, path: &CStr, arguments: impl Iterator<Item = &'a CStr>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.reason = reason_against(folder, path, arguments, &mut verdict);
    verdict
}

fn reason_against<'a>(
    folder: i32,
    path: &CStr,
    arguments: impl Iterator<Item = &'a CStr>,
    verdict: &mut Verdict,
) -> Option<&'static str> {
    let mut first = [0; FIRST_BYTES];
    let mut file = File::open(folder, path)?;
    let mut line = FirstLine::default();
    let mut is_loader = loader::is_loader(path.to_bytes());
    for scripts in 0..SCRIPTS_MAX {
        let start = file.read(&mut first, 0);
        if let Some(text) = start.strip_prefix(b"#!") {
            line = FirstLine::read(text)?;
            let interpreter = line.interpreter()?;
            is_loader = loader::is_loader(interpreter.to_bytes());
            file = File::open(libc::AT_FDCWD, interpreter)?;
        } else if start.starts_with(b"\x7fELF") {
            let reason = reason_against_machine(start)
                .or_else(|| reason_against_privileges(&file))
                .or_else(|| reason_against_elf(&file, start, is_loader, verdict));
            return match (reason, scripts) {
                (None, 0) if is_loader => reason_against_command(arguments, verdict),
                (None, _) if is_loader => reason_against_command(line.arguments(), verdict),
                _ => reason,
            };
        } else {
            // A script without a first line: a shell gets it, if anybody does.
            is_loader = false;
            file = File::open(libc::AT_FDCWD, c"/bin/sh")?;
        }
    }
    None
}

/// Looks at the program that the dynamic loader is to start for these arguments. The kernel does
/// not start it, and gives it no rights.
fn reason_against_command<'a>(
    arguments: impl Iterator<Item = &'a CStr>,
    verdict: &mut Verdict,
) -> Option<&'static str> {
    let Command::Starts { program, preloaded } = loader::command(arguments) else {
        verdict.starts_nothing = true;
        return None;
    };
    let preloaded = preloaded.to_bytes();
    verdict.brings_allocator |= allocators::names_allocator(preloaded);
    if let Some(reason) = reasons::of_preloaded(preloaded) {
        return Some(reason);
    }
    if !program.to_bytes().contains(&b'/') {
        // Searched for among libraries.
        return None;
    }
    let mut first = [0; FIRST_BYTES];
    let file = File::open(libc::AT_FDCWD, program)?;
    let start = file.read(&mut first, 0);
    start.strip_prefix(b"\x7fELF")?;
    reason_against_machine(start).or_else(|| reason_against_elf(&file, start, false, verdict))
}

/// A script's first line: the interpreter, and the one argument that the kernel makes of the rest.
/// Both end with zero, and an empty one is none.
#[derive(Default)]
struct FirstLine {
    interpreter: Word,
    argument: Word,
}

struct Word([u8; FIRST_BYTES]);

impl Default for Word {
    fn default() -> Self {
        Self([0; FIRST_BYTES])
    }
}

impl Word {
    fn set(&mut self, text: &[u8]) -> Option<()> {
        let place = self.0.get_mut(..=text.len())?;
        let (last, place) = place.split_last_mut()?;
        place.copy_from_slice(text);
        *last = 0;
        Some(())
    }

    fn get(&self) -> Option<&CStr> {
        let text = CStr::from_bytes_until_nul(&self.0).ok()?;
        (!text.is_empty()).then_some(text)
    }
}

impl FirstLine {
    /// Reads what follows `#!`.
    fn read(text: &[u8]) -> Option<Self> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let end = text.iter().position(|byte| matches!(byte, b'\n' | 0));
        let text = text.get(..end.unwrap_or(text.len()))?.trim_ascii();
        let (word, rest) = match text.iter().position(is_blank) {
            Some(at) => text.split_at_checked(at)?,
            None => (text, &[][..]),
        };
        let mut line = Self::default();
        line.interpreter.set(word)?;
        line.argument.set(rest.trim_ascii())?;
        Some(line)
    }

    fn interpreter(&self) -> Option<&CStr> {
        self.interpreter.get()
    }

    /// The interpreter's arguments before the script's path; that is no program.
    fn arguments(&self) -> impl Iterator<Item = &CStr> {
        self.argument.get().into_iter()
    }
}

fn reason_against_machine(start: &[u8]) -> Option<&'static str> {
    const CLASS_64: u8 = 2;
    const MACHINE_X86_64: u16 = 62;
    if *start.get(4)? != CLASS_64 {
        return Some(reasons::BITS_32);
    }
    (u16_at(start, 18)? != MACHINE_X86_64).then_some(reasons::OTHER_PROCESSOR)
}

fn reason_against_elf(
    file: &File,
    start: &[u8],
    is_loader: bool,
    verdict: &mut Verdict,
) -> Option<&'static str> {
    let headers = ProgramHeaders::of(file, start)?;
    let Some(interpreter) = headers.find(PT_INTERP) else {
        let reason = linked::reason_against(recorder_in(file, &headers));
        verdict.records_itself = reason.is_none();
        return reason.filter(|_| !is_loader);
    };
    let mut name = [0; FIRST_BYTES];
    let name = file.read(&mut name, interpreter.offset);
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if !name.ends_with(LOADER) {
        let is_musl = name.windows(7).any(|part| part == b"ld-musl");
        return Some(if is_musl {
            reasons::MUSL
        } else {
            reasons::OTHER_LOADER
        });
    }
    let dynamic = headers.find(PT_DYNAMIC)?;
    reason_against_libraries(file, &headers, &dynamic, verdict)
}

/// The version of the recorder that the image is linked with.
fn recorder_in(file: &File, headers: &ProgramHeaders<'_>) -> Option<u32> {
    let mut notes = headers.iter().filter(|part| part.kind == linked::PT_NOTE);
    notes.find_map(|part| {
        let read = |memory: &mut [u8], at: u64| {
            let offset = part.offset.checked_add(at);
            offset.map_or(0, |offset| file.read(memory, offset).len())
        };
        linked::version_in(part.bytes, part.alignment, read)
    })
}

/// The kernel gives such programs rights that their starter lacks; the loader then ignores what
/// the environment says.
fn reason_against_privileges(file: &File) -> Option<&'static str> {
    let status = file.status()?;
    // SAFETY: these calls have no arguments and cannot fail.
    let user = unsafe { syscall6(libc::SYS_geteuid, [0; 6]) } as u32;
    // SAFETY: as above.
    let group = unsafe { syscall6(libc::SYS_getegid, [0; 6]) } as u32;
    if status.st_mode & libc::S_ISUID != 0 && status.st_uid != user {
        return Some(reasons::SET_USER);
    }
    let is_set_group = status.st_mode & libc::S_ISGID != 0 && status.st_mode & libc::S_IXGRP != 0;
    if is_set_group && status.st_gid != group {
        return Some(reasons::SET_GROUP);
    }
    let mut value = [0u8; 64];
    let arguments = [
        file.0 as usize,
        c"security.capability".as_ptr() as usize,
        value.as_mut_ptr() as usize,
        value.len(),
        0,
        0,
    ];
    // SAFETY: a zero-terminated name and a buffer that is valid for its length.
    let length = unsafe { syscall6(libc::SYS_fgetxattr, arguments) };
    (length > 0 && user != 0).then_some(reasons::CAPABILITIES)
}

/// Sanitizers bring an allocator that must come first, and stop the program when it does not.
fn reason_against_libraries(
    file: &File,
    headers: &ProgramHeaders<'_>,
    dynamic: &Segment,
    verdict: &mut Verdict,
) -> Option<&'static str> {
    let value_of = |wanted: u64| {
        dynamic_entries(file, dynamic)
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, value)| value)
    };
    let texts = headers.offset_of(value_of(DT_STRTAB)?)?;
    for (tag, value) in dynamic_entries(file, dynamic) {
        let mut name = [0; 64];
        if tag != DT_NEEDED {
            continue;
        }
        let name = file.read(&mut name, texts.checked_add(value)?);
        let name = text_of(name);
        verdict.brings_allocator |= allocators::brings_allocator(name);
        if let Some(reason) = reasons::of_library(name) {
            return Some(reason);
        }
    }
    sanitizer_symbol(file, texts, value_of(DT_STRSZ)?)
}

/// A sanitizer's runtime that is linked into the program shows among its dynamic symbols.
fn sanitizer_symbol(file: &File, texts: u64, bytes: u64) -> Option<&'static str> {
    const OVERLAP: u64 = 32;
    let mut buffer = [0; SEARCH_BYTES];
    let mut best = reasons::SANITIZER_SYMBOLS.len();
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(SEARCH_BYTES as u64);
        let Some(place) = buffer.get_mut(..length as usize) else {
            break;
        };
        let found = file.read(place, texts.wrapping_add(at));
        let mut known = reasons::SANITIZER_SYMBOLS.iter().take(best);
        if let Some(better) = known.position(|(symbol, _)| holds(found, symbol)) {
            best = better;
        }
        at += length.saturating_sub(OVERLAP).max(1);
        if found.is_empty() || length < SEARCH_BYTES as u64 {
            break;
        }
    }
    let (_, reason) = reasons::SANITIZER_SYMBOLS.get(best)?;
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    /// A file with this content, removed at the end.
    struct Sample(PathBuf);

    impl Sample {
        fn new(name: &str, content: &[u8]) -> Self {
            let path =
                std::env::temp_dir().join(format!("heaptape-image-{}-{name}", std::process::id()));
            std::fs::write(&path, content).expect("a file");
            Self(path)
        }

        fn reason(&self) -> Option<&'static str> {
            reason(&self.0)
        }
    }

    impl Drop for Sample {
        fn drop(&mut self) {
            let _left = std::fs::remove_file(&self.0);
        }
    }

    fn reason(path: &Path) -> Option<&'static str> {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
        judge(libc::AT_FDCWD, &path, core::iter::empty()).reason
    }

    /// A program of this machine, changed at some places.
    fn program(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut bytes = std::fs::read("/bin/cat").expect("a program");
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        bytes
    }

    #[test]
    fn the_header_decides() {
        assert_eq!(reason(Path::new("/bin/cat")), None);
        assert_eq!(reason(Path::new("/nonexistent")), None);
        assert_eq!(reason(Path::new("/lib64/ld-linux-x86-64.so.2")), None);
        let is = |name, changes: &[(usize, u8)]| Sample::new(name, &program(changes)).reason();
        assert_eq!(is("same", &[]), None);
        assert_eq!(is("class", &[(4, 1)]), Some("32-bit executable"));
        assert_eq!(
            is("machine", &[(18, 183)]),
            Some("executable for another processor")
        );
        assert_eq!(
            is("headers", &[(56, 0), (57, 0)]),
            Some("static executable")
        );
    }

    #[test]
    fn a_scripts_interpreter_decides() {
        let is = |name, text: &str| Sample::new(name, text.as_bytes()).reason();
        let broken = Sample::new("broken", &program(&[(4, 1)]));
        let line = |format: &str| format.replace("IT", &broken.0.display().to_string());
        let expected = Some("32-bit executable");
        assert_eq!(is("plain", &line("#!IT\n")), expected);
        assert_eq!(is("blank", &line("#! \t IT -x y\nmore")), expected);
        assert_eq!(is("unended", &line("#!IT")), expected);
        assert_eq!(is("shell", "#!/bin/sh\n"), None);
        assert_eq!(is("none", "echo\n"), None);
        assert_eq!(is("empty", ""), None);
        assert_eq!(is("nothing", "#!\n"), None);
        assert_eq!(is("missing", "#!/nonexistent\n"), None);
        let long = format!("#!/{}", "x".repeat(4000));
        assert_eq!(is("long", &long), None);
        let inner = Sample::new("inner", line("#!IT\n").as_bytes());
        assert_eq!(is("outer", &format!("#!{}\n", inner.0.display())), expected);
        // A script of itself: the kernel gives up, and so do we.
        let own = std::env::temp_dir().join(format!("heaptape-image-{}-own", std::process::id()));
        assert_eq!(is("own", &format!("#!{}\n", own.display())), None);
    }

    #[test]
    fn the_loader_is_judged_by_its_program() {
        let broken = Sample::new("by-loader", &program(&[(4, 1)]));
        let broken = broken.0.to_str().expect("a path");
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let loader_for = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| CString::new(*word)).collect();
            let words = words.iter().flatten().map(CString::as_c_str);
            judge(libc::AT_FDCWD, c"/lib64/ld-linux-x86-64.so.2", words)
        };
        let verdict = loader_for(&["/bin/cat", broken]);
        assert_eq!(verdict, Verdict::default());
        let expected = Some("32-bit executable");
        assert_eq!(loader_for(&[broken]).reason, expected);
        assert_eq!(loader_for(&["--argv0", "x", broken]).reason, expected);
        let preloads = |library| loader_for(&["--preload", library, "/bin/cat"]);
        assert_eq!(
            preloads("/x/libasan.so").reason,
            Some(reasons::SANITIZER_PRELOADED)
        );
        assert!(preloads("/x/libjemalloc.so.2").brings_allocator);
        for nothing in [&["--list", "/bin/cat"][..], &["--version"], &[]] {
            assert!(loader_for(nothing).starts_nothing, "{nothing:?}");
        }
        let script = Sample::new(
            "by-loader-line",
            format!("#!{loader} {broken}\n").as_bytes(),
        );
        assert_eq!(script.reason(), expected);
    }

    #[test]
    fn rights_decide() {
        // SAFETY: geteuid has no arguments and cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let sample = Sample::new("rights", &program(&[]));
        let set = |mode| std::fs::set_permissions(&sample.0, std::fs::Permissions::from_mode(mode));
        set(0o4755).expect("own file");
        // Set-user-ID of the user who starts it changes nothing.
        assert_eq!(sample.reason(), None);
        if is_root {
            std::os::unix::fs::chown(&sample.0, Some(1), Some(1)).expect("root");
            set(0o4755).expect("root");
            assert_eq!(sample.reason(), Some("setuid executable"));
            set(0o2755).expect("root");
            assert_eq!(sample.reason(), Some("setgid executable"));
            set(0o755).expect("root");
            assert_eq!(sample.reason(), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn damaged_programs_get_an_answer(
            changes in proptest::collection::vec((0usize..1200, any::<u8>()), 1..40),
            length in 0usize..40_000,
        ) {
            let mut bytes = program(&changes);
            bytes.truncate(length);
            let sample = Sample::new("damaged", &bytes);
            // Any answer is right; none takes for ever, and nothing panics.
            let reason = sample.reason();
            prop_assert!(reason.is_none_or(|reason| reason.len() < 64));
        }
    }
}
