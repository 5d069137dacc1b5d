//! Expressions in types and template arguments: `<expression>`.

use super::{Parser, Scopes};
use crate::symbols::itanium::operators::{Form, Operator, operator};
use crate::symbols::itanium::tree::{Expression, Name, NodeId, Type};

impl Parser<'_> {
    /// ```text
    /// <expression> ::= <operator-name> <expression>*
    ///              ::= <template-param>
    ///              ::= <function-param>
    ///              ::= <unresolved-name>
    ///              ::= <expr-primary>
    ///              ::= sp <expression>
    ///              ::= [gs] nw …, il …, tl …, cv …, and other productions below
    /// ```
    pub(super) fn expression(&mut self) -> Option<NodeId> {
        self.deeper(|parser| parser.with_conversion(false, Self::any_expression))
    }

    fn any_expression(&mut self) -> Option<NodeId> {
        match (self.peek()?, self.peek_second()) {
            (b'L', _) => self.expr_primary(),
            (b'T', _) => self.template_parameter(),
            (b's', Some(b'r')) => self.scoped_name(),
            (b's', Some(b'p')) => {
                self.position += 2;
                let pattern = self.expression()?;
                self.type_node(Type::Expansion(pattern))
            }
            (b'f', Some(b'p')) => self.function_parameter(),
            (b'f', Some(b'L')) if self.has_level() => self.function_parameter(),
            (b'f', Some(b'l' | b'r' | b'L' | b'R')) => self.fold(),
            (b'0'..=b'9', _) | (b'o', Some(b'n')) | (b'd', Some(b'n')) => self.simple_name(),
            (b'i', Some(b'l')) => {
                self.position += 2;
                self.braced(None)
            }
            (b't', Some(b'l')) => {
                self.position += 2;
                let of = self.read_type()?;
                self.braced(Some(of))
            }
            (b'c', Some(b'v')) => self.cast(),
            _ => {
                let operator = operator(self.rest())?;
                self.position += 2;
                self.operation(operator)
            }
        }
    }

    /// An operator's operands.
    fn operation(&mut self, operator: &'static Operator) -> Option<NodeId> {
        let operation = match operator.form {
            Form::Nullary => Expression::Nullary(operator),
            Form::Prefix => Expression::Prefix {
                operator,
                operand: self.expression()?,
            },
            Form::Step if self.skip("_") => Expression::Prefix {
                operator,
                operand: self.expression()?,
            },
            Form::Step => Expression::Postfix {
                operator,
                operand: self.expression()?,
            },
            Form::OfType => Expression::Parenthesized {
                operator,
                operand: self.read_type()?,
            },
            Form::OfExpression => Expression::Parenthesized {
                operator,
                operand: self.expression()?,
            },
            Form::Infix => Expression::Infix {
                operator,
                left: self.expression()?,
                right: self.expression()?,
            },
            Form::Member => Expression::Infix {
                operator,
                left: self.expression()?,
                right: self.member()?,
            },
            Form::Index => Expression::Index {
                left: self.expression()?,
                right: self.expression()?,
            },
            Form::Call => Expression::Call {
                callee: self.expression()?,
                arguments: self.arguments()?,
            },
            Form::NamedCast => Expression::NamedCast {
                operator,
                to: self.read_type()?,
                operand: self.expression()?,
            },
            Form::Conditional => Expression::Conditional {
                condition: self.expression()?,
                yes: self.expression()?,
                no: self.expression()?,
            },
            Form::New => return self.new_expression(),
            Form::PackLength => Expression::PackLength(self.expression()?),
            Form::ArgumentCount => Expression::ArgumentCount(self.arguments_until_end()?),
            Form::Global => Expression::Global(self.expression()?),
        };
        self.expression_node(operation)
    }

    /// `<expression>* E`
    fn arguments(&mut self) -> Option<NodeId> {
        let arguments = self.list_until(|parser| parser.skip("E"), Self::expression)?;
        self.expression_node(Expression::Arguments(arguments))
    }

    /// ```text
    /// <expression> ::= cv <type> <expression>
    ///              ::= cv <type> _ <expression>* E
    /// ```
    fn cast(&mut self) -> Option<NodeId> {
        self.require("cv")?;
        let to = self.read_type()?;
        let operand = match self.skip("_") {
            true => self.arguments()?,
            false => self.expression()?,
        };
        self.expression_node(Expression::Cast { to, operand })
    }

    /// ```text
    /// <expression> ::= [gs] nw <placement expression>* _ <type> E
    ///              ::= [gs] nw <placement expression>* _ <type> <initializer>
    ///              ::= [gs] na …
    /// <initializer> ::= pi <expression>* E
    ///               ::= il <braced-expression>* E
    /// ```
    fn new_expression(&mut self) -> Option<NodeId> {
        let placement = self.list_until(|parser| parser.skip("_"), Self::expression)?;
        let of = self.read_type()?;
        let initializer = if self.skip("E") {
            None
        } else if self.skip("pi") {
            Some(self.arguments()?)
        } else {
            self.require("il")?;
            Some(self.braced(None)?)
        };
        self.expression_node(Expression::New {
            placement,
            of,
            initializer,
        })
    }

    /// ```text
    /// <expression> ::= il <braced-expression>* E
    ///              ::= tl <type> <braced-expression>* E
    /// ```
    fn braced(&mut self, of: Option<NodeId>) -> Option<NodeId> {
        let elements = self.list_until(|parser| parser.skip("E"), Self::braced_expression)?;
        self.expression_node(Expression::Braced { of, elements })
    }

    /// ```text
    /// <braced-expression> ::= <expression>
    ///                     ::= di <field source-name> <braced-expression>
    ///                     ::= dx <index expression> <braced-expression>
    ///                     ::= dX <expression> <expression> <braced-expression>
    /// ```
    fn braced_expression(&mut self) -> Option<NodeId> {
        self.deeper(|parser| {
            let (first, last) = if parser.skip("di") {
                let field = parser.source_name()?;
                let value = parser.braced_expression()?;
                return parser.expression_node(Expression::Field { field, value });
            } else if parser.skip("dx") {
                (parser.expression()?, None)
            } else if parser.skip("dX") {
                (parser.expression()?, Some(parser.expression()?))
            } else {
                return parser.expression();
            };
            let value = parser.braced_expression()?;
            parser.expression_node(Expression::Element { first, last, value })
        })
    }

    /// ```text
    /// <fold-expression> ::= fl <operator-name> <expression>
    ///                   ::= fr <operator-name> <expression>
    ///                   ::= fL <operator-name> <expression> <expression>
    ///                   ::= fR <operator-name> <expression> <expression>
    /// ```
    fn fold(&mut self) -> Option<NodeId> {
        self.position += 1;
        let kind = self.next()?;
        let operator = operator(self.rest())?;
        self.position += 2;
        let first = self.expression()?;
        let (left, right) = match kind {
            b'l' => (None, Some(first)),
            b'r' => (Some(first), None),
            _ => (Some(first), Some(self.expression()?)),
        };
        self.expression_node(Expression::Fold {
            operator,
            left,
            right,
        })
    }

    /// True where the level of a `<function-param>` comes behind `fL`, and no operator.
    fn has_level(&self) -> bool {
        self.rest().get(2).is_some_and(u8::is_ascii_digit)
    }

    /// ```text
    /// <function-param> ::= fp <CV-qualifiers> [<parameter number>] _
    ///                  ::= fL <level number> p <CV-qualifiers> [<parameter number>] _
    ///                  ::= fpT                     # this
    /// ```
    fn function_parameter(&mut self) -> Option<NodeId> {
        if self.skip("fpT") {
            return self.expression_node(Expression::This);
        }
        if self.skip("fL") {
            self.digits()?;
            self.require("p")?;
        } else {
            self.require("fp")?;
        }
        self.cv_qualifiers();
        let number = self.compact_number()?.checked_add(1)?;
        self.expression_node(Expression::FunctionParameter(number))
    }

    /// A name in a scope that only an instantiation tells.
    ///
    /// ```text
    /// <unresolved-name> ::= sr <unresolved-type> <base-unresolved-name>
    ///                   ::= srN <unresolved-type> <unresolved-qualifier-level>+ E
    ///                       <base-unresolved-name>
    ///                   ::= sr <unresolved-qualifier-level>+ E <base-unresolved-name>
    /// <unresolved-qualifier-level> ::= <simple-id>
    /// ```
    ///
    /// What stands between `N` and `E` reads as a `<nested-name>` does. GCC writes any type in the
    /// place of the third form's names, without `E`.
    fn scoped_name(&mut self) -> Option<NodeId> {
        self.require("sr")?;
        let begins_with_name = self.peek()?.is_ascii_digit();
        self.has_scoped_names |= begins_with_name;
        let scope = match self.scopes {
            Scopes::AsNames if begins_with_name => self.qualifier_levels()?,
            _ => self.read_type()?,
        };
        let name = self.simple_name()?;
        self.name_node(Name::Nested { scope, name })
    }

    /// `<unresolved-qualifier-level>+ E`
    fn qualifier_levels(&mut self) -> Option<NodeId> {
        let mut scope = None;
        while !self.skip("E") {
            let name = self.simple_name()?;
            scope = Some(self.nested_in(scope, name)?);
        }
        scope
    }

    /// ```text
    /// <base-unresolved-name> ::= <simple-id>
    ///                        ::= on <operator-name> [<template-args>]
    ///                        ::= dn <destructor-name>
    /// <simple-id> ::= <source-name> [<template-args>]
    /// <destructor-name> ::= <unresolved-type>
    ///                   ::= <simple-id>
    /// ```
    fn simple_name(&mut self) -> Option<NodeId> {
        if self.skip("dn") {
            let class = match self.peek()? {
                b'0'..=b'9' => self.deeper(Self::simple_name)?,
                _ => self.read_type()?,
            };
            return self.name_node(Name::Destructor(class));
        }
        let name = self.unqualified_name(None, None)?;
        match self.peek() {
            Some(b'I') => self.template(name),
            _ => Some(name),
        }
    }

    /// What follows `.` and `->`: `<unresolved-name>`.
    fn member(&mut self) -> Option<NodeId> {
        match (self.peek()?, self.peek_second()) {
            (b's', Some(b'r')) => self.scoped_name(),
            (b'g', Some(b's')) => self.expression(),
            _ => self.simple_name(),
        }
    }
}
