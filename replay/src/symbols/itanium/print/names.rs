//! Names.

use super::Printer;
use crate::symbols::itanium::operators::Operator;
use crate::symbols::itanium::tree::{List, Name, NodeId};

impl Printer<'_, '_> {
    pub(super) fn name(&mut self, name: Name<'_>) -> Option<()> {
        match name {
            Name::Source(text) | Name::Abbreviation(text) => self.push(text),
            Name::Nested { scope, name }
            | Name::Local {
                function: scope,
                name,
            } => {
                self.print(scope)?;
                self.push("::");
                return self.print(name);
            }
            Name::DefaultArgument { number, name } => {
                self.numbered("{default arg#", number.checked_add(1)?, "}::");
                return self.print(name);
            }
            Name::Tagged { name, tag } => {
                self.print(name)?;
                self.push("[abi:");
                self.push(tag);
                self.push("]");
            }
            Name::Template { name, arguments } => return self.template(name, arguments),
            Name::Constructor(class) => return self.print(class),
            Name::Destructor(class) => {
                self.push("~");
                return self.print(class);
            }
            Name::Operator(operator) => self.operator_name(operator),
            Name::VendorOperator(text) => {
                self.push("operator ");
                self.push(text);
            }
            Name::LiteralOperator(text) => {
                self.push("operator\"\" ");
                self.push(text);
            }
            Name::Conversion(of) => return self.conversion(of),
            Name::Lambda {
                head,
                parameters,
                number,
            } => return self.closure(head, parameters, number),
            Name::Unnamed(number) => self.numbered("{unnamed type#", number, "}"),
            Name::StructuredBinding(names) => {
                self.push("[");
                self.list(names)?;
                self.push("]");
            }
            Name::Module {
                parent,
                name,
                is_partition,
            } => return self.module(parent, name, is_partition),
            Name::InModule { name, module } => {
                self.print(name)?;
                self.push("@");
                return self.print(module);
            }
            Name::Member {
                name,
                qualifiers,
                reference: _,
            } => {
                self.print(name)?;
                self.qualifiers(qualifiers);
            }
            Name::ExplicitObject(name) => return self.print(name),
        }
        Some(())
    }

    pub(super) fn numbered(&mut self, before: &str, number: u32, behind: &str) {
        self.push(before);
        self.push_number(number);
        self.push(behind);
    }

    /// `operator type`: the type may be made of the arguments of the template that this is the name
    /// of.
    fn conversion(&mut self, of: NodeId) -> Option<()> {
        self.push("operator ");
        match self.template {
            Some(arguments) => {
                let scope = self.inner_scope(arguments)?;
                self.in_scope(Some(scope), |printer| printer.print(of))
            }
            None => self.print(of),
        }
    }

    /// `name<arguments>`, without `<<` and `>>` where they would be taken for operators.
    fn template(&mut self, name: NodeId, arguments: List) -> Option<()> {
        let outer = self.template.replace(arguments);
        self.print(name)?;
        if self.ends_with(b'<') {
            self.push(" ");
        }
        self.push("<");
        self.list(arguments)?;
        if self.ends_with(b'>') {
            self.push(" ");
        }
        self.push(">");
        self.template = outer;
        Some(())
    }

    /// `operator+`, `operator new[]`
    fn operator_name(&mut self, operator: &Operator) {
        self.push("operator");
        if operator
            .text
            .starts_with(|first: char| first.is_ascii_lowercase())
        {
            self.push(" ");
        }
        self.push(operator.text.trim_end());
    }

    fn module(&mut self, parent: Option<NodeId>, name: &str, is_partition: bool) -> Option<()> {
        if let Some(parent) = parent {
            self.print(parent)?;
        }
        match (is_partition, parent) {
            (true, _) => self.push(":"),
            (false, Some(_)) => self.push("."),
            (false, None) => {}
        }
        self.push(name);
        Some(())
    }
}
