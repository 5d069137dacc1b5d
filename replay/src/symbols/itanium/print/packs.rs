//! Packs: expansions of what several template arguments stand for.

use super::Printer;
use crate::symbols::itanium::tree::{List, Node, NodeId, Type};

impl Printer<'_, '_> {
    /// Prints `pattern` for each element of the packs in it. Where those are packs of function
    /// parameters, whose number no name says, it is printed once, with dots.
    pub(super) fn expansion(&mut self, pattern: NodeId) -> Option<()> {
        let Some(pack) = self.pack_in(pattern)? else {
            self.operand(pattern)?;
            self.push("...");
            return Some(());
        };
        let outer = self.element;
        let mut is_first = true;
        for element in 0..pack.len() {
            self.element = Some(element);
            self.list_member(&mut is_first, |printer| printer.print(pattern))?;
        }
        self.element = outer;
        Some(())
    }

    /// How many elements the pack in `id` has.
    pub(super) fn pack_length(&mut self, id: NodeId) -> Option<u32> {
        Some(self.pack_in(id)?.map_or(0, List::len))
    }

    /// How many arguments `list` has when its expansions are expanded.
    pub(super) fn argument_count(&mut self, list: List) -> Option<u32> {
        let tree = self.tree;
        let mut count = 0u32;
        for argument in tree.members(list) {
            let more = match tree.get(*argument)? {
                Node::Type(Type::Expansion(pattern)) => self.pack_length(pattern)?,
                _ => 1,
            };
            count = count.checked_add(more)?;
        }
        Some(count)
    }

    /// The first pack that a template parameter in `pattern` stands for, if there is one. In a
    /// lambda's signature parameters stand for nothing yet.
    fn pack_in(&mut self, pattern: NodeId) -> Option<Option<List>> {
        if self.lambda.is_some() {
            return Some(None);
        }
        self.to_visit.clear();
        self.to_visit.push(pattern);
        while let Some(id) = self.to_visit.pop() {
            self.step()?;
            let node = self.tree.get(id)?;
            if let Node::Type(Type::Parameter(index)) = node {
                let argument = self.whole_argument(index, self.scope)?;
                if let Node::Pack(pack) = self.tree.get(argument.id)? {
                    return Some(Some(pack));
                }
            }
            let start = self.to_visit.len();
            self.tree
                .visit_parts(node, &mut |part| self.to_visit.push(part));
            let parts = self.to_visit.get_mut(start..)?;
            // The first part is looked at first.
            parts.reverse();
            self.steps += parts.len();
        }
        Some(None)
    }
}
