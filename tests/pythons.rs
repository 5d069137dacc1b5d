//! The interpreters that tests ask: also other packages' tests include this file.

use std::process::Command;

/// What `HEAPTAPE_PYTHONS` names (paths or names, with a colon between them), else `python3`. Says
/// which of them are not here.
#[must_use]
pub fn pythons() -> Vec<String> {
    let named = std::env::var("HEAPTAPE_PYTHONS").unwrap_or_default();
    let named = if named.is_empty() { "python3" } else { &named };
    let is_there = |python: &&str| {
        let is_there = Command::new(python).arg("--version").output().is_ok();
        if !is_there {
            eprintln!("SKIPPED: {python} is missing (.ci/packages python3 installs it)");
        }
        is_there
    };
    named.split(':').filter(is_there).map(Into::into).collect()
}
