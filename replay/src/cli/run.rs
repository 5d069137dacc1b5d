//! `heaptape run`: record a command and its process tree.

use super::args::{number, size};
use super::output::{Output, complain};
use super::symbols_of_run::{symbolize, symbolize_within};
use super::{Exit, Outcome, told, tree};
use crate::launch::record::{Bare, NotStarted, Recorded, Recording};
use crate::launch::{last_words, memory_limits, open_files, python_module};
use clap::{Args, ValueEnum};
use heaptape::OpenOptions;
use heaptape::report::shell::shell_word;
use heaptape::report::units::counted;
use heaptape::report::{Fuller, Style, summary_for_run};
use heaptape_drain::{LOST, NOT_STARTED, Outcome as Drained, Settings, TapeOutcome};
use heaptape_session::layout::options;
use heaptape_session::reasons;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The least that a tape may be limited to, in bytes.
const LIMIT_MIN: u64 = 1 << 20;

/// Record every allocation of a command and of the processes that it starts
///
/// Writes one tape for each process image that allocates; the name that is given with -o is that
/// of the command's own. Ends with the command's exit code (128+N when signal N killed it, or when
/// it interrupts us after the command has ended; 127: not found, 126: not executable, 125: heaptape
/// itself failed).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  heaptape run -o app.tape -- ./app --flag\n  \
                  heaptape run --quiet -- make -j4\n  \
                  heaptape run --free-stacks -o app.tape -- ./app"
)]
pub(super) struct Run {
    /// The tape [default: heaptape.COMMAND.PID.tape].
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// Replace a tape of that name [default: the tape gets the next free name, NAME.1.tape].
    #[arg(long)]
    force: bool,
    /// Record the command alone, not what it starts.
    #[arg(long)]
    no_follow: bool,
    /// Record what static programs start. Other programs that cannot be recorded (musl, 32-bit,
    /// with a sanitizer) complain or fail when a static one starts them so.
    #[arg(long)]
    through_static: bool,
    /// Keep at most this many frames of each stack (0: all).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    #[arg(value_parser = number(0..=u32::MAX, "write how many frames at most, or 0 for all"))]
    max_depth: u32,
    /// Leave allocations smaller than this out: bytes, or as 1KiB.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0",
        allow_hyphen_values = true)]
    min_size: u64,
    /// Which frames stacks have.
    #[arg(long, value_enum, default_value_t = Stacks::Both)]
    stacks: Stacks,
    /// Do not look into Python interpreters.
    #[arg(long)]
    no_python: bool,
    /// Put the module heaptape on PYTHONPATH: a script sets a mark with heaptape.mark("NAME").
    #[arg(long)]
    py_module: bool,
    /// Record when Python makes a new object of memory that it had kept (lists, tuples, floats, …):
    /// the memory is then the new object's, as for tracemalloc (Python 3.13 or later, or
    /// 3.9 while its tracemalloc traces).
    #[arg(long, conflicts_with = "no_python")]
    py_reuse: bool,
    /// Record the stacks of frees too.
    #[arg(long)]
    free_stacks: bool,
    /// Record mmap, munmap, mremap and sbrk too (as a domain of their own).
    #[arg(long)]
    mmap: bool,
    /// Keep each tape under this size: what happened first is forgotten, but for the blocks that it
    /// left alive.
    #[arg(long, value_name = "SIZE", value_parser = size_limit, allow_hyphen_values = true)]
    limit: Option<u64>,
    /// Drop events rather than let the command wait when it allocates faster than can be written.
    #[arg(long)]
    lossy: bool,
    /// Record nothing of a process until `heaptape resume PID`, nor of what it starts until then.
    #[arg(long)]
    start_paused: bool,
    /// Wait for everything that the command started, not only for the command.
    #[arg(long)]
    wait: bool,
    /// Leave the symbols to `heaptape symbolize`.
    #[arg(long)]
    no_symbolize: bool,
    /// Say nothing unless something goes wrong.
    #[arg(long)]
    quiet: bool,
    /// Print the summary at the end [default: on a terminal].
    #[arg(long, conflicts_with = "quiet")]
    report: bool,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Which frames stacks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stacks {
    /// Native frames, and those of Python where there are any.
    Both,
    /// Python frames where there are any, native ones elsewhere.
    Python,
    /// Native frames.
    Native,
}

