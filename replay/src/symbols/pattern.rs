//! Shell-style patterns, as Python's `fnmatch.fnmatchcase` reads them.
//!
//! `*` any run of characters, `?` one, `[abc]` and `[a-z]` one of a set, `[!abc]` one outside of
//! it; everything else stands for itself. A `[` that is never closed stands for itself.

/// A pattern, ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    Set {
        inverted: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let letters: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(&letter) = letters.get(at) {
            at += 1;
            match letter {
                '*' => {
                    if parts.last() != Some(&Part::Any) {
                        parts.push(Part::Any);
                    }
                }
                '?' => parts.push(Part::One),
                '[' => match set(letters.get(at..).unwrap_or_default()) {
                    Some((part, length)) => {
                        parts.push(part);
                        at += length;
                    }
                    None => parts.push(Part::Char('[')),
                },
                other => parts.push(Part::Char(other)),
            }
        }
        Self { parts }
    }

    /// True when the pattern stands for the whole of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = 0;
        let mut rest = text;
        // Where to go on when what follows the last `*` does not fit: one character later.
        let mut retry: Option<(usize, &str)> = None;
        loop {
            let mut letters = rest.chars();
            let letter = letters.next();
            match (self.parts.get(parts), letter) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    retry = Some((parts, rest));
                    parts += 1;
                    continue;
                }
                (Some(part), Some(letter)) if part.fits(letter) => {
                    parts += 1;
                    rest = letters.as_str();
                    continue;
                }
                _ => {}
            }
            let Some((star, from)) = retry else {
                return false;
            };
            let mut later = from.chars();
            if later.next().is_none() {
                return false;
            }
            rest = later.as_str();
            parts = star + 1;
            retry = Some((star, rest));
        }
    }
}

/// A pattern that also stands for itself: a name as it was shown may have brackets, as
/// `name[abi:cxx11]()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameOrPattern {
    name: String,
    pattern: Pattern,
}

impl NameOrPattern {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            name: text.to_owned(),
            pattern: Pattern::new(text),
        }
    }

    /// True for the name itself, and for what the pattern stands for.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.name == text || self.pattern.matches(text)
    }
}

impl Part {
    fn fits(&self, letter: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Char(char) => *char == letter,
            Self::Set { inverted, ranges } => {
                let inside = ranges
                    .iter()
                    .any(|&(first, last)| (first..=last).contains(&letter));
                inside != *inverted
            }
        }
    }
}

/// Reads the set whose `[` was just read; returns it with its length up to the `]`.
fn set(letters: &[char]) -> Option<(Part, usize)> {
    let inverted = letters.first() == Some(&'!');
    let start = usize::from(inverted);
    // A `]` in the first place is a member.
    let close = letters
        .iter()
        .skip(start + 1)
        .position(|&letter| letter == ']')?
        + start
        + 1;
    let members = letters.get(start..close)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&first) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(&last)) => {
                ranges.push((first, last));
                at += 3;
            }
            _ => {
                ranges.push((first, first));
                at += 1;
            }
        }
    }
    Some((Part::Set { inverted, ranges }, close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*.c", "src/main.c", true),
            ("*.c", "src/main.cc", false),
            ("src/*/x?.c", "src/a/b/x1.c", true),
            ("a[0-9]b", "a5b", true),
            ("a[!0-9]b", "a5b", false),
            ("a[!0-9]b", "axb", true),
            ("a[]]b", "a]b", true),
            ("a[b", "a[b", true),
            ("[a-", "[a-", true),
            ("x[-a]y", "x-y", true),
            ("operator new[[]](*", "operator new[](unsigned long)", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("ü*", "über", true),
            ("Main.c", "main.c", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                fits,
                "{pattern} on {text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_matches_itself_around_stars(text in "[a-z/.]{0,12}", cut in 0usize..12) {
            let cut = cut.min(text.len());
            let pattern = format!("{}*{}", &text[..cut], &text[cut..]);
            proptest::prop_assert!(Pattern::new(&pattern).matches(&text));
            let pattern = format!("*{text}");
            let longer = format!("zz{text}");
            proptest::prop_assert!(Pattern::new(&pattern).matches(&longer));
        }

        #[test]
        fn no_pattern_panics(pattern in "[a\\[\\]!*?-]{0,12}", text in "[a\\[\\]!-]{0,12}") {
            let _ = Pattern::new(&pattern).matches(&text);
        }
    }
}
