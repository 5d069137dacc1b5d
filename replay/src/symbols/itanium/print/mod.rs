//! [`Tree`] → text, as `c++filt -i` and `nm -C` write it. A small tree may stand for an enormous
//! text, or for a great many steps without any: both are bounded, and what exceeds a bound has no
//! text.

mod entities;
mod expressions;
mod lambdas;
mod names;
mod packs;
mod parameters;
mod types;

use super::tree::{List, Node, NodeId, Tree};
use super::{DEPTH_MAX, STEPS_MAX, TEXT_BYTES_MAX};
use parameters::{Scope, ScopeId};
use rustc_hash::FxHashMap;

/// The text of `root`.
pub(super) fn print(tree: &Tree<'_>, root: NodeId, bytes_guess: usize) -> Option<String> {
    let mut printer = Printer {
        tree,
        text: String::with_capacity(bytes_guess),
        scopes: Vec::new(),
        scope: None,
        template: None,
        remembered: FxHashMap::default(),
        element: None,
        lambda: None,
        path: Vec::with_capacity(32),
        to_visit: Vec::new(),
        steps: 0,
    };
    printer.print(root)?;
    Some(printer.text)
}

/// What was printed, and where the printing is.
#[derive(Debug)]
struct Printer<'t, 'a> {
    tree: &'t Tree<'a>,
    text: String,
    /// What template parameters stand for, of each function that was begun.
    scopes: Vec<Scope>,
    /// The function whose template parameters are meant.
    scope: Option<ScopeId>,
    /// The arguments of the template whose name is printed.
    template: Option<List>,
    /// Template parameters behind references, with the scopes in which they were met first.
    remembered: FxHashMap<NodeId, Option<ScopeId>>,
    /// Which element of packs is printed, within an expansion.
    element: Option<u32>,
    /// The template parameters of the lambda whose parameters are printed.
    lambda: Option<List>,
    /// The nodes that are being printed, the outermost first.
    path: Vec<NodeId>,
    /// Nodes that a search has yet to look at.
    to_visit: Vec<NodeId>,
    steps: usize,
}

impl Printer<'_, '_> {
    /// Counts one step, and refuses those beyond the bounds.
    fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (self.steps < STEPS_MAX && self.text.len() < TEXT_BYTES_MAX).then_some(())
    }

    /// Prints `id` or a part of it, unless it lies too deep.
    fn deeper(&mut self, id: NodeId, print: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.step()?;
        if self.path.len() >= DEPTH_MAX {
            return None;
        }
        self.path.push(id);
        print(self)?;
        self.path.pop();
        Some(())
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn push_number(&mut self, number: u32) {
        self.push(&number.to_string());
    }

    fn ends_with(&self, end: u8) -> bool {
        self.text.as_bytes().last() == Some(&end)
    }

    /// Prints a whole node.
    fn print(&mut self, id: NodeId) -> Option<()> {
        self.left(id)?;
        self.right(id)
    }

    /// Prints of a node what stands before a name that is declared with it: of `int (*name)(char)`
    /// it is `int (*`.
    fn left(&mut self, id: NodeId) -> Option<()> {
        let node = self.tree.get(id)?;
        self.deeper(id, |printer| match node {
            Node::Name(name) => printer.name(name),
            Node::Entity(entity) => printer.entity(entity),
            Node::Type(of) => printer.type_left(of),
            Node::Expression(expression) => printer.expression(expression),
            Node::Pack(list) => printer.list(list),
            Node::Declaration(_) => None,
        })
    }

    /// Prints the rest: `)(char)`. Only types have one.
    fn right(&mut self, id: NodeId) -> Option<()> {
        match self.tree.get(id)? {
            Node::Type(of) if of.may_have_right() => {
                self.deeper(id, |printer| printer.type_right(of))
            }
            _ => Some(()),
        }
    }

    /// Prints the members of `list`, with commas between those that have a text: packs may be
    /// empty.
    fn list(&mut self, list: List) -> Option<()> {
        let tree = self.tree;
        let mut is_first = true;
        for member in tree.members(list) {
            self.list_member(&mut is_first, |printer| printer.print(*member))?;
        }
        Some(())
    }

    fn list_member(
        &mut self,
        is_first: &mut bool,
        print: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let before = self.text.len();
        if !*is_first {
            self.push(", ");
        }
        let start = self.text.len();
        print(self)?;
        if self.text.len() == start {
            self.text.truncate(before);
        } else {
            *is_first = false;
        }
        Some(())
    }
}