/// What a tape may be limited to, in bytes.
fn size_limit(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    match bytes >= LIMIT_MIN {
        true => Ok(bytes),
        false => Err("a tape needs 1MiB at least".to_owned()),
    }
}

impl Run {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        if self.py_reuse && self.stacks == Stacks::Native {
            complain("--py-reuse needs the frames of Python; leave '--stacks native' out");
            return Ok(Exit::NOT_RUN);
        }
        if self.py_module
            && let Err(error) = python_module::offer()
        {
            complain(&told(&error));
            return Ok(Exit::NOT_RUN);
        }
        let symbolize = !self.no_symbolize;
        let size_limit = self.limit;
        let recording = Recording {
            settings: self.settings(),
            command: self.command.clone(),
            output: self.output.clone(),
            force: self.force,
            wait: self.wait,
            size_limit,
        };
        let detached = move |outcome: &Drained| {
            if symbolize {
                memory_limits::fit_threads();
                let paths: Vec<&Path> =
                    outcome.tapes.iter().filter_map(tape_to_symbolize).collect();
                // In the background: nobody is there to be told.
                symbolize_within(&paths, size_limit, |_, _| {}, |_, _| {});
            }
        };
        if let Some(limit) = open_files::too_few() {
            complain(&format!("nothing was recorded: {limit}"));
            let NotStarted { exit_code, error } = recording.run_in_our_place();
            complain(&told(&error));
            return Ok(Exit(exit_code));
        }
        match recording.run(detached) {
            Ok(recorded) => {
                let exit = Exit(recorded.exit_code);
                self.report(recorded, output);
                Ok(exit)
            }
            Err(NotStarted { exit_code, error }) => {
                complain(&told(&error));
                Ok(Exit(exit_code))
            }
        }
    }

    fn settings(&self) -> Settings {
        let chosen = [
            (self.free_stacks, options::FREE_STACKS),
            (self.mmap, options::MMAP),
            (self.lossy, options::LOSSY),
            (self.no_follow, options::NO_FOLLOW),
            (self.through_static, options::THROUGH_STATIC),
            (self.start_paused, options::START_PAUSED),
            (self.no_python, options::NO_PYTHON),
            (self.py_reuse, options::PYTHON_REUSES),
            (
                matches!(self.stacks, Stacks::Native),
                options::NO_PYTHON_STACKS,
            ),
            (
                matches!(self.stacks, Stacks::Python),
                options::ONLY_PYTHON_STACKS,
            ),
        ];
        Settings {
            options: chosen
                .iter()
                .filter(|(chosen, _)| *chosen)
                .fold(0, |all, (_, option)| all | option),
            depth_max: self.max_depth,
            size_min: self.min_size,
        }
    }

    /// Symbols, then the last lines.
    fn report(&self, recorded: Recorded, output: &Output) {
        let tapes = &recorded.outcome.tapes;
        // What needs little memory comes first.
        say_problems(&recorded, self.quiet);
        if !self.quiet {
            say_refused(&recorded);
        }
        let main = main_tape(&recorded.outcome);
        let paths: Vec<&Path> = match self.no_symbolize || recorded.is_interrupted {
            true => Vec::new(),
            false => tapes.iter().filter_map(tape_to_symbolize).collect(),
        };
        let words = match paths.first() {
            Some(first) => without_symbols(main.unwrap_or(first), &others(&recorded.outcome, main)),
            None => String::new(),
        };
        last_words::are(words, recorded.exit_code);
        last_words::for_interruptions();
        drop(recorded.endings);
        memory_limits::fit_threads();
        if !paths.is_empty() {
            symbolize(&paths, self.limit, self.quiet);
        }
        last_words::are("", recorded.exit_code);
        if recorded.is_interrupted {
            complain(
                "interrupted: processes of its tree live on; \
                 their tapes are finished in the background when they end",
            );
        }
        if self.quiet || recorded.is_interrupted {
            return;
        }
        if let Some(path) = main {
            let name = shell_word(&shown(path).display().to_string());
            let message = format!("recorded to {name}; for the summary: heaptape stats {name}");
            last_words::are(message, recorded.exit_code);
            self.say_recorded(path, output);
        }
        let others = others(&recorded.outcome, main);
        if !others.is_empty() {
            complain(&others);
        }
        if recorded.goes_on {
            complain("processes of its tree live on; their tapes are finished when they end");
        }
    }

    /// The summary of the tape at `path`, or where it is.
    fn say_recorded(&self, path: &Path, output: &Output) {
        let name = shown(path);
        if self.report || io::stderr().is_terminal() {
            match summary(name, &output.error_style) {
                Ok(text) => {
                    // Nobody listens: there is nobody to tell.
                    let _ = write!(io::stderr(), "heaptape: recorded\n{text}");
                }
                Err(error) => complain(&format!("{}: {}", name.display(), told(&error))),
            }
        } else {
            complain(&format!("recorded to {}", name.display()));
        }
    }
}

