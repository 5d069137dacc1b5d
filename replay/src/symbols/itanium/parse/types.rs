//! Types: `<type>`.

use super::Parser;
use super::builtins::{BFLOAT16, builtin, builtin_behind_d};
use super::substitutions::Component;
use crate::symbols::itanium::tree::{
    Builtin, Exceptions, Expression, FunctionQualifiers, Name, NodeId, Qualifiers, Reference, Type,
};

impl<'a> Parser<'a> {
    /// `<type>`. Each that is neither a `<builtin-type>` nor a `<substitution>` can be substituted
    /// later.
    pub(super) fn read_type(&mut self) -> Option<NodeId> {
        match self.deeper(Self::type_component)? {
            Component::Known(id) => Some(id),
            Component::New(id) => {
                self.substitutions.push(id);
                Some(id)
            }
        }
    }

    fn type_component(&mut self) -> Option<Component> {
        let first = self.peek()?;
        if let Some(builtin) = builtin(first) {
            self.position += 1;
            return self.builtin_type(builtin);
        }
        match first {
            b'S' if self.peek_second() != Some(b't') => self.substituted_name(),
            b'D' => self.type_behind_d(),
            _ => self.compound_type(first).map(Component::New),
        }
    }

    fn builtin_type(&mut self, builtin: &'static Builtin) -> Option<Component> {
        self.type_node(Type::Builtin(builtin)).map(Component::Known)
    }

    /// ```text
    /// <type> ::= <qualified-type>
    ///        ::= <function-type>
    ///        ::= <class-enum-type>
    ///        ::= <array-type>
    ///        ::= <pointer-to-member-type>
    ///        ::= <template-param>
    ///        ::= <template-template-param> <template-args>
    ///        ::= P <type> | R <type> | O <type> | C <type> | G <type>
    /// ```
    fn compound_type(&mut self, first: u8) -> Option<NodeId> {
        match first {
            b'r' | b'V' | b'K' => self.qualified_type(),
            b'F' => self.function_type(Qualifiers::default()),
            b'0'..=b'9' | b'N' | b'S' | b'W' | b'Z' => self.name(),
            b'A' => self.array_type(),
            b'M' => self.pointer_to_member_type(),
            b'T' => self.parameter_type(),
            b'U' => self.vendor_qualified_type(),
            b'u' => self.vendor_type(),
            b'P' => self.derived_type(Type::Pointer),
            b'R' => self.derived_type(|target| Type::Reference {
                target,
                kind: Reference::Left,
            }),
            b'O' => self.derived_type(|target| Type::Reference {
                target,
                kind: Reference::Right,
            }),
            b'C' => self.derived_type(Type::Complex),
            b'G' => self.derived_type(Type::Imaginary),
            _ => None,
        }
    }

    /// A letter and a `<type>`.
    fn derived_type(&mut self, of: impl FnOnce(NodeId) -> Type<'a>) -> Option<NodeId> {
        self.position += 1;
        let inner = self.read_type()?;
        self.type_node(of(inner))
    }

    /// `<qualified-type> ::= <CV-qualifiers> <type>`. Before a function type they are those of
    /// `this`, and a part of it.
    fn qualified_type(&mut self) -> Option<NodeId> {
        let qualifiers = self.cv_qualifiers();
        if self.is_function_type() {
            return self.function_type(qualifiers);
        }
        let inner = self.read_type()?;
        self.type_node(Type::Qualified { inner, qualifiers })
    }

    /// `<CV-qualifiers> ::= [r] [V] [K]`
    pub(super) fn cv_qualifiers(&mut self) -> Qualifiers {
        let mut qualifiers = Qualifiers::default();
        loop {
            match self.peek() {
                Some(b'r') => qualifiers.is_restrict = true,
                Some(b'V') => qualifiers.is_volatile = true,
                Some(b'K') => qualifiers.is_const = true,
                _ => return qualifiers,
            }
            self.position += 1;
        }
    }

    /// True where a `<function-type>` comes next, behind its qualifiers.
    fn is_function_type(&self) -> bool {
        match self.peek() {
            Some(b'F') => true,
            Some(b'D') => matches!(self.peek_second(), Some(b'o' | b'O' | b'w' | b'x')),
            _ => false,
        }
    }

    /// ```text
    /// <function-type> ::= [<CV-qualifiers>] [<exception-spec>] [Dx]
    ///                     F [Y] <bare-function-type> [<ref-qualifier>] E
    /// <exception-spec> ::= Do
    ///                  ::= DO <expression> E
    ///                  ::= Dw <type>+ E
    /// ```
    ///
    /// `Y` says that it has C linkage, which is not shown.
    fn function_type(&mut self, this: Qualifiers) -> Option<NodeId> {
        let mut qualifiers = FunctionQualifiers {
            this,
            reference: None,
            exceptions: Exceptions::Any,
            is_transaction_safe: false,
        };
        while !self.skip("F") {
            match (self.next()?, self.next()?) {
                (b'D', b'x') => qualifiers.is_transaction_safe = true,
                (b'D', b'o') => qualifiers.exceptions = Exceptions::None,
                (b'D', b'O') => {
                    qualifiers.exceptions = Exceptions::NoneIf(self.expression()?);
                    self.require("E")?;
                }
                (b'D', b'w') => {
                    let types = self.list_until(|parser| parser.skip("E"), Self::read_type)?;
                    qualifiers.exceptions = Exceptions::Only(types);
                }
                _ => return None,
            }
        }
        self.skip("Y");
        self.with_conversion(false, |parser| {
            let result = parser.read_type()?;
            let parameters = parser.parameters()?;
            qualifiers.reference = parser.ref_qualifier();
            parser.require("E")?;
            parser.type_node(Type::Function {
                result,
                parameters,
                qualifiers,
            })
        })
    }

