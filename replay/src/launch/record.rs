//! One recording from the first to the last step.
//!
//! In: a command and what is to be recorded. Out: the command's exit code and the tapes that are
//! finished. Whatever goes wrong before the command has started is an error; afterwards the
//! command's own exit code counts.

use super::command::{self, NotFound};
use super::endings::Endings;
use super::image::{self, Image};
use super::library::{self, Library};
use super::memory_limits::TooLow;
use super::signals::{self, Inherited, Signals};
use super::spawn::{Prepared, Start};
use super::{detach, executed, folding, glibc, last_words, output, watch};
use anyhow::Context;
use heaptape::report::shell::shell_word;
use heaptape_drain::process_info::Stat;
use heaptape_drain::{DrainError, Drainer, Names, Outcome, Settings, SizeLimit};
use heaptape_format::text;
use heaptape_session::layout::options;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What to record, and where to.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The command and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
    /// The tape; None: named after the command.
    pub(crate) output: Option<PathBuf>,
    /// An existing tape is replaced.
    pub(crate) force: bool,
    /// For the recorders.
    pub(crate) settings: Settings,
    /// Wait for the whole tree.
    pub(crate) wait: bool,
    /// Bytes that no tape may exceed.
    pub(crate) size_limit: Option<u64>,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The command's exit code, 128 + N when signal N killed it.
    pub(crate) exit_code: u8,
    /// The tapes that are finished.
    pub(crate) outcome: Outcome,
    /// Processes of the tree live on; a detached drainer finishes their tapes.
    pub(crate) goes_on: bool,
    /// A signal ended the waiting for them: the detached drainer sees to the symbols, too.
    pub(crate) is_interrupted: bool,
    /// Holds signals back that would end us, until there is something to say.
    pub(crate) endings: Endings,
    /// Why nothing was recorded at all.
    pub(crate) bare: Option<Bare>,
}

/// Why the command ran without a recording.
#[derive(Debug)]
pub(crate) enum Bare {
    /// `HEAPTAPE=0` says so.
    TurnedOff,
    /// There could be no session, or no tape.
    NoSession(DrainError),
    /// A limit of memory.
    TooLow(TooLow),
}

/// Why the command did not start.
#[derive(Debug)]
pub(crate) struct NotStarted {
    /// As a shell has it: 127, 126, or 125 for a failure of ours.
    pub(crate) exit_code: u8,
    /// For a person.
    pub(crate) error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for NotStarted {
    fn from(error: E) -> Self {
        Self {
            exit_code: 125,
            error: error.into(),
        }
    }
}

impl Recording {
    /// Runs the command and records it. `after` is done with the outcome of a detached drainer, in
    /// its process.
    pub(crate) fn run(self, after: impl FnOnce(&Outcome)) -> Result<Recorded, NotStarted> {
        let program = self.find()?;
        glibc::check()?;
        let image = match image::look_at(&program, self.arguments()) {
            Image::Opaque(reason) if self.settings.options & options::THROUGH_STATIC == 0 => {
                Image::Refused(reason)
            }
            image => image,
        };
        let folder = self.folder()?;
        let named = match &self.output {
            Some(output) => Some(output::check(&folder, output, self.force)?),
            None => None,
        };
        let shown = named.clone().unwrap_or_else(|| folder.clone());
        let (mut signals, inherited) = signals::catch().context("signals")?;
        let turned_off = std::env::var_os("HEAPTAPE").is_some_and(|value| value == "0");
        let drainer = if turned_off {
            // A session in which nobody records would only leave an empty tape.
            Err(Bare::TurnedOff)
        } else if let Some(limit) = inherited.memory().too_low() {
            Err(Bare::TooLow(limit))
        } else {
            Drainer::create(&self.settings, &shown).map_err(Bare::NoSession)
        };
        let mut drainer = match drainer {
            Ok(drainer) => drainer,
            Err(bare) => return self.run_bare(&program, &image, &inherited, signals, bare),
        };
        if let Some(bytes) = self.size_limit {
            let start = folding::start;
            drainer.set_limit(SizeLimit { bytes, start });
        }
        let started = self.start(&mut drainer, &program, &image, &inherited, named, &folder);
        // The library stays in use until here, also in a detached drainer.
        let (pid, _library) = match started {
            Ok(started) => started,
            Err(error) => {
                drainer.abandon();
                let NotStarted { exit_code, error } = error;
                return match error.downcast::<DrainError>() {
                    Ok(full @ DrainError::NoRoomForTape { .. }) => {
                        let bare = Bare::NoSession(full);
                        self.run_bare(&program, &image, &inherited, signals, bare)
                    }
                    Ok(other) => Err(NotStarted {
                        exit_code,
                        error: other.into(),
                    }),
                    Err(error) => Err(NotStarted { exit_code, error }),
                };
            }
        };
        let left = left_behind(&drainer.session_path());
        // SAFETY: the session is mapped as long as the drainer lives, and the next stage begins
        // before it ends.
        unsafe {
            last_words::wait_for_command(left.clone(), pid, &signals, drainer.session_state())
        };
        last_words::for_any_failure();
        let status = watch::until_command_ends(&mut drainer, &mut signals, pid);
        let exit_code = exit_code(status);
        last_words::are(left, exit_code);
        let endings = signals.release(&inherited);
        Ok(self.finish(drainer, endings, exit_code, after))
    }

