//! The symbols of the tapes that a recording has made.

use super::output;
use super::run::shown;
use heaptape::fold::fit;
use heaptape::report::units::counted;
use heaptape::symbols::{EmbedError, Symbolized, symbolize_tapes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::Path;

/// Puts symbols into the tapes; a progress bar when that is seen. A debug file that is not used is
/// told once, unless `quiet`. No tape becomes longer than `size_limit` bytes: one that would is
/// folded.
pub(super) fn symbolize(paths: &[&Path], size_limit: Option<u64>, quiet: bool) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if quiet || !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "heaptape: symbols {bar:30} {pos}/{len} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if let [path] = paths
        && let Some(name) = path.file_name()
    {
        bar.set_message(name.to_string_lossy().into_owned());
    } else {
        bar.set_message(counted(paths.len() as u64, "tape"));
    }
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let mut notes = BTreeSet::new();
    symbolize_within(paths, size_limit, progress, |path, result| match result {
        Ok(done) => notes.extend(done.debug_file_notes),
        Err(error) => {
            output::note(&format!("no symbols in {}: {error}", shown(path).display()));
        }
    });
    bar.finish_and_clear();
    if !quiet {
        let notes: Vec<String> = notes.into_iter().collect();
        output::notes(&notes);
    }
}

/// As [`symbolize_tapes`]; where there is no room for the symbols, room is made.
pub(super) fn symbolize_within(
    paths: &[&Path],
    size_limit: Option<u64>,
    progress: impl FnMut(u64, u64) + Send,
    mut finished: impl FnMut(&Path, Result<Symbolized, EmbedError>),
) {
    let mut too_long = Vec::new();
    symbolize_tapes(paths, size_limit, progress, |path, result| match result {
        Err(EmbedError::NoRoom { bytes, .. }) => too_long.push((path.to_owned(), bytes)),
        other => finished(path, other),
    });
    for (path, bytes) in too_long {
        let room = size_limit.unwrap_or(u64::MAX).saturating_sub(bytes);
        // Where that fails there is no room still, and this is told.
        let _ = fit(&path, room);
        symbolize_tapes(&[&path], size_limit, |_, _| {}, &mut finished);
    }
}