/// The summary of the tape at `path`. Where another of its tree has the most, it says so.
fn summary(path: &Path, style: &Style) -> anyhow::Result<String> {
    let options = OpenOptions::default();
    let recording = heaptape::Recording::open(path, &options)?;
    let largest = tree::largest_tape(&recording, &options);
    let fuller = largest.as_ref().map(|largest| Fuller {
        path: &largest.path,
        note: &largest.note,
    });
    Ok(summary_for_run(&recording, fuller, style)?)
}

/// What is said when there is no memory or no time for symbols; `others` as [`others`] has it.
fn without_symbols(main: &Path, others: &str) -> String {
    let name = shell_word(&shown(main).display().to_string());
    let (more, likewise) = match others {
        "" => (String::new(), ""),
        others => (format!(" {others}"), " (the others likewise)"),
    };
    format!(
        "recorded to {name}{more}, without symbols and summary; \
         later: heaptape symbolize {name}{likewise}, heaptape stats {name}"
    )
}

/// The tape that the last lines name: the command's own, or the largest where that holds nothing.
fn main_tape(outcome: &Drained) -> Option<&Path> {
    let root = outcome.root_tape();
    let main = match root {
        Some(tape) if tape.not_recorded.is_some() => largest(&outcome.tapes),
        _ => root,
    };
    main.and_then(path_of)
}

/// How many tapes there are beside `main`, in words; empty: none.
fn others(outcome: &Drained, main: Option<&Path>) -> String {
    let tapes = outcome.tapes.iter();
    let others = tapes
        .filter(|tape| tape.not_recorded.is_none() && path_of(tape).is_some())
        .count()
        .saturating_sub(usize::from(main.is_some()));
    match others {
        0 => String::new(),
        others => format!(
            "and {} of its process tree",
            counted(others as u64, "more tape")
        ),
    }
}

/// The tape with the most events.
fn largest(tapes: &[TapeOutcome]) -> Option<&TapeOutcome> {
    tapes
        .iter()
        .filter(|tape| tape_to_symbolize(tape).is_some())
        .max_by_key(|tape| tape.counts.events())
}

/// The path as the user would write it.
pub(super) fn shown(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|folder| path.strip_prefix(folder).ok())
        .unwrap_or(path)
}

/// The path of a tape that has events, and so needs symbols.
pub(super) fn tape_to_symbolize(tape: &TapeOutcome) -> Option<&Path> {
    path_of(tape).filter(|_| tape.counts.events() > 0)
}

/// The path of a tape that is still there.
fn path_of(tape: &TapeOutcome) -> Option<&Path> {
    let is_lost = tape.problem.as_deref() == Some(LOST);
    tape.path.as_deref().filter(|_| !is_lost)
}

