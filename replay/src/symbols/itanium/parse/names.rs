//! Names with their scopes: `<name>`, `<nested-name>`, `<local-name>`.

use super::Parser;
use super::encoding::Results;
use super::substitutions::Component;
use crate::symbols::itanium::tree::{Name, Node, NodeId, Reference};

impl<'a> Parser<'a> {
    /// ```text
    /// <name> ::= <nested-name>
    ///        ::= <unscoped-name>
    ///        ::= <unscoped-template-name> <template-args>
    ///        ::= <local-name>
    /// <unscoped-name> ::= [St] <unqualified-name>
    /// <unscoped-template-name> ::= <unscoped-name>
    ///                          ::= <substitution>
    /// ```
    pub(super) fn name(&mut self) -> Option<NodeId> {
        match self.peek()? {
            b'N' => self.nested_name(),
            b'Z' => self.local_name(),
            b'S' if self.peek_second() != Some(b't') => {
                let (Component::New(name) | Component::Known(name)) = self.substituted_name()?;
                Some(name)
            }
            b'S' => {
                self.position += 2;
                let scope = self.name_node(Name::Source("std"))?;
                let name = self.unqualified_name(Some(scope), None)?;
                self.perhaps_template(name)
            }
            _ => {
                let name = self.unqualified_name(None, None)?;
                self.perhaps_template(name)
            }
        }
    }

    /// A name that begins with a `<substitution>`: a template's, or one in a module.
    pub(super) fn substituted_name(&mut self) -> Option<Component> {
        let name = self.substitution()?;
        if self.is_module(name) {
            let name = self.unqualified_name(None, Some(name))?;
            return self.perhaps_template(name).map(Component::New);
        }
        match self.peek() {
            Some(b'I') => self.template(name).map(Component::New),
            _ => Some(Component::Known(name)),
        }
    }

    /// Reads the `<template-args>` that may follow a name. Then the name itself can be substituted.
    fn perhaps_template(&mut self, name: NodeId) -> Option<NodeId> {
        if self.peek() != Some(b'I') {
            return Some(name);
        }
        self.substitutions.push(name);
        self.template(name)
    }

    /// `name` with the `<template-args>` that follow.
    pub(super) fn template(&mut self, name: NodeId) -> Option<NodeId> {
        let arguments = self.template_arguments()?;
        self.name_node(Name::Template { name, arguments })
    }

    /// ```text
    /// <nested-name> ::= N [<CV-qualifiers>] [<ref-qualifier>] <prefix> <unqualified-name> E
    ///               ::= N [<CV-qualifiers>] [<ref-qualifier>] <template-prefix> <template-args> E
    ///               ::= N H <prefix> <unqualified-name> E
    /// ```
    fn nested_name(&mut self) -> Option<NodeId> {
        self.require("N")?;
        if self.skip("H") {
            let name = self.prefix()?;
            return self.name_node(Name::ExplicitObject(name));
        }
        let qualifiers = self.cv_qualifiers();
        let reference = self.ref_qualifier();
        let name = self.prefix()?;
        if qualifiers.is_empty() && reference.is_none() {
            return Some(name);
        }
        self.name_node(Name::Member {
            name,
            qualifiers,
            reference,
        })
    }

    /// `<ref-qualifier> ::= R | O`
    pub(super) fn ref_qualifier(&mut self) -> Option<Reference> {
        match self.peek() {
            Some(b'R') => {
                self.position += 1;
                Some(Reference::Left)
            }
            Some(b'O') => {
                self.position += 1;
                Some(Reference::Right)
            }
            _ => None,
        }
    }

    /// What stands between `N` and `E`, and `E`.
    ///
    /// ```text
    /// <prefix> ::= <unqualified-name>
    ///          ::= <prefix> <unqualified-name>
    ///          ::= <template-prefix> <template-args>
    ///          ::= <closure-prefix>
    ///          ::= <template-param>
    ///          ::= <decltype>
    ///          ::= <substitution>
    /// <template-prefix> ::= <prefix> <template unqualified-name>
    ///                   ::= <template-param>
    ///                   ::= <substitution>
    /// <closure-prefix> ::= [<prefix>] <variable or member unqualified-name> M
    /// ```
    fn prefix(&mut self) -> Option<NodeId> {
        let mut prefix = None;
        let mut module = None;
        loop {
            let first = self.peek()?;
            match first {
                b'E' => {
                    self.position += 1;
                    return prefix.filter(|_| module.is_none());
                }
                b'M' => {
                    prefix?;
                    self.position += 1;
                    continue;
                }
                b'S' => {
                    let substitution = self.prefix_substitution()?;
                    match (self.is_module(substitution), prefix) {
                        (true, _) => module = Some(substitution),
                        (false, None) => prefix = Some(substitution),
                        (false, Some(_)) => return None,
                    }
                    continue;
                }
                _ => prefix = Some(self.longer_prefix(prefix, module.take())?),
            }
            if self.peek() != Some(b'E') {
                self.substitutions.push(prefix?);
            }
        }
    }

