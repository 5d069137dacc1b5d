//! Lambdas, with what their parameters are called.

use super::Printer;
use crate::symbols::itanium::tree::{Declaration, List, Node, NodeId};

impl Printer<'_, '_> {
    /// `{lambda<typename $T0>($T0, int)#1}`
    pub(super) fn closure(&mut self, head: List, parameters: List, number: u32) -> Option<()> {
        self.push("{lambda");
        let outer = self.lambda.replace(head);
        if !head.is_empty() {
            self.lambda_head(head)?;
        }
        self.push("(");
        self.list(parameters)?;
        self.lambda = outer;
        self.numbered(")#", number, "}");
        Some(())
    }

    /// A lambda's parameter whose type is a template's: `auto:1`, or the name that stands in the
    /// head of the lambda.
    pub(super) fn lambda_parameter(&mut self, index: u32, head: List) -> Option<()> {
        let declared = self.tree.members(head).get(index as usize).copied();
        match declared {
            Some(declaration) => self.declared_name(declaration, index),
            None => {
                self.push("auto:");
                self.push_number(index.checked_add(1)?);
                Some(())
            }
        }
    }

    /// `$T0`, `$N1`, `$TT2`
    fn declared_name(&mut self, declaration: NodeId, index: u32) -> Option<()> {
        let Node::Declaration(declaration) = self.tree.get(declaration)? else {
            return None;
        };
        match declaration {
            Declaration::Type | Declaration::Constrained(_) => self.push("$T"),
            Declaration::Value(_) => self.push("$N"),
            Declaration::Template(_) => self.push("$TT"),
            Declaration::Pack(of) => {
                return self.deeper(of, |printer| printer.declared_name(of, index));
            }
        }
        self.push_number(index);
        Some(())
    }

    /// The head of a lambda: `<typename $T0, int $N1>`.
    fn lambda_head(&mut self, head: List) -> Option<()> {
        let tree = self.tree;
        self.push("<");
        for (index, declaration) in (0..).zip(tree.members(head)) {
            if index > 0 {
                self.push(", ");
            }
            self.declaration(*declaration)?;
            self.push(" ");
            self.declared_name(*declaration, index)?;
        }
        self.push(">");
        Some(())
    }

    fn declaration(&mut self, id: NodeId) -> Option<()> {
        let Node::Declaration(declaration) = self.tree.get(id)? else {
            return None;
        };
        self.deeper(id, |printer| {
            match declaration {
                Declaration::Type => printer.push("typename"),
                Declaration::Constrained(concept) => printer.print(concept)?,
                Declaration::Value(of) => printer.print(of)?,
                Declaration::Template(parameters) => printer.template_declaration(parameters)?,
                Declaration::Pack(of) => {
                    printer.declaration(of)?;
                    printer.push("...");
                }
            }
            Some(())
        })
    }

    fn template_declaration(&mut self, parameters: List) -> Option<()> {
        let tree = self.tree;
        self.push("template<");
        for (index, parameter) in tree.members(parameters).iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.declaration(*parameter)?;
        }
        self.push("> class");
        Some(())
    }
}
