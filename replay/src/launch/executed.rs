//! Which program runs when a file is executed: through the first lines of scripts, and through the
//! dynamic loader to the program among its arguments.
//!
//! In: a path and arguments. Out: an open ELF file, or why there is none. Nothing here executes or
//! maps a file.

use heaptape_session::loader::{self, Command};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Scripts whose interpreter is a script, and so on: the kernel's limit is about this.
const INTERPRETERS_MAX: usize = 5;
/// What is read of a file: as much as the kernel reads of a script's first line.
const HEAD_BYTES: usize = 256;

/// What runs.
#[derive(Debug)]
pub(crate) enum Executed {
    /// This program.
    Program(Program),
    /// Whatever is in this file, which cannot be read and may be executable all the same.
    Unreadable(PathBuf),
    /// Neither a program nor a script with an interpreter: a shell runs it.
    Text,
    /// The dynamic loader, which starts no program.
    Listing,
    /// The dynamic loader, and a program that it alone finds, or cannot start.
    ByLoader,
    /// Scripts without end: the kernel refuses.
    Nothing,
}

/// An open ELF file.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Its first bytes, at most [`HEAD_BYTES`].
    pub(crate) head: Vec<u8>,
    /// The dynamic loader started it as a command and was told to load these libraries first;
    /// None: the kernel starts it.
    pub(crate) by_loader: Option<Vec<u8>>,
}

impl Program {
    fn open(path: PathBuf) -> Result<Self, PathBuf> {
        // A pipe is no program, and waits for nobody.
        let mut options = OpenOptions::new();
        let Ok(file) = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
        else {
            return Err(path);
        };
        let mut head = vec![0; HEAD_BYTES];
        let count = file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(count);
        Ok(Self {
            path,
            file,
            head,
            by_loader: None,
        })
    }

    fn is_elf(&self) -> bool {
        self.head.starts_with(b"\x7fELF")
    }
}

/// What runs when the file at `path` is executed with `arguments`, the program's name not among
/// them.
pub(crate) fn follow(path: &Path, arguments: &[OsString]) -> Executed {
    let mut path = path.to_owned();
    let mut arguments = arguments.to_vec();
    for _ in 0..INTERPRETERS_MAX {
        let program = match Program::open(path) {
            Ok(program) => program,
            Err(path) => return Executed::Unreadable(path),
        };
        if program.is_elf() {
            return if loader::is_loader(program.path.as_os_str().as_bytes()) {
                started_by_loader(&arguments)
            } else {
                Executed::Program(program)
            };
        }
        let Some((interpreter, argument)) = first_line(&program.head) else {
            return Executed::Text;
        };
        // Behind it comes the script's path, which is no program.
        arguments = argument.into_iter().collect();
        path = interpreter;
    }
    Executed::Nothing
}

fn started_by_loader(arguments: &[OsString]) -> Executed {
    let words = arguments
        .iter()
        .map_while(|word| CString::new(word.as_bytes()).ok());
    let words: Vec<CString> = words.collect();
    match loader::command(words.iter().map(CString::as_c_str)) {
        Command::Tells => Executed::Listing,
        Command::Starts { program, preloaded } => program_of_loader(program, preloaded),
    }
}

fn program_of_loader(program: &CStr, preloaded: &CStr) -> Executed {
    let program = program.to_bytes();
    if !program.contains(&b'/') {
        return Executed::ByLoader;
    }
    match Program::open(PathBuf::from(OsStr::from_bytes(program))) {
        Ok(program) if program.is_elf() => Executed::Program(Program {
            by_loader: Some(preloaded.to_bytes().to_vec()),
            ..program
        }),
        _ => Executed::ByLoader,
    }
}

/// The interpreter that the script at `path` names.
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    let program = Program::open(path.to_owned()).ok()?;
    first_line(&program.head).map(|(interpreter, _)| interpreter)
}

/// The interpreter, and the one argument that the kernel makes of the rest of the line.
fn first_line(head: &[u8]) -> Option<(PathBuf, Option<OsString>)> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?
        .trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace);
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    let owned = |text: &[u8]| OsStr::from_bytes(text).to_owned();
    let rest = rest.trim_ascii();
    (!word.is_empty()).then(|| {
        let argument = (!rest.is_empty()).then(|| owned(rest));
        (PathBuf::from(owned(word)), argument)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

    fn followed(path: &Path, arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        match follow(path, &arguments) {
            Executed::Program(Program {
                path, by_loader, ..
            }) => format!("{} {by_loader:?}", path.display()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_loader_leads_to_its_program() {
        let of = |arguments| followed(Path::new(LOADER), arguments);
        assert_eq!(of(&["/bin/cat", "--list"]), "/bin/cat Some([])");
        assert_eq!(of(&["--argv0", "x", "/bin/cat"]), "/bin/cat Some([])");
        assert_eq!(of(&["--preload", "a", "/bin/cat"]), "/bin/cat Some([97])");
        assert_eq!(of(&["--list", "/bin/cat"]), "Listing");
        assert_eq!(of(&[]), "Listing");
        assert_eq!(of(&["cat"]), "ByLoader");
        assert_eq!(of(&["/no/such/file"]), "ByLoader");
        assert_eq!(of(&["/etc/passwd"]), "ByLoader");
    }

    #[test]
    fn scripts_lead_to_their_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        let of = |line: &str| {
            std::fs::write(&path, line).unwrap();
            followed(&path, &["/bin/ls"])
        };
        assert_eq!(of("#! /bin/cat -e\nx"), "/bin/cat None");
        assert_eq!(of("#!/bin/cat"), "/bin/cat None");
        assert_eq!(of(&format!("#!{LOADER} /bin/cat \n")), "/bin/cat Some([])");
        assert_eq!(of(&format!("#!{LOADER} --list\n")), "Listing");
        assert_eq!(of(&format!("#!{LOADER}\n")), "Listing");
        assert_eq!(of("echo"), "Text");
        assert_eq!(of("#!\n"), "Text");
        assert_eq!(of("#!/no/such\n"), "Unreadable(\"/no/such\")");
        assert_eq!(of(&format!("#!{}\n", path.display())), "Nothing");
    }
}