/// What went wrong, `--quiet` or not.
fn say_problems(recorded: &Recorded, quiet: bool) {
    let outcome = &recorded.outcome;
    match &recorded.bare {
        Some(Bare::NoSession(error)) => complain(&format!("nothing was recorded: {error}")),
        Some(Bare::TooLow(limit)) => complain(&format!("nothing was recorded: {limit}")),
        Some(Bare::TurnedOff) if !quiet => complain("nothing was recorded: HEAPTAPE=0 is set"),
        _ => {}
    }
    for tape in &outcome.tapes {
        // With more to say, `say_refused` says it.
        if quiet && tape.not_recorded.as_deref() == Some(NOT_STARTED) {
            complain(&format!("the command was not recorded: {NOT_STARTED}"));
        }
        let name = tape.path.as_deref().map_or_else(
            || format!("process {}", tape.pid),
            |path| shown(path).display().to_string(),
        );
        if let Some(problem) = &tape.problem {
            let rest = match tape.path {
                _ if problem == LOST => "",
                Some(_) => "; the tape is valid up to that point",
                None => "; there is no tape",
            };
            complain(&format!("{name}: {problem}{rest}"));
        }
        if tape.counts.lost > 0 {
            let lost = tape.counts.lost;
            let were = if lost == 1 { "was" } else { "were" };
            complain(&format!("{name}: {} {were} lost", counted(lost, "event")));
        }
    }
    if outcome.refused_images > 0 {
        let images = counted(u64::from(outcome.refused_images), "process");
        complain(&format!(
            "{images} found no place in the session and ran unrecorded"
        ));
    }
}

/// The programs of the tree that ran as if bare, the command itself first.
fn say_refused(recorded: &Recorded) {
    let outcome = &recorded.outcome;
    let mut refused = outcome.not_recorded.clone();
    if let Some(root) = outcome.root_tape()
        && let Some(reason) = &root.not_recorded
    {
        let place = refused.iter().position(|(_, other)| other == reason);
        let command = place.map(|place| refused.remove(place).0);
        say_root_refused(&command.unwrap_or_default(), reason, root.path.as_deref());
    }
    refused.sort();
    refused.dedup();
    for (command, reason) in &refused {
        complain(&format!("{command}: not recorded: {reason}"));
    }
}

/// The command itself was not recorded: why, what to do, and that its tape holds nothing.
fn say_root_refused(command: &str, reason: &str, tape: Option<&Path>) {
    let mut line = format!("{command}: not recorded: {reason}");
    if let Some(remedy) = remedy(reason) {
        line.push_str("; ");
        line.push_str(remedy);
    }
    if let Some(tape) = tape {
        line.push_str(&format!(" ({} says only this)", shown(tape).display()));
    }
    complain(&line);
}

/// What to do about a program that cannot be recorded.
fn remedy(reason: &str) -> Option<&'static str> {
    Some(match reason {
        reasons::STATIC => {
            "to record it, link it dynamically or link heaptape_recorder; \
             to record what it starts, use --through-static"
        }
        reasons::OTHER_RECORDER => "to record it, build it with the one of this heaptape",
        reasons::MUSL | reasons::OTHER_LOADER => "to record it, build it for glibc",
        reasons::BITS_32 | reasons::OTHER_PROCESSOR => "to record it, build it for x86-64",
        reasons::SET_USER | reasons::SET_GROUP | reasons::CAPABILITIES => {
            "to record it, run a copy of it, which has no such rights"
        }
        reasons::ASAN
        | reasons::HWASAN
        | reasons::TSAN
        | reasons::MSAN
        | reasons::LSAN
        | reasons::SANITIZER => "to record it, build it without -fsanitize",
        reasons::TIGHT_LIMITS => "to record it, raise them",
        reasons::SANITIZER_PRELOADED => "to record it, take the sanitizer out of LD_PRELOAD",
        _ => return None,
    })
}
