//! Template parameters: which arguments they stand for.
//!
//! `T_` means the first argument of the template whose type is printed, and an argument is printed
//! where that template was named. A substitution may bring a parameter into another function's
//! type, where it means that function's argument: it is the compilers' text that is substituted.
//! Behind a reference it keeps its meaning. That is how binutils reads it.

use super::Printer;
use crate::symbols::itanium::tree::{List, Node, NodeId, Reference, Type};

/// A function's template arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    arguments: List,
    /// The scope in which the arguments stand.
    outer: Option<ScopeId>,
}

/// A scope's place among those of a printer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId(usize);

/// A node, and the scope of the parameters in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoped {
    pub(super) id: NodeId,
    pub(super) scope: Option<ScopeId>,
}

impl Printer<'_, '_> {
    /// A scope of `arguments` within the present one.
    pub(super) fn inner_scope(&mut self, arguments: List) -> Option<ScopeId> {
        let id = ScopeId(self.scopes.len());
        let outer = self.scope;
        self.scopes.push(Scope { arguments, outer });
        Some(id)
    }

    /// Prints with the template parameters of `scope`.
    pub(super) fn in_scope(
        &mut self,
        scope: Option<ScopeId>,
        print: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let outer = std::mem::replace(&mut self.scope, scope);
        print(self)?;
        self.scope = outer;
        Some(())
    }

    /// Prints what stands before a name of `T_`, `T0_`, …: of the argument, or in a lambda's
    /// signature the parameter.
    pub(super) fn parameter_left(&mut self, index: u32) -> Option<()> {
        if let Some(head) = self.lambda {
            return self.lambda_parameter(index, head);
        }
        let argument = self.argument(index, self.scope)?;
        self.in_scope(argument.scope, |printer| printer.left(argument.id))
    }

    /// Prints what stands behind.
    pub(super) fn parameter_right(&mut self, index: u32) -> Option<()> {
        if self.lambda.is_some() {
            return Some(());
        }
        let argument = self.argument(index, self.scope)?;
        self.in_scope(argument.scope, |printer| printer.right(argument.id))
    }

    /// What parameter `index` of `scope` stands for; within an expansion the element of a pack.
    fn argument(&self, index: u32, scope: Option<ScopeId>) -> Option<Scoped> {
        let argument = self.whole_argument(index, scope)?;
        match (self.tree.get(argument.id)?, self.element) {
            (Node::Pack(list), Some(element)) => {
                let id = *self.tree.members(list).get(element as usize)?;
                Some(Scoped { id, ..argument })
            }
            _ => Some(argument),
        }
    }

    /// What parameter `index` of `scope` stands for, which may be a pack.
    pub(super) fn whole_argument(&self, index: u32, scope: Option<ScopeId>) -> Option<Scoped> {
        let scope = self.scopes.get(scope?.0)?;
        let id = *self.tree.members(scope.arguments).get(index as usize)?;
        let scope = scope.outer;
        Some(Scoped { id, scope })
    }

    /// What `at` stands for while it is a template parameter.
    pub(super) fn resolved(&mut self, mut at: Scoped) -> Option<Scoped> {
        loop {
            self.step()?;
            match self.tree.get(at.id)? {
                Node::Type(Type::Parameter(index)) if self.lambda.is_none() => {
                    at = self.argument(index, at.scope)?;
                }
                _ => return Some(at),
            }
        }
    }

    /// Which reference one to `target` is, and to what: a reference to a reference is one
    /// reference, `&&` only when both are.
    pub(super) fn collapsed(
        &mut self,
        target: NodeId,
        kind: Reference,
    ) -> Option<(Scoped, Reference)> {
        let scope = self.scope_behind_reference(target)?;
        let target = Scoped { id: target, scope };
        let argument = self.resolved(target)?;
        let Node::Type(Type::Reference {
            target: id,
            kind: inner_kind,
        }) = self.tree.get(argument.id)?
        else {
            return Some((target, kind));
        };
        let kind = match (kind, inner_kind) {
            (Reference::Right, Reference::Right) => Reference::Right,
            _ => Reference::Left,
        };
        Some((Scoped { id, ..argument }, kind))
    }

    /// The scope of the parameter `target` of a reference: the one in which it was met first,
    /// unless it is met within itself.
    fn scope_behind_reference(&mut self, target: NodeId) -> Option<Option<ScopeId>> {
        let is_parameter = matches!(self.tree.get(target)?, Node::Type(Type::Parameter(_)));
        if !is_parameter || self.lambda.is_some() {
            return Some(self.scope);
        }
        let Some(&scope) = self.remembered.get(&target) else {
            self.remembered.insert(target, self.scope);
            return Some(self.scope);
        };
        let (reference, outside) = self.path.split_last()?;
        let is_within = outside.contains(reference) || outside.contains(&target);
        Some(if is_within { self.scope } else { scope })
    }
}