    /// Runs the command in the place of this process, where it cannot be recorded. Returns when
    /// that failed.
    pub(crate) fn run_in_our_place(&self) -> NotStarted {
        match self.start_in_our_place() {
            Ok((program, error)) => not_started(&program, error),
            Err(error) => error,
        }
    }

    fn start_in_our_place(&self) -> Result<(PathBuf, io::Error), NotStarted> {
        let program = self.find()?;
        let image = image::look_at(&program, self.arguments());
        let environment: Vec<_> = std::env::vars_os().collect();
        let (program, arguments) = self.as_started(&program, &image);
        let start = Start::new(&program, &arguments, &environment)?;
        let error = start.in_our_place();
        Ok((program, error))
    }

    /// There is no session, or no tape: the command is what matters, so it runs all the same.
    fn run_bare(
        &self,
        program: &Path,
        image: &Image,
        inherited: &Inherited,
        mut signals: Signals,
        bare: Bare,
    ) -> Result<Recorded, NotStarted> {
        let environment: Vec<_> = std::env::vars_os().collect();
        let (program, arguments) = self.as_started(program, image);
        let start = Start::new(&program, &arguments, &environment)?;
        let prepared = start.prepare(inherited).map_err(cannot_fork)?;
        let pid = prepared.pid();
        self.go(prepared, &program)?;
        let status = watch::until_bare_command_ends(Some(&mut signals), pid);
        Ok(Recorded {
            exit_code: exit_code(status),
            outcome: Outcome::default(),
            goes_on: false,
            is_interrupted: false,
            endings: signals.release(inherited),
            bare: Some(bare),
        })
    }

