//! The dynamic loader started as a command (`ld-linux-x86-64.so.2 ./app`): what it then loads.
//!
//! Arguments go in. Launcher and recorder both look at an image before it starts and must judge
//! alike: the program among the arguments is the one that takes our library, or is harmed by it.
//! Nothing here opens a file. The options are those of glibc's `elf/rtld.c`.

use core::ffi::CStr;

/// The file name of the dynamic loader that loads us.
pub const LOADER: &[u8] = b"ld-linux-x86-64.so.2";

/// Options with a value, which is the next argument.
const WITH_VALUE: [&[u8]; 6] = [
    b"--library-path",
    b"--inhibit-rpath",
    b"--audit",
    b"--argv0",
    b"--glibc-hwcaps-prepend",
    b"--glibc-hwcaps-mask",
];

/// What the loader does for its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// It loads and starts a program.
    Starts {
        /// The program's path. A name without a slash is searched for among libraries.
        program: &'a CStr,
        /// What it is told to load first.
        preloaded: &'a CStr,
    },
    /// It tells what it would load, or of itself, or what is wrong with its arguments: no program
    /// runs.
    Tells,
}

/// True when `path` names the dynamic loader.
#[must_use]
pub fn is_loader(path: &[u8]) -> bool {
    path.ends_with(LOADER) || path.ends_with(b"/ld.so")
}

/// What the loader does for `arguments`, of which its own name is no part.
#[must_use]
pub fn command<'a>(mut arguments: impl Iterator<Item = &'a CStr>) -> Command<'a> {
    let mut preloaded = c"";
    while let Some(argument) = arguments.next() {
        match argument.to_bytes() {
            b"--inhibit-cache" => {}
            b"--preload" => preloaded = arguments.next().unwrap_or_default(),
            word if WITH_VALUE.contains(&word) => {
                arguments.next();
            }
            word if word.starts_with(b"--") => return Command::Tells,
            _ => {
                return Command::Starts {
                    program: argument,
                    preloaded,
                };
            }
        }
    }
    Command::Tells
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn of(words: &str) -> (CString, CString) {
        let words = words.split(' ').map(|word| CString::new(word).unwrap());
        let words: Vec<_> = words.collect();
        match command(words.iter().map(CString::as_c_str)) {
            Command::Starts { program, preloaded } => (program.into(), preloaded.into()),
            Command::Tells => (c"".into(), c"".into()),
        }
    }

    fn starts(program: &str, preloaded: &str) -> (CString, CString) {
        let text = |text: &str| CString::new(text).unwrap();
        (text(program), text(preloaded))
    }

    #[test]
    fn the_program_is_found_behind_options() {
        assert_eq!(of("./app --list"), starts("./app", ""));
        assert_eq!(of("--argv0 --list ./app x"), starts("./app", ""));
        let many = "--inhibit-cache --library-path /a --preload b.so /app y";
        assert_eq!(of(many), starts("/app", "b.so"));
        assert_eq!(of("-x"), starts("-x", ""));
    }

    #[test]
    fn what_starts_nothing() {
        let words = [
            "--list ./app",
            "--inhibit-cache --verify ./app",
            "--help",
            "--version",
            "--list-tunables",
            "--unknown ./app",
            "--argv0",
            "--argv0 name",
            "--preload",
        ];
        for words in words {
            assert_eq!(of(words), starts("", ""), "{words}");
        }
        assert_eq!(command(core::iter::empty()), Command::Tells);
    }

    #[test]
    fn names_of_the_loader() {
        let yes = ["/lib64/ld-linux-x86-64.so.2", "/usr/bin/ld.so"];
        assert!(yes.iter().all(|path| is_loader(path.as_bytes())));
        let no = ["/bin/ld", "/lib/ld-linux.so.2", "/lib/ld-musl-x86_64.so.1"];
        assert!(!no.iter().any(|path| is_loader(path.as_bytes())));
    }
}
