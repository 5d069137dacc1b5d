//! The command line: one file a verb. Each reads its options, asks the library, hands the answer
//! to a report. Exit codes and messages are decided here and nowhere else.
//!
//! Exit codes: 0 done (also when the reader of our output went away), 1 a gate was not met or a
//! tape is damaged, 2 bad usage or unreadable input, with one line on standard error. `run` has the
//! command's own code; what goes wrong before that is 125, 126 or 127, bad usage included, so that
//! it is not taken for the command's.

mod args;
mod check;
mod churn;
mod control;
mod diff;
mod drain;
mod export;
mod fold;
mod fold_part;
mod index;
mod info;
mod leaks;
mod object;
mod open;
mod output;
mod recover;
mod repack;
mod rows;
mod run;
mod stats;
mod symbolize;
mod symbols_of_run;
mod timeline;
mod top;
mod tree;
mod verify;
mod window;

use crate::launch::library::is_system_error;
use crate::launch::{last_words, memory_limits, signals, started};
use args::Color;
use clap::{Parser, Subcommand};
use output::Output;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a verb leads to.
type Outcome = anyhow::Result<Exit>;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exit(u8);

impl Exit {
    const DONE: Self = Self(0);
    const GATE_NOT_MET: Self = Self(1);
    const BAD_INPUT: Self = Self(2);
    /// `run` failed before the command started.
    const NOT_RUN: Self = Self(125);
}

/// heaptape records every allocation of a program and answers questions about its heap at any
/// moment of the run.
#[derive(Debug, Parser)]
#[command(
    name = "heaptape",
    version,
    arg_required_else_help = true,
    after_help = "Moments (T): 12.5s, 900ms, 1500000000 (ns), 37%, start, end, peak, peak:2, \
                  rss-peak, mark:NAME, mark:NAME:K (the K-th such mark, from 1).\n\nExamples:\n  \
                  heaptape stats app.tape                     what the heap held at its peak\n  \
                  heaptape stats app.tape --at 90% --group-by function\n  \
                  heaptape diff app.tape@10s app.tape@20s     what changed in between"
)]
struct Cli {
    /// When to colour the output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Info(info::Info),
    Stats(stats::Stats),
    Diff(diff::Diff),
    Leaks(leaks::Leaks),
    Churn(churn::Churn),
    Timeline(timeline::Timeline),
    Object(object::Object),
    Top(top::Top),
    Export(export::Export),
    Check(check::Check),
    Index(index::Index),
    Symbolize(symbolize::Symbolize),
    Verify(verify::Verify),
    Recover(recover::Recover),
    Repack(repack::Repack),
    Fold(fold::Fold),
    FoldPart(fold_part::FoldPart),
    Mark(control::Mark),
    Pause(control::Pause),
    Resume(control::Resume),
    Drain(drain::Drain),
}

impl Verb {
    /// Memory may be used up, and a signal may come, at any time.
    fn prepare(&self) {
        let message = "nothing more could be done";
        if let Self::Run(_) | Self::Drain(_) = self {
            // They must have one thread as long as they may fork.
            return last_words::are(message, Exit::NOT_RUN.0);
        }
        last_words::are(message, Exit::BAD_INPUT.0);
        last_words::for_files();
        memory_limits::fit_threads();
        signals::ignore_size_limit();
    }

    fn run(self, output: &mut Output) -> Outcome {
        match self {
            Self::Run(verb) => verb.run(output),
            Self::Info(verb) => verb.run(output),
            Self::Stats(verb) => verb.run(output),
            Self::Diff(verb) => verb.run(output),
            Self::Leaks(verb) => verb.run(output),
            Self::Churn(verb) => verb.run(output),
            Self::Timeline(verb) => verb.run(output),
            Self::Object(verb) => verb.run(output),
            Self::Top(verb) => verb.run(output),
            Self::Export(verb) => verb.run(output),
            Self::Check(verb) => verb.run(output),
            Self::Index(verb) => verb.run(output),
            Self::Symbolize(verb) => verb.run(output),
            Self::Verify(verb) => verb.run(output),
            Self::Recover(verb) => verb.run(output),
            Self::Repack(verb) => verb.run(output),
            Self::Fold(verb) => verb.run(output),
            Self::FoldPart(verb) => verb.run(output),
            Self::Mark(verb) => verb.run(output),
            Self::Pause(verb) => verb.run(output),
            Self::Resume(verb) => verb.run(output),
            Self::Drain(verb) => verb.run(output),
        }
    }
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    if let Some(bytes) = started::too_small_stack() {
        return refuse_stack(bytes);
    }
    let Exit(code) = match Cli::try_parse() {
        Ok(cli) => {
            cli.verb.prepare();
            let mut output = Output::new(cli.color.into());
            let outcome = cli.verb.run(&mut output);
            finish(outcome, &mut output)
        }
        Err(error) => usage(&error),
    };
    ExitCode::from(code)
}