    /// `prefix` and what comes next, which is no substitution.
    fn longer_prefix(&mut self, prefix: Option<NodeId>, module: Option<NodeId>) -> Option<NodeId> {
        match (self.peek()?, self.peek_second()) {
            (b'I', _) => self.template(prefix?),
            (b'T', _) => {
                let parameter = self.template_parameter()?;
                self.nested_in(prefix, parameter)
            }
            (b'D', Some(b't' | b'T')) => {
                let of = self.decltype()?;
                self.nested_in(prefix, of)
            }
            _ => self.unqualified_name(prefix, module),
        }
    }

    /// `scope::name`, or `name` where there is no scope.
    pub(super) fn nested_in(&mut self, scope: Option<NodeId>, name: NodeId) -> Option<NodeId> {
        match scope {
            Some(scope) => self.name_node(Name::Nested { scope, name }),
            None => Some(name),
        }
    }

    /// ```text
    /// <local-name> ::= Z <function encoding> E <entity name> [<discriminator>]
    ///              ::= Z <function encoding> E s [<discriminator>]
    ///              ::= Z <function encoding> Ed [<parameter number>] _ <entity name>
    /// ```
    fn local_name(&mut self) -> Option<NodeId> {
        self.require("Z")?;
        let function = self.encoding(Results::Hidden)?;
        self.require("E")?;
        if self.skip("s") {
            self.discriminator()?;
            let name = self.name_node(Name::Source("string literal"))?;
            return self.name_node(Name::Local { function, name });
        }
        let argument = match self.skip("d") {
            true => Some(self.compact_number()?),
            false => None,
        };
        let entity = self.deeper(Self::name)?;
        if !self.has_number(entity) {
            self.discriminator()?;
        }
        self.local(function, argument, entity)
    }

    /// The node of a `<local-name>`. The qualifiers of a member function go to its outside, where
    /// they are found whatever the function is local to.
    fn local(&mut self, function: NodeId, argument: Option<u32>, entity: NodeId) -> Option<NodeId> {
        let node = self.tree.get(entity)?;
        let mut name = match node {
            Node::Name(Name::Member { name, .. } | Name::ExplicitObject(name)) => name,
            _ => entity,
        };
        if let Some(number) = argument {
            name = self.name_node(Name::DefaultArgument { number, name })?;
        }
        let name = self.name_node(Name::Local { function, name })?;
        match node {
            Node::Name(Name::Member {
                qualifiers,
                reference,
                ..
            }) => self.name_node(Name::Member {
                name,
                qualifiers,
                reference,
            }),
            Node::Name(Name::ExplicitObject(_)) => self.name_node(Name::ExplicitObject(name)),
            _ => Some(name),
        }
    }

    /// True for lambdas and unnamed types, which have a number of their own.
    fn has_number(&self, entity: NodeId) -> bool {
        let node = self.tree.get(entity);
        matches!(
            node,
            Some(Node::Name(Name::Lambda { .. } | Name::Unnamed(_)))
        )
    }

    /// ```text
    /// <discriminator> ::= _ <non-negative number>      # number below 10
    ///                 ::= __ <non-negative number> _   # number from 10 on
    /// ```
    ///
    /// Older compilers write greater numbers in the first way too.
    pub(super) fn discriminator(&mut self) -> Option<()> {
        if !self.skip("_") {
            return Some(());
        }
        let is_long = self.skip("_");
        let digits = self.digits()?;
        if is_long && digits.len() > 1 {
            self.require("_")?;
        }
        Some(())
    }

    /// True for what names of modules are.
    pub(super) fn is_module(&self, id: NodeId) -> bool {
        matches!(self.tree.get(id), Some(Node::Name(Name::Module { .. })))
    }
}
