//! Rules of the house that no compiler checks: sizes of files, what each opens with, words and
//! calls that are banned, links that lead somewhere, packages that never meet.

use heaptape_tests::repository;
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file.
const LINES_MAX: usize = 500;
/// How a test that takes minutes is kept for `.ci/long`; in two parts, so that it is not one.
const LONG: [&str; 2] = ["#[ign", "ore = \"takes minutes: .ci/long runs it\"]"];
/// The most characters of a line of Rust.
const WIDTH_MAX: usize = 100;

/// A text file of the repository.
struct Source {
    /// From the repository's root.
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| extensions.contains(&e))
    }

    fn is_rust(&self) -> bool {
        self.has_extension(&["rs"])
    }

    /// Rust that ends up in a product: no tests, no benchmarks, no examples.
    fn is_product(&self) -> bool {
        let rooms = ["recorder/", "replay/", "format-spec/"];
        let inside = rooms.iter().any(|room| self.path.starts_with(room));
        let is_test = self.path.contains("/tests/") || self.path.ends_with("/tests.rs");
        inside && self.is_rust() && self.path.contains("/src/") && !is_test
    }

    /// Lines with their numbers, without comments and without the test modules at the end.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.test_module_line();
        let lines = self.text.lines().enumerate().take(end);
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
    }

    fn test_module_line(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_start = |pair: &[&str]| {
            let attribute = pair[0].trim();
            let is_test = attribute.starts_with("#[cfg(test)]")
                || attribute.starts_with("#[cfg(all(test")
                || attribute.starts_with("#[cfg(any(test");
            is_test && pair[1].trim_start().starts_with("mod ") && pair[1].ends_with('{')
        };
        lines.windows(2).position(is_start).unwrap_or(lines.len())
    }
}