    /// ```text
    /// <array-type> ::= A <number> _ <element type>
    ///              ::= A [<dimension expression>] _ <element type>
    /// ```
    fn array_type(&mut self) -> Option<NodeId> {
        self.require("A")?;
        let dimension = match self.peek()? {
            b'_' => None,
            _ => Some(self.dimension()?),
        };
        self.require("_")?;
        let element = self.read_type()?;
        self.type_node(Type::Array { element, dimension })
    }

    /// A number or an expression.
    fn dimension(&mut self) -> Option<NodeId> {
        match self.digits()? {
            "" => self.expression(),
            digits => self.expression_node(Expression::Number(digits)),
        }
    }

    /// `<pointer-to-member-type> ::= M <class type> <member type>`
    fn pointer_to_member_type(&mut self) -> Option<NodeId> {
        self.require("M")?;
        let class = self.read_type()?;
        let member = self.read_type()?;
        self.type_node(Type::MemberPointer { class, member })
    }

    /// `<template-param>` or `<template-template-param> <template-args>`. In the type of a
    /// conversion operator the arguments may be those of the operator: they are the parameter's
    /// when others follow them.
    fn parameter_type(&mut self) -> Option<NodeId> {
        let parameter = self.template_parameter()?;
        if self.peek() != Some(b'I') {
            return Some(parameter);
        }
        let (position, substitutions) = (self.position, self.substitutions.len());
        if !self.is_conversion {
            self.substitutions.push(parameter);
            return self.template(parameter);
        }
        let arguments = self.template_arguments()?;
        if self.peek() == Some(b'I') {
            self.substitutions.push(parameter);
            return self.name_node(Name::Template {
                name: parameter,
                arguments,
            });
        }
        self.position = position;
        self.substitutions.truncate(substitutions);
        Some(parameter)
    }

    /// What begins with `D`:
    ///
    /// ```text
    /// <type> ::= <decltype>
    ///        ::= Dp <pattern type>
    ///        ::= <vector-type>
    ///        ::= <function-type>
    /// <builtin-type> ::= D <letter>
    ///                ::= DF <bits number> _
    ///                ::= DF <bits number> b
    ///                ::= DF <bits number> x
    ///                ::= DB <number or expression> _
    ///                ::= DU <number or expression> _
    ///                ::= Dk <type-constraint>
    ///                ::= DK <type-constraint>
    /// ```
    fn type_behind_d(&mut self) -> Option<Component> {
        let letter = self.peek_second()?;
        match letter {
            b't' | b'T' => return self.decltype().map(Component::New),
            b'o' | b'O' | b'w' | b'x' => {
                let function = self.function_type(Qualifiers::default());
                return function.map(Component::New);
            }
            _ => self.position += 2,
        }
        match letter {
            b'p' => {
                let pattern = self.read_type()?;
                self.type_node(Type::Expansion(pattern)).map(Component::New)
            }
            b'v' => self.vector_type().map(Component::New),
            b'F' => self.float_type().map(Component::Known),
            b'B' | b'U' => self.bit_integer_type(letter == b'U').map(Component::Known),
            b'k' => self.constrained_auto(" auto").map(Component::Known),
            b'K' => self
                .constrained_auto(" decltype(auto)")
                .map(Component::Known),
            _ => self.builtin_type(builtin_behind_d(letter)?),
        }
    }

    /// ```text
    /// <decltype> ::= Dt <expression> E
    ///            ::= DT <expression> E
    /// ```
    pub(super) fn decltype(&mut self) -> Option<NodeId> {
        self.position += 2;
        let expression = self.expression()?;
        self.require("E")?;
        self.type_node(Type::Decltype(expression))
    }

    /// ```text
    /// <vector-type> ::= Dv <number> _ <type>
    ///               ::= Dv _ <expression> _ <type>
    /// ```
    fn vector_type(&mut self) -> Option<NodeId> {
        let dimension = match self.skip("_") {
            true => self.expression()?,
            false => self.dimension()?,
        };
        self.require("_")?;
        let element = self.read_type()?;
        self.type_node(Type::Vector { element, dimension })
    }

    fn float_type(&mut self) -> Option<NodeId> {
        let bits = self.digits()?;
        match self.next()? {
            b'_' => self.type_node(Type::Float { bits, suffix: "" }),
            b'x' => self.type_node(Type::Float { bits, suffix: "x" }),
            b'b' if bits == "16" => self.type_node(Type::Builtin(&BFLOAT16)),
            _ => None,
        }
    }

    fn bit_integer_type(&mut self, is_unsigned: bool) -> Option<NodeId> {
        let bits = self.dimension()?;
        self.require("_")?;
        self.type_node(Type::BitInteger { bits, is_unsigned })
    }

    /// `<type-constraint> ::= <name>`
    fn constrained_auto(&mut self, words: &'static str) -> Option<NodeId> {
        let concept = self.name()?;
        self.type_node(Type::ConstrainedAuto { concept, words })
    }

    /// `<builtin-type> ::= u <source-name> [<template-args>]`
    fn vendor_type(&mut self) -> Option<NodeId> {
        self.require("u")?;
        let name = self.source_name()?;
        match self.peek() {
            Some(b'I') => self.template(name),
            _ => Some(name),
        }
    }

    /// `<extended-qualifier> ::= U <source-name> [<template-args>]`, and the type.
    fn vendor_qualified_type(&mut self) -> Option<NodeId> {
        self.require("U")?;
        let mut qualifier = self.source_name()?;
        if self.peek() == Some(b'I') {
            qualifier = self.template(qualifier)?;
        }
        let inner = self.read_type()?;
        self.type_node(Type::VendorQualified { inner, qualifier })
    }
}