/// Reading the command line would overflow it. `run` has the exit code for a failure of ours.
fn refuse_stack(bytes: u64) -> ExitCode {
    let kib = bytes >> 10;
    output::complain(&format!(
        "the limit of the stack of {kib} KiB (ulimit -s) is too low for heaptape; raise it"
    ));
    let is_run = std::env::args_os().any(|word| word == "run");
    let Exit(code) = if is_run {
        Exit::NOT_RUN
    } else {
        Exit::BAD_INPUT
    };
    ExitCode::from(code)
}

fn finish(outcome: Outcome, output: &mut Output) -> Exit {
    let flushed = output.flush();
    let error = match (outcome, flushed) {
        (Ok(exit), Ok(())) => return exit,
        (Err(error), _) => error,
        (Ok(exit), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return exit,
        (Ok(_), Err(error)) => error.into(),
    };
    let is_broken_pipe = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if is_broken_pipe {
        return Exit::DONE;
    }
    output::complain(&told(&error));
    Exit::BAD_INPUT
}

/// The error and its causes, without those that the text before them states, and what to do where
/// that is always the same.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if is_system_error(error, libc::EMFILE) {
        text.push_str("; raise the limit of open files (ulimit -n)");
    }
    text
}

/// Help and version go to standard output; everything else that clap says becomes one line.
fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        let printed = output::check_open().and_then(|()| error.print().map_err(output::explained));
        let outcome = printed.map(|()| Exit::DONE).map_err(anyhow::Error::from);
        return finish(outcome, &mut Output::new(Color::Auto.into()));
    }
    use clap::error::ErrorKind;
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Exit::BAD_INPUT;
    }
    let mut parts = own_words(error).map_or_else(|| words_of(error), |words| vec![words]);
    let verb = std::env::args_os().skip(1).find(is_verb);
    let help = match &verb {
        Some(verb) => format!("heaptape {} --help tells more", verb.to_string_lossy()),
        None => "heaptape --help lists the verbs".to_owned(),
    };
    parts.push(help);
    output::complain(&parts.join("; "));
    match verb {
        Some(verb) if verb == "run" => Exit::NOT_RUN,
        _ => Exit::BAD_INPUT,
    }
}

/// What is wrong, where clap does not say it.
fn own_words(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidUtf8 => {
            let word = std::env::args_os().find(|word| word.to_str().is_none())?;
            Some(format!("{word:?} is not text (UTF-8)"))
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue)?.is_empty() => {
            let argument = text(ContextKind::InvalidArg)?;
            Some(format!("the value of '{argument}' is empty"))
        }
        _ => None,
    }
}

/// What clap says, a sentence each.
fn words_of(error: &clap::Error) -> Vec<String> {
    let text = error.render().to_string();
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let line = line.strip_prefix("tip: ").unwrap_or(line);
        match parts.last_mut() {
            // No argument of ours begins with a hyphen.
            _ if line.is_empty() || line.starts_with("to pass '") => {}
            // What a colon announces stands on the next line.
            Some(last) if last.ends_with(':') => {
                last.push(' ');
                last.push_str(line);
            }
            _ => parts.push(line.trim_end_matches('.').to_owned()),
        }
    }
    parts
}

/// True when the verb of this command line has the option `name`.
fn takes(name: &str) -> bool {
    use clap::CommandFactory;
    let command = Cli::command();
    let words = std::env::args_os().skip(1);
    let mut verbs = words.filter_map(|word| command.find_subcommand(word.to_str()?));
    let has_it = |verb: &clap::Command| verb.get_arguments().any(|option| option.get_id() == name);
    verbs.next().is_some_and(has_it)
}

fn is_verb(word: &OsString) -> bool {
    use clap::CommandFactory;
    let command = Cli::command();
    word.to_str()
        .is_some_and(|word| command.find_subcommand(word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        let verbs = Cli::command();
        for verb in verbs
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
        {
            let help = verb.clone().render_long_help().to_string();
            let example = format!("heaptape {} ", verb.get_name());
            let after = help.split("Example").nth(1).unwrap_or_default();
            assert!(
                after.contains(&example),
                "{} has no example",
                verb.get_name()
            );
        }
    }
}
