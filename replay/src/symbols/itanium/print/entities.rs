//! Functions with their parameters, and what compilers make for them.

use super::Printer;
use crate::symbols::itanium::tree::{
    Entity, Exceptions, FunctionQualifiers, List, Name, Node, NodeId, Qualifiers, Reference,
};

impl Printer<'_, '_> {
    pub(super) fn entity(&mut self, entity: Entity) -> Option<()> {
        match entity {
            Entity::Function {
                name,
                result,
                parameters,
                requirement,
            } => self.function(name, result, parameters, requirement),
            Entity::Special { words, of } => {
                self.push(words);
                self.print(of)
            }
            Entity::ConstructionVtable { base, derived } => {
                self.push("construction vtable for ");
                self.print(base)?;
                self.push("-in-");
                self.print(derived)
            }
            Entity::ReferenceTemporary { name, number } => {
                self.push("reference temporary #");
                self.push_number(number);
                self.push(" for ");
                self.print(name)
            }
        }
    }

    /// `result name(parameters)`. The qualifiers of a member function's name go behind the
    /// parameters.
    fn function(
        &mut self,
        name: NodeId,
        result: Option<NodeId>,
        parameters: List,
        requirement: Option<NodeId>,
    ) -> Option<()> {
        let outer_element = self.element.take();
        let outer = self.scope;
        let inner = match self.tree.template_arguments(name) {
            Some(arguments) => Some(self.inner_scope(arguments)?),
            None => outer,
        };
        if let Some(result) = result {
            self.in_scope(inner, |printer| printer.result_left(result))?;
        }
        let (name, this, reference, object) = match self.tree.get(name)? {
            Node::Name(Name::Member {
                name,
                qualifiers,
                reference,
            }) => (name, qualifiers, reference, ""),
            Node::Name(Name::ExplicitObject(name)) => (name, Qualifiers::default(), None, "this "),
            _ => (name, Qualifiers::default(), None, ""),
        };
        self.print(name)?;
        self.push("(");
        if !parameters.is_empty() {
            self.push(object);
        }
        self.in_scope(inner, |printer| printer.list(parameters))?;
        self.push(")");
        self.qualifiers(this);
        self.function_reference(reference);
        if let Some(result) = result {
            self.in_scope(inner, |printer| printer.right(result))?;
        }
        if let Some(requirement) = requirement {
            self.push(" requires ");
            self.in_scope(inner, |printer| printer.print(requirement))?;
        }
        self.element = outer_element;
        Some(())
    }

    /// What stands before a function's name of the type that it returns, and a space where there
    /// is none: `int `, `void (*`.
    pub(super) fn result_left(&mut self, result: NodeId) -> Option<()> {
        self.left(result)?;
        if !self.has_right(result)? {
            self.push(" ");
        }
        Some(())
    }

    /// ` const volatile restrict`
    pub(super) fn qualifiers(&mut self, qualifiers: Qualifiers) {
        for (is_there, text) in [
            (qualifiers.is_const, " const"),
            (qualifiers.is_volatile, " volatile"),
            (qualifiers.is_restrict, " restrict"),
        ] {
            if is_there {
                self.push(text);
            }
        }
    }

    fn function_reference(&mut self, reference: Option<Reference>) {
        self.push(match reference {
            Some(Reference::Left) => " &",
            Some(Reference::Right) => " &&",
            None => "",
        });
    }

    /// What stands behind the parameters of a function type.
    pub(super) fn function_qualifiers(&mut self, qualifiers: FunctionQualifiers) -> Option<()> {
        if qualifiers.is_transaction_safe {
            self.push(" transaction_safe");
        }
        match qualifiers.exceptions {
            Exceptions::Any => {}
            Exceptions::None => self.push(" noexcept"),
            Exceptions::NoneIf(condition) => {
                self.push(" noexcept(");
                self.print(condition)?;
                self.push(")");
            }
            Exceptions::Only(types) => {
                self.push(" throw(");
                self.list(types)?;
                self.push(")");
            }
        }
        self.qualifiers(qualifiers.this);
        self.function_reference(qualifiers.reference);
        Some(())
    }
}
