//! Mangled text → [`Tree`]. Each function reads one production of the ABI document, which its
//! comment names, and answers `None` where the text is none: then the whole name is refused.

mod builtins;
mod encoding;
mod expressions;
mod literals;
mod names;
mod special;
mod substitutions;
mod templates;
mod types;
mod unqualified;

use super::tree::{Entity, Expression, List, Name, Node, NodeId, Tree, Type};
use super::{DEPTH_MAX, STEPS_MAX};

/// How the scope is written of names that are looked up when a template is instantiated. Only what
/// follows tells which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scopes {
    /// As a type.
    AsTypes,
    /// As names up to `E`, which cannot be substituted.
    AsNames,
}

/// Reads `mangled`, all of it or up to a suffix that begins with a dot.
pub(super) fn parse(mangled: &str) -> Option<(Tree<'_>, NodeId)> {
    let mut parser = Parser::new(mangled, Scopes::AsTypes);
    let mut root = parser.whole();
    if root.is_none() && parser.has_scoped_names {
        parser = Parser::new(mangled, Scopes::AsNames);
        root = parser.whole();
    }
    Some((parser.tree, root?))
}

/// Where the reading is, and what was read.
#[derive(Debug)]
struct Parser<'a> {
    text: &'a str,
    position: usize,
    tree: Tree<'a>,
    /// What `S_`, `S0_`, … stand for.
    substitutions: Vec<NodeId>,
    /// The last identifier: what constructors and destructors are called.
    last_name: Option<NodeId>,
    /// Members of lists that are being read, of inner lists behind those of outer ones.
    unfinished: Vec<NodeId>,
    /// True in the type of a conversion operator, whose template arguments may follow it.
    is_conversion: bool,
    depth: usize,
    steps: usize,
    scopes: Scopes,
    /// True when there was a name whose reading depends on `scopes`.
    has_scoped_names: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, scopes: Scopes) -> Self {
        Self {
            text,
            position: 0,
            tree: Tree::with_room_for(text.len()),
            substitutions: Vec::with_capacity(text.len() / 4),
            last_name: None,
            unfinished: Vec::with_capacity(16),
            is_conversion: false,
            depth: 0,
            steps: 0,
            scopes,
            has_scoped_names: false,
        }
    }

    /// `<mangled-name>` and perhaps a suffix.
    fn whole(&mut self) -> Option<NodeId> {
        let root = self.mangled_name()?;
        matches!(self.peek(), None | Some(b'.')).then_some(root)
    }

    /// What is not read yet.
    fn rest(&self) -> &'a [u8] {
        self.text
            .as_bytes()
            .get(self.position..)
            .unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn peek_second(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position + 1).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.position += 1;
        Some(next)
    }

    /// Reads `wanted` when it comes next.
    fn skip(&mut self, wanted: &str) -> bool {
        let comes = self.rest().starts_with(wanted.as_bytes());
        if comes {
            self.position += wanted.len();
        }
        comes
    }

    /// Reads `wanted`, which must come next.
    fn require(&mut self, wanted: &str) -> Option<()> {
        self.skip(wanted).then_some(())
    }

    /// What was read since `start`.
    fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.position)
    }

    /// Reads decimal digits, perhaps none.
    fn digits(&mut self) -> Option<&'a str> {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        self.since(start)
    }

    /// `<number> ::= [n] <non-negative decimal integer>`, whose value nobody asks for.
    fn number(&mut self) -> Option<()> {
        self.skip("n");
        self.digits().map(drop)
    }

    /// What parameters are numbered by: `_` is 0, `0_` is 1, …
    fn compact_number(&mut self) -> Option<u32> {
        let digits = self.digits()?;
        let number = match digits {
            "" => 0,
            digits => digits.parse::<u32>().ok()?.checked_add(1)?,
        };
        self.require("_")?;
        Some(number)
    }

    /// Reads what lies one level deeper, unless that is too deep, or one step too many.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.steps += 1;
        if self.depth >= DEPTH_MAX || self.steps >= STEPS_MAX {
            return None;
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads with `is_conversion` as given, and sets it back.
    fn with_conversion<T>(
        &mut self,
        is_conversion: bool,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let outer = std::mem::replace(&mut self.is_conversion, is_conversion);
        let result = read(self);
        self.is_conversion = outer;
        result
    }

    /// Reads with `read` until `is_end` reads or sees the end.
    fn list_until(
        &mut self,
        mut is_end: impl FnMut(&mut Self) -> bool,
        mut read: impl FnMut(&mut Self) -> Option<NodeId>,
    ) -> Option<List> {
        let start = self.unfinished.len();
        while !is_end(self) {
            let member = read(self)?;
            self.unfinished.push(member);
        }
        self.tree.add_list(self.unfinished.drain(start..))
    }

    fn name_node(&mut self, name: Name<'a>) -> Option<NodeId> {
        self.tree.add(Node::Name(name))
    }

    fn type_node(&mut self, of: Type<'a>) -> Option<NodeId> {
        self.tree.add(Node::Type(of))
    }

    fn expression_node(&mut self, expression: Expression<'a>) -> Option<NodeId> {
        self.tree.add(Node::Expression(expression))
    }

    fn entity_node(&mut self, entity: Entity) -> Option<NodeId> {
        self.tree.add(Node::Entity(entity))
    }
}
