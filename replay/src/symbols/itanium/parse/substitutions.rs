//! What was said before, and abbreviations: `<substitution>`.

use super::Parser;
use crate::symbols::itanium::tree::{Name, NodeId};

/// A part of a mangled name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Component {
    /// It can be substituted from now on.
    New(NodeId),
    /// It needs no substitution, or is one.
    Known(NodeId),
}

/// A name of `std` that has an abbreviation.
struct Abbreviation {
    letter: u8,
    short: &'static str,
    /// How constructors and destructors call the class.
    full: &'static str,
    /// What constructors and destructors are called.
    class: &'static str,
}

const ABBREVIATIONS: [Abbreviation; 6] = [
    Abbreviation {
        letter: b'a',
        short: "std::allocator",
        full: "std::allocator",
        class: "allocator",
    },
    Abbreviation {
        letter: b'b',
        short: "std::basic_string",
        full: "std::basic_string",
        class: "basic_string",
    },
    Abbreviation {
        letter: b's',
        short: "std::string",
        full: "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
        class: "basic_string",
    },
    Abbreviation {
        letter: b'i',
        short: "std::istream",
        full: "std::basic_istream<char, std::char_traits<char> >",
        class: "basic_istream",
    },
    Abbreviation {
        letter: b'o',
        short: "std::ostream",
        full: "std::basic_ostream<char, std::char_traits<char> >",
        class: "basic_ostream",
    },
    Abbreviation {
        letter: b'd',
        short: "std::iostream",
        full: "std::basic_iostream<char, std::char_traits<char> >",
        class: "basic_iostream",
    },
];

impl Parser<'_> {
    /// ```text
    /// <substitution> ::= S <seq-id> _
    ///                ::= S_
    ///                ::= Sa | Sb | Ss | Si | So | Sd
    /// ```
    pub(super) fn substitution(&mut self) -> Option<NodeId> {
        match self.peek_second()? {
            b'_' | b'0'..=b'9' | b'A'..=b'Z' => self.earlier_component(),
            letter => self.abbreviation(letter, false),
        }
    }

    /// A `<substitution>` in a `<prefix>`, where `St` is one too. For constructors and destructors
    /// the classes that abbreviations stand for are written out.
    pub(super) fn prefix_substitution(&mut self) -> Option<NodeId> {
        match self.peek_second()? {
            b't' => {
                self.position += 2;
                let name = self.name_node(Name::Source("std"))?;
                self.tagged_abbreviation(name)
            }
            b'_' | b'0'..=b'9' | b'A'..=b'Z' => self.earlier_component(),
            letter => {
                let behind = self.rest().get(2);
                let is_full = matches!(behind, Some(b'C' | b'D'));
                self.abbreviation(letter, is_full)
            }
        }
    }

    fn abbreviation(&mut self, letter: u8, is_full: bool) -> Option<NodeId> {
        let found = ABBREVIATIONS.iter().find(|entry| entry.letter == letter)?;
        self.position += 2;
        self.last_name = Some(self.name_node(Name::Source(found.class))?);
        let text = match is_full {
            true => found.full,
            false => found.short,
        };
        let name = self.name_node(Name::Abbreviation(text))?;
        self.tagged_abbreviation(name)
    }

    /// With tags an abbreviation can be substituted.
    fn tagged_abbreviation(&mut self, name: NodeId) -> Option<NodeId> {
        if self.peek() != Some(b'B') {
            return Some(name);
        }
        let name = self.abi_tags(name)?;
        self.substitutions.push(name);
        Some(name)
    }

    /// `<seq-id> ::= <[0-9A-Z]>+`: a number of base 36. `S_` is the first component, `S0_` the
    /// next.
    fn earlier_component(&mut self) -> Option<NodeId> {
        self.require("S")?;
        let mut index = None::<usize>;
        loop {
            let digit = match self.next()? {
                b'_' => break,
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'A'..=b'Z' => digit - b'A' + 10,
                _ => return None,
            };
            let so_far = index.unwrap_or(0).checked_mul(36)?;
            index = Some(so_far.checked_add(usize::from(digit))?);
        }
        let index = match index {
            Some(index) => index.checked_add(1)?,
            None => 0,
        };
        self.substitutions.get(index).copied()
    }
}
