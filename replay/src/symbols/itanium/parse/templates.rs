//! Templates: their arguments, their parameters, and how the latter are declared.

use super::Parser;
use crate::symbols::itanium::tree::{Declaration, List, Node, NodeId, Type};

impl Parser<'_> {
    /// `<template-args> ::= I <template-arg>* [Q <requires-clause expression>] E`
    ///
    /// The last name stays what it was before them: it is the one that a constructor behind them
    /// has.
    pub(super) fn template_arguments(&mut self) -> Option<List> {
        self.require("I")?;
        let last_name = self.last_name;
        let arguments = self.arguments_until_end()?;
        self.last_name = last_name;
        Some(arguments)
    }

    /// `<template-arg>* [Q <requires-clause expression>] E`
    pub(super) fn arguments_until_end(&mut self) -> Option<List> {
        self.with_conversion(false, |parser| {
            let is_end = |parser: &mut Self| matches!(parser.peek(), Some(b'E' | b'Q'));
            let arguments = parser.list_until(is_end, Self::template_argument)?;
            if parser.skip("Q") {
                parser.expression()?;
            }
            parser.require("E")?;
            Some(arguments)
        })
    }

    /// ```text
    /// <template-arg> ::= <type>
    ///                ::= X <expression> E
    ///                ::= <expr-primary>
    ///                ::= J <template-arg>* E
    ///                ::= <template-param-decl> <template-arg>
    /// ```
    ///
    /// Older compilers write `I` for `J`.
    pub(super) fn template_argument(&mut self) -> Option<NodeId> {
        self.deeper(|parser| match parser.peek()? {
            b'X' => {
                parser.position += 1;
                let argument = parser.expression()?;
                parser.require("E")?;
                Some(argument)
            }
            b'L' => parser.expr_primary(),
            b'I' | b'J' => {
                parser.position += 1;
                let pack = parser.arguments_until_end()?;
                parser.tree.add(Node::Pack(pack))
            }
            b'T' if parser.is_template_declaration() => {
                parser.template_declaration()?;
                parser.template_argument()
            }
            _ => parser.read_type(),
        })
    }

    /// ```text
    /// <template-param> ::= T_
    ///                  ::= T <parameter-2 non-negative number> _
    ///                  ::= TL <level-1 non-negative number> __
    ///                  ::= TL <level-1 non-negative number> _ <number> _
    /// ```
    ///
    /// Those with a level are the parameters of lambdas, whose level is not shown.
    pub(super) fn template_parameter(&mut self) -> Option<NodeId> {
        self.require("T")?;
        if self.skip("L") {
            self.digits()?;
            self.require("_")?;
        }
        let index = self.compact_number()?;
        self.type_node(Type::Parameter(index))
    }

    /// True where a `<template-param-decl>` comes next.
    pub(super) fn is_template_declaration(&self) -> bool {
        let second = self.peek_second();
        self.peek() == Some(b'T') && matches!(second, Some(b'y' | b'k' | b'n' | b't' | b'p'))
    }

    /// ```text
    /// <template-param-decl> ::= Ty
    ///                       ::= Tk <concept name> [<template-args>]
    ///                       ::= Tn <type>
    ///                       ::= Tt <template-param-decl>* [Q <expression>] E
    ///                       ::= Tp <template-param-decl>
    /// ```
    pub(super) fn template_declaration(&mut self) -> Option<NodeId> {
        self.require("T")?;
        let declaration = self.deeper(|parser| match parser.next()? {
            b'y' => Some(Declaration::Type),
            b'k' => parser.name().map(Declaration::Constrained),
            b'n' => parser.read_type().map(Declaration::Value),
            b't' => {
                let is_end = |parser: &mut Self| !parser.is_template_declaration();
                let parameters = parser.list_until(is_end, Self::template_declaration)?;
                if parser.skip("Q") {
                    parser.expression()?;
                }
                parser.require("E")?;
                Some(Declaration::Template(parameters))
            }
            b'p' => parser.template_declaration().map(Declaration::Pack),
            _ => None,
        })?;
        self.tree.add(Node::Declaration(declaration))
    }
}