    /// The current folder; where it is gone, that of a tape with an absolute path will do.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let gone = match std::env::current_dir() {
            Ok(folder) => return Ok(folder),
            Err(error) => error,
        };
        let absolute = self.output.as_deref().filter(|path| path.is_absolute());
        absolute
            .and_then(Path::parent)
            .map(Path::to_owned)
            .ok_or(gone)
            .context("the current folder, where the tape would go; name another one with -o")
    }

    /// What stands behind the command's name.
    fn arguments(&self) -> &[OsString] {
        self.command.get(1..).unwrap_or_default()
    }

    fn find(&self) -> Result<PathBuf, NotStarted> {
        let program = self.command.first().map_or(OsStr::new(""), |word| word);
        command::find(program).map_err(|error| {
            let name = shell_word(&program.to_string_lossy());
            match error {
                NotFound::Missing => NotStarted {
                    exit_code: 127,
                    error: anyhow::anyhow!("{name}: command not found"),
                },
                NotFound::NotExecutable(reason) => NotStarted {
                    exit_code: 126,
                    error: anyhow::anyhow!("{name}: {reason}"),
                },
            }
        })
    }

    fn start(
        &self,
        drainer: &mut Drainer,
        program: &Path,
        image: &Image,
        inherited: &Inherited,
        named: Option<PathBuf>,
        folder: &Path,
    ) -> Result<(u32, Option<Library>), NotStarted> {
        let passes_on = self.settings.options & options::THROUGH_STATIC != 0;
        let library = match image {
            Image::Refused(_) => None,
            Image::Linked if !passes_on => None,
            _ => Some(library::locate()?),
        };
        let session = drainer.session_path();
        let (program, arguments) = self.as_started(program, image);
        let path = library
            .as_ref()
            .map(|library| library.path_for(&program, self.arguments()));
        let is_told = !matches!(image, Image::Refused(_));
        let environment = environment(path.as_deref(), is_told.then_some(&*session));
        let start = Start::new(&program, &arguments, &environment)?;
        let prepared = start.prepare(inherited).map_err(cannot_fork)?;
        let pid = prepared.pid();
        let command = self.command.first().map_or(OsStr::new(""), |word| word);
        if let Some(path) = named.as_deref().filter(|_| self.force)
            && let Err(error) = output::remove_old(path)
        {
            prepared.cancel();
            return Err(error);
        }
        let names = match named {
            Some(path) => Names::new(&path),
            None => Names::default_for(folder, command, pid),
        }
        .with_file_bytes_max(inherited.file_bytes_max());
        if let Err(error) = drainer.create_tape(names) {
            prepared.cancel();
            return Err(error.into());
        }
        let texts = self
            .command
            .iter()
            .map(|word| text::of_bytes(word.as_bytes()));
        let start_time = Stat::of(pid).map_or(0, |stat| stat.start_time);
        drainer.set_root(pid, start_time, texts.collect());
        if let Image::Refused(reason) | Image::Opaque(reason) = image {
            let name = text::of_bytes(command.as_bytes());
            drainer.root_not_recorded(name, (*reason).to_owned());
        }
        self.go(prepared, &program)?;
        Ok((pid, library))
    }

    fn go(&self, prepared: Prepared, program: &Path) -> Result<(), NotStarted> {
        prepared.go().map_err(|error| not_started(program, error))
    }

    /// A text without an interpreter is the shell's, as it is when a shell starts it.
    fn as_started(&self, program: &Path, image: &Image) -> (PathBuf, Vec<OsString>) {
        if *image != Image::Text {
            return (program.to_owned(), self.command.clone());
        }
        let mut arguments = vec![OsString::from("sh"), program.as_os_str().to_owned()];
        arguments.extend(self.command.iter().skip(1).cloned());
        (PathBuf::from("/bin/sh"), arguments)
    }

    /// The command has ended with `exit_code`: ends the recording, or leaves it to a detached
    /// drainer, also when a signal ends the waiting for the tree.
    fn finish(
        &self,
        mut drainer: Drainer,
        endings: Endings,
        exit_code: u8,
        after: impl FnOnce(&Outcome),
    ) -> Recorded {
        let mut recorded = Recorded {
            exit_code,
            outcome: Outcome::default(),
            goes_on: false,
            is_interrupted: false,
            endings,
            bare: None,
        };
        let mut goes_on = watch::has_descendants(&mut drainer);
        if goes_on && self.wait {
            let signal = watch::until_tree_is_gone_or_signal(&mut drainer, &recorded.endings);
            goes_on = signal.is_some();
            if let Some(signal) = signal {
                recorded.is_interrupted = true;
                recorded.exit_code = 128u8.wrapping_add(signal as u8);
            }
        }
        let launcher = std::process::id();
        if goes_on {
            drainer.stop_folds();
        }
        // Without a process for it the tapes end here, and say so.
        let forked = goes_on.then(detach::fork).and_then(Result::ok);
        match forked {
            Some(true) => {
                // Nobody is there to be told.
                last_words::are("", 0);
                drop(recorded.endings);
                let without_symbols = if recorded.is_interrupted {
                    drainer.outcome().tapes.clone()
                } else {
                    Vec::new()
                };
                drainer.take_over(launcher);
                let mut outcome = watch::until_tree_is_gone(drainer);
                outcome.tapes.extend(without_symbols);
                after(&outcome);
                std::process::exit(0);
            }
            Some(false) => {
                recorded.outcome = drainer.leave();
                recorded.goes_on = true;
            }
            None => recorded.outcome = drainer.finish(),
        }
        recorded
    }
}

