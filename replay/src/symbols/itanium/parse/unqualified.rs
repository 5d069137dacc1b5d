//! Names without their scopes: `<unqualified-name>`.

use super::Parser;
use crate::symbols::itanium::operators::operator;
use crate::symbols::itanium::tree::{List, Name, NodeId};

/// What GCC calls namespaces without a name: with `.`, `_` or `$` and `N` behind it.
const ANONYMOUS_PREFIX: &str = "_GLOBAL_";

impl<'a> Parser<'a> {
    /// ```text
    /// <unqualified-name> ::= [<module-name>] [F] [L] <operator-name> [<abi-tags>]
    ///                    ::= <ctor-dtor-name>
    ///                    ::= [<module-name>] [F] [L] <source-name> [<abi-tags>]
    ///                    ::= [<module-name>] [L] <unnamed-type-name>
    ///                    ::= [<module-name>] [L] DC <source-name>+ E
    /// ```
    ///
    /// What comes out stands in `scope` and `module`, and in the modules that are named before it.
    pub(super) fn unqualified_name(
        &mut self,
        scope: Option<NodeId>,
        module: Option<NodeId>,
    ) -> Option<NodeId> {
        let module = match self.peek()? {
            b'W' => Some(self.module_name(module)?),
            _ => module,
        };
        let is_local = self.skip("L");
        let mut name = match (self.peek()?, self.peek_second()) {
            (b'0'..=b'9', _) => self.source_name()?,
            (b'a'..=b'z', _) => self.operator_name()?,
            (b'D', Some(b'C')) => self.structured_binding()?,
            (b'C' | b'D', _) => self.ctor_dtor_name()?,
            (b'U', Some(b'l')) => self.closure_type_name()?,
            (b'U', Some(b't')) => self.unnamed_type_name()?,
            _ => return None,
        };
        if is_local {
            self.discriminator()?;
        }
        if let Some(module) = module {
            name = self.name_node(Name::InModule { name, module })?;
        }
        let name = self.abi_tags(name)?;
        self.nested_in(scope, name)
    }

    /// `<abi-tag> ::= B <source-name>`
    pub(super) fn abi_tags(&mut self, mut name: NodeId) -> Option<NodeId> {
        while self.skip("B") {
            let tag = self.identifier()?;
            name = self.name_node(Name::Tagged { name, tag })?;
        }
        Some(name)
    }

    /// `<source-name> ::= <positive length number> <identifier>`
    pub(super) fn source_name(&mut self) -> Option<NodeId> {
        let identifier = self.identifier()?;
        let is_anonymous = identifier
            .strip_prefix(ANONYMOUS_PREFIX)
            .and_then(|rest| rest.strip_prefix(['.', '_', '$']))
            .is_some_and(|rest| rest.starts_with('N'));
        let shown = match is_anonymous {
            true => "(anonymous namespace)",
            false => identifier,
        };
        let name = self.name_node(Name::Source(shown))?;
        self.last_name = Some(name);
        Some(name)
    }

    /// The identifier of a `<source-name>`.
    pub(super) fn identifier(&mut self) -> Option<&'a str> {
        let length = self.digits()?.parse::<usize>().ok()?;
        let start = self.position;
        self.position = start.checked_add(length)?;
        self.since(start)
            .filter(|identifier| !identifier.is_empty())
    }

    /// ```text
    /// <operator-name> ::= <two letters>
    ///                 ::= cv <type>
    ///                 ::= li <source-name>
    ///                 ::= v <digit> <source-name>
    /// ```
    ///
    /// In expressions some stand behind `on`.
    pub(super) fn operator_name(&mut self) -> Option<NodeId> {
        self.skip("on");
        match (self.peek()?, self.peek_second()?) {
            (b'c', b'v') => {
                self.position += 2;
                let of = self.with_conversion(true, Self::read_type)?;
                self.name_node(Name::Conversion(of))
            }
            (b'l', b'i') => {
                self.position += 2;
                let name = self.identifier()?;
                self.name_node(Name::LiteralOperator(name))
            }
            (b'v', b'0'..=b'9') => {
                self.position += 2;
                let name = self.identifier()?;
                self.name_node(Name::VendorOperator(name))
            }
            _ => {
                let operator = operator(self.rest()).filter(|it| it.is_function_name())?;
                self.position += 2;
                self.name_node(Name::Operator(operator))
            }
        }
    }

    /// ```text
    /// <ctor-dtor-name> ::= C1 | C2 | C3 | C4 | C5
    ///                  ::= CI1 <base class type> | CI2 <base class type>
    ///                  ::= D0 | D1 | D2 | D4 | D5
    /// ```
    ///
    /// `4` and `5` are those of unified and grouped functions in object files.
    fn ctor_dtor_name(&mut self) -> Option<NodeId> {
        let class = self.last_name?;
        match (self.next()?, self.next()?) {
            (b'C', b'1'..=b'5') => self.name_node(Name::Constructor(class)),
            (b'C', b'I') => {
                matches!(self.next()?, b'1'..=b'5').then_some(())?;
                self.read_type()?;
                let class = self.last_name?;
                self.name_node(Name::Constructor(class))
            }
            (b'D', b'0' | b'1' | b'2' | b'4' | b'5') => self.name_node(Name::Destructor(class)),
            _ => None,
        }
    }

    /// `DC <source-name>+ E`
    fn structured_binding(&mut self) -> Option<NodeId> {
        self.require("DC")?;
        let names = self.list_until(|parser| parser.skip("E"), Self::source_name)?;
        if names.is_empty() {
            return None;
        }
        self.name_node(Name::StructuredBinding(names))
    }

    /// ```text
    /// <closure-type-name> ::= Ul <lambda-sig> E [<nonnegative number>] _
    /// <lambda-sig> ::= <template-param-decl>* [Q <expression>] <parameter type>+ [Q <expression>]
    /// ```
    fn closure_type_name(&mut self) -> Option<NodeId> {
        self.require("Ul")?;
        self.with_conversion(false, |parser| {
            let head = parser.template_head()?;
            parser.requirement()?;
            let parameters = parser.parameters()?;
            parser.requirement()?;
            parser.require("E")?;
            let number = parser.compact_number()?.checked_add(1)?;
            parser.name_node(Name::Lambda {
                head,
                parameters,
                number,
            })
        })
    }

    /// `Q <requires-clause expression>`, which is not shown.
    fn requirement(&mut self) -> Option<()> {
        if self.skip("Q") {
            self.expression()?;
        }
        Some(())
    }

    /// The `<template-param-decl>*` of a lambda.
    fn template_head(&mut self) -> Option<List> {
        self.list_until(
            |parser| !parser.is_template_declaration(),
            Self::template_declaration,
        )
    }

    /// `<unnamed-type-name> ::= Ut [<nonnegative number>] _`
    fn unnamed_type_name(&mut self) -> Option<NodeId> {
        self.require("Ut")?;
        let number = self.compact_number()?.checked_add(1)?;
        self.name_node(Name::Unnamed(number))
    }

    /// ```text
    /// <module-name> ::= <module-subname>
    ///               ::= <module-name> <module-subname>
    ///               ::= <substitution>
    /// <module-subname> ::= W <source-name>
    ///                  ::= W P <source-name>
    /// ```
    pub(super) fn module_name(&mut self, mut parent: Option<NodeId>) -> Option<NodeId> {
        while self.skip("W") {
            let is_partition = self.skip("P");
            let name = self.identifier()?;
            let module = self.name_node(Name::Module {
                parent,
                name,
                is_partition,
            })?;
            self.substitutions.push(module);
            parent = Some(module);
        }
        parent
    }
}
