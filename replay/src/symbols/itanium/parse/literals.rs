//! Values in expressions and template arguments: `<expr-primary>`.

use super::Parser;
use super::encoding::Results;
use crate::symbols::itanium::tree::{Expression, Node, NodeId, Type};

impl Parser<'_> {
    /// ```text
    /// <expr-primary> ::= L <type> <value number> E
    ///                ::= L <type> <value float> E
    ///                ::= L <nullptr type> E
    ///                ::= L <mangled-name> E
    /// ```
    pub(super) fn expr_primary(&mut self) -> Option<NodeId> {
        self.require("L")?;
        // Older compilers leave the underscore out.
        let value = match self.skip("_Z") || self.skip("Z") {
            true => self.encoding(Results::Shown)?,
            false => self.literal()?,
        };
        self.require("E")?;
        Some(value)
    }

    fn literal(&mut self) -> Option<NodeId> {
        let of = self.read_type()?;
        if self.peek() == Some(b'E') && self.is_null_pointer_type(of) {
            return Some(of);
        }
        let is_negative = self.skip("n");
        let start = self.position;
        while self.peek()? != b'E' {
            self.position += 1;
        }
        let value = self.since(start).filter(|value| !value.is_empty())?;
        self.expression_node(Expression::Literal {
            of,
            is_negative,
            value,
        })
    }

    fn is_null_pointer_type(&self, id: NodeId) -> bool {
        let node = self.tree.get(id);
        matches!(
            node,
            Some(Node::Type(Type::Builtin(builtin))) if builtin.name == "decltype(nullptr)"
        )
    }
}