/// What is said when the recording ended before the command did, or before its tapes were done.
fn left_behind(session: &Path) -> String {
    format!(
        "the recording is not finished; heaptape recover {} writes what is left of it",
        session.display()
    )
}

/// The kernel would not start `program`.
fn not_started(program: &Path, error: io::Error) -> NotStarted {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let interpreter = executed::interpreter(program).filter(|_| missing);
    let place = match interpreter {
        Some(interpreter) => {
            let (script, name) = (program.display(), interpreter.display());
            format!("{script}: bad interpreter {name}")
        }
        None => program.display().to_string(),
    };
    NotStarted {
        exit_code: if missing { 127 } else { 126 },
        error: anyhow::Error::from(error).context(place),
    }
}

/// There can be no process for the command.
fn cannot_fork(error: io::Error) -> anyhow::Error {
    let words = match error.raw_os_error() {
        Some(libc::EAGAIN) => "cannot fork; raise the limit of processes (ulimit -u)",
        _ => "cannot fork",
    };
    anyhow::Error::from(error).context(words)
}

/// Our environment, and in it what a recorder must know.
fn environment(library: Option<&Path>, session: Option<&Path>) -> Vec<(OsString, OsString)> {
    let ours = [
        "HEAPTAPE_SESSION",
        "HEAPTAPE_PARENT",
        "HEAPTAPE_OUT",
        "LD_PRELOAD",
    ];
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !ours.iter().any(|ours| name == ours))
        .collect();
    let before = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let preload = preload(library, &before);
    if !preload.is_empty() {
        environment.push(("LD_PRELOAD".into(), preload));
    }
    if let Some(session) = session {
        environment.push(("HEAPTAPE_SESSION".into(), session.as_os_str().to_owned()));
    }
    environment
}

/// Our library first, then what was there, without another copy of ours.
fn preload(library: Option<&Path>, before: &OsStr) -> OsString {
    let mut all = library.map_or(OsString::new(), |path| path.as_os_str().to_owned());
    let words = before
        .as_bytes()
        .split(|&byte| byte == b':' || byte == b' ');
    for word in words.filter(|word| !word.is_empty()) {
        let name = word.rsplit(|&byte| byte == b'/').next().unwrap_or(word);
        if name.starts_with(b"libheaptape") {
            continue;
        }
        if !all.is_empty() {
            all.push(":");
        }
        all.push(OsStr::from_bytes(word));
    }
    all
}

/// As a shell has it.
pub(super) fn exit_code(status: i32) -> u8 {
    if libc::WIFSIGNALED(status) {
        128u8.wrapping_add(libc::WTERMSIG(status) as u8)
    } else {
        libc::WEXITSTATUS(status) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_library_comes_first_and_once() {
        let ours = Path::new("/x/libheaptape.so");
        let of = |library, before| preload(library, OsStr::new(before));
        assert_eq!(of(Some(ours), ""), "/x/libheaptape.so");
        assert_eq!(of(Some(ours), "a.so b.so"), "/x/libheaptape.so:a.so:b.so");
        let nested = "/cache/libheaptape-00.so:a.so";
        assert_eq!(of(Some(ours), nested), "/x/libheaptape.so:a.so");
        assert_eq!(of(None, nested), "a.so");
        assert_eq!(of(None, ""), "");
    }

    #[test]
    fn the_limit_of_processes_is_named() {
        let words = |number| cannot_fork(io::Error::from_raw_os_error(number)).to_string();
        assert!(words(libc::EAGAIN).contains("(ulimit -u)"));
        assert_eq!(words(libc::ENOMEM), "cannot fork");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(9), 137);
        assert_eq!(exit_code(libc::SIGSEGV | 0x80), 139);
    }
}