/// The repository's files, read once for each rule.
fn sources() -> Vec<Source> {
    let root = repository();
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let skipped = ["target", ".git", "__pycache__", "corpus", "artifacts"];
            if path.is_dir() {
                if !skipped.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 60, "the repository was not found");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with all that was found.
fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn files_are_short() {
    let source = ["rs", "c", "cpp", "h", "py", "sh"];
    let found = sources()
        .iter()
        .filter(|s| s.has_extension(&source) && s.text.lines().count() > LINES_MAX)
        .map(|s| format!("{}: {} lines", s.path, s.text.lines().count()))
        .collect();
    assert_none("files of at most 500 lines", found);
}

#[test]
fn lines_are_short() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| s.is_rust()) {
        for (index, line) in source.text.lines().enumerate() {
            if line.chars().count() > WIDTH_MAX && !line.contains("https://") {
                found.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert_none("lines of at most 100 characters", found);
}

#[test]
fn rust_files_say_what_they_are() {
    let found = sources()
        .iter()
        .filter(|s| s.is_rust() && !s.text.starts_with("//!"))
        .map(|s| s.path.clone())
        .collect();
    assert_none("each Rust file opens with //!", found);
}

#[test]
fn nothing_is_unfinished() {
    // In two parts, so that this file does not find itself.
    let calls = [
        ["to", "do!"],
        ["unimplem", "ented!"],
        ["db", "g!("],
        ["#[ign", "ore"],
    ];
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X "],
        ["not yet impl", "emented"],
    ];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| s.has_extension(&["rs", "c", "cpp", "h", "py", "md"]))
    {
        for (index, line) in source.text.lines().enumerate() {
            let has = |parts: &[&str; 2]| line.contains(&parts.concat());
            // `.ci/long` runs these.
            let is_long = line.trim() == LONG.concat();
            let calls_it = source.is_rust() && !is_long && calls.iter().any(has);
            if calls_it || words.iter().any(has) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert_none("no stub, no ignored test but those of .ci/long", found);
}

#[test]
fn the_product_does_not_panic_on_purpose() {
    let calls = [
        ".unwrap()",
        ".expect(",
        ".unwrap_err()",
        "panic!(",
        "unreachable!(",
    ];
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| s.is_product()) {
        for (number, line) in source.product_lines() {
            if calls.iter().any(|call| line.contains(call)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("no unwrap, expect or panic outside of tests", found);
}

#[test]
fn unsafe_code_is_explained() {
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| s.is_rust() && s.path != "tests/tidy.rs")
    {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let opens = code.contains("unsafe {") || code.contains("unsafe impl");
            let above = &lines[index.saturating_sub(8)..=index];
            if opens && !above.iter().any(|l| l.contains("SAFETY:")) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert_none("a SAFETY comment above each unsafe block", found);
}

#[test]
fn the_format_has_no_unsafe_code() {
    let found = sources()
        .iter()
        .filter(|s| s.path.starts_with("format-spec/src/"))
        .flat_map(|s| {
            s.product_lines()
                .map(|(n, l)| (format!("{}:{n}", s.path), l))
        })
        .filter(|(_, line)| line.contains("unsafe ") || line.contains("unsafe{"))
        .map(|(place, _)| place)
        .collect();
    assert_none("no unsafe in format-spec", found);
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    let banned = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["sub", "agent"],
        ["sub-", "agent"],
        ["this ses", "sion of"],
        ["shared/", "DESIGN"],
        ["shared/", "CONTRACT"],
    ];
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.path.ends_with(".lock")) {
        for (index, line) in source.text.lines().enumerate() {
            if banned.iter().any(|parts| line.contains(&parts.concat())) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert_none("no words and paths of a workplace", found);
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| s.has_extension(&["md"])) {
        let folder = repository()
            .join(&source.path)
            .parent()
            .unwrap()
            .to_path_buf();
        for target in source
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap_or("");
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !file.is_empty() && !folder.join(file).exists() {
                found.push(format!("{}: {target}", source.path));
            }
        }
    }
    assert_none("links of the documents resolve", found);
}

#[test]
fn needed_documents_are_there() {
    let needed = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "format-spec/SPEC.md",
        "recorder/include/heaptape.h",
        "benches/README.md",
        ".ci/run",
    ];
    let missing = |path: &&str| !repository().join(path).is_file();
    let found = needed
        .iter()
        .filter(|p| missing(p))
        .map(|p| (*p).to_owned())
        .collect();
    assert_none("documents that everybody expects", found);
}

/// The tape is the only thing that recorder and replay share.
#[test]
fn recorder_and_replay_never_meet() {
    let mut found = Vec::new();
    for source in sources() {
        let of_recorder = source.path.starts_with("recorder/");
        let of_library = source.path.starts_with("replay/src/")
            && !["cli/", "launch/", "main.rs"]
                .iter()
                .any(|bin| source.path["replay/src/".len()..].starts_with(bin));
        let of_format = source.path.starts_with("format-spec/");
        let banned: &[&str] = match (of_recorder, of_library, of_format) {
            (true, _, _) => &["heaptape::", "heaptape.workspace", "heaptape ="],
            (_, true, _) => &["heaptape_session", "heaptape_drain", "heaptape_preload"],
            (_, _, true) => &[
                "heaptape_session",
                "heaptape_drain",
                "heaptape_preload",
                "heaptape::",
            ],
            _ => continue,
        };
        let is_code = source.is_rust() || source.path.ends_with("Cargo.toml");
        for (number, line) in source.product_lines().filter(|_| is_code) {
            if banned.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("recorder and replay share format-spec alone", found);
}

#[test]
fn names_say_what_a_module_is() {
    let vague = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];
    let is_vague = |s: &Source| {
        vague
            .iter()
            .any(|name| s.path.ends_with(&format!("/{name}")))
    };
    let found = sources()
        .iter()
        .filter(|s| is_vague(s))
        .map(|s| s.path.clone())
        .collect();
    assert_none("no module for this and that", found);
}

/// A file that no module names is dead.
#[test]
fn no_file_is_an_orphan() {
    let all = sources();
    let mut found = Vec::new();
    for source in all.iter().filter(|s| s.is_product()) {
        let path = PathBuf::from(&source.path);
        let mut name = path.file_stem().unwrap().to_str().unwrap();
        if ["lib", "main"].contains(&name) {
            continue;
        }
        if name == "mod" {
            name = path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap();
        }
        let package = source.path.split("/src/").next().unwrap();
        let named = all.iter().any(|other| {
            other.path.starts_with(package) && other.is_rust() && declares(&other.text, name)
        });
        if !named {
            found.push(source.path.clone());
        }
    }
    assert_none("each file is a module of its package", found);
}

fn declares(text: &str, module: &str) -> bool {
    let declaration = format!("mod {module};");
    text.lines().any(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix("pub ").or_else(|| {
            line.strip_prefix("pub(")
                .and_then(|rest| rest.split_once(") "))
                .map(|(_, rest)| rest)
        });
        rest.unwrap_or(line).starts_with(&declaration)
    })
}
