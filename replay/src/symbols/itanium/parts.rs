//! Which nodes a node is made of, as far as the packs of an expansion may be in them.

use super::tree::{Entity, Exceptions, Expression, List, Name, Node, NodeId, Tree, Type};

impl Tree<'_> {
    /// Calls `visit` with each part of `node` in which an expansion's packs may be. They are not
    /// in inner expansions, nor in lambdas.
    pub(super) fn visit_parts(&self, node: Node<'_>, visit: &mut dyn FnMut(NodeId)) {
        match node {
            Node::Name(name) => self.visit_parts_of_name(name, visit),
            Node::Entity(entity) => self.visit_parts_of_entity(entity, visit),
            Node::Type(of) => self.visit_parts_of_type(of, visit),
            Node::Expression(expression) => self.visit_parts_of_expression(expression, visit),
            Node::Pack(list) => self.visit_list(list, visit),
            Node::Declaration(_) => {}
        }
    }

    fn visit_list(&self, list: List, visit: &mut dyn FnMut(NodeId)) {
        for member in self.members(list) {
            visit(*member);
        }
    }

    fn visit_parts_of_name(&self, name: Name<'_>, visit: &mut dyn FnMut(NodeId)) {
        match name {
            Name::Nested { scope, name } => {
                visit(scope);
                visit(name);
            }
            Name::Local { function, name } => {
                visit(function);
                visit(name);
            }
            Name::Template { name, arguments } => {
                visit(name);
                self.visit_list(arguments, visit);
            }
            Name::Constructor(part)
            | Name::Destructor(part)
            | Name::Conversion(part)
            | Name::ExplicitObject(part)
            | Name::Member { name: part, .. }
            | Name::InModule { name: part, .. } => visit(part),
            Name::Source(_)
            | Name::Abbreviation(_)
            | Name::DefaultArgument { .. }
            | Name::Tagged { .. }
            | Name::Operator(_)
            | Name::VendorOperator(_)
            | Name::LiteralOperator(_)
            | Name::Lambda { .. }
            | Name::Unnamed(_)
            | Name::StructuredBinding(_)
            | Name::Module { .. } => {}
        }
    }

    fn visit_parts_of_entity(&self, entity: Entity, visit: &mut dyn FnMut(NodeId)) {
        match entity {
            Entity::Function {
                name,
                result,
                parameters,
                ..
            } => {
                visit(name);
                result.into_iter().for_each(&mut *visit);
                self.visit_list(parameters, visit);
            }
            Entity::Special { of, .. } => visit(of),
            Entity::ConstructionVtable { base, derived } => {
                visit(base);
                visit(derived);
            }
            Entity::ReferenceTemporary { name, .. } => visit(name),
        }
    }

    fn visit_parts_of_type(&self, of: Type<'_>, visit: &mut dyn FnMut(NodeId)) {
        match of {
            Type::Qualified { inner, .. }
            | Type::VendorQualified { inner, .. }
            | Type::Pointer(inner)
            | Type::Reference { target: inner, .. }
            | Type::Complex(inner)
            | Type::Imaginary(inner)
            | Type::Decltype(inner) => visit(inner),
            Type::Function {
                result,
                parameters,
                qualifiers,
            } => {
                visit(result);
                self.visit_list(parameters, visit);
                match qualifiers.exceptions {
                    Exceptions::NoneIf(condition) => visit(condition),
                    Exceptions::Only(types) => self.visit_list(types, visit),
                    Exceptions::Any | Exceptions::None => {}
                }
            }
            Type::Array { element, dimension } => {
                dimension.into_iter().for_each(&mut *visit);
                visit(element);
            }
            Type::MemberPointer { class, member } => {
                visit(class);
                visit(member);
            }
            Type::Vector { element, dimension } => {
                visit(dimension);
                visit(element);
            }
            Type::ConstrainedAuto { concept, .. } => visit(concept),
            Type::BitInteger { bits, .. } => visit(bits),
            Type::Builtin(_) | Type::Float { .. } => {}
            Type::Parameter(_) | Type::Expansion(_) => {}
        }
    }

    fn visit_parts_of_expression(&self, expression: Expression<'_>, visit: &mut dyn FnMut(NodeId)) {
        match expression {
            Expression::Number(_)
            | Expression::This
            | Expression::FunctionParameter(_)
            | Expression::Nullary(_) => {}
            Expression::Literal { of: part, .. }
            | Expression::Prefix { operand: part, .. }
            | Expression::Postfix { operand: part, .. }
            | Expression::Parenthesized { operand: part, .. }
            | Expression::Global(part)
            | Expression::PackLength(part) => visit(part),
            Expression::Infix { left, right, .. }
            | Expression::Index { left, right }
            | Expression::Call {
                callee: left,
                arguments: right,
            }
            | Expression::Cast {
                to: left,
                operand: right,
            }
            | Expression::NamedCast {
                to: left,
                operand: right,
                ..
            }
            | Expression::Field {
                field: left,
                value: right,
            } => {
                visit(left);
                visit(right);
            }
            Expression::Conditional { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(visit);
            }
            Expression::New {
                placement,
                of,
                initializer,
            } => {
                self.visit_list(placement, visit);
                visit(of);
                initializer.into_iter().for_each(visit);
            }
            Expression::Braced { of, elements } => {
                of.into_iter().for_each(&mut *visit);
                self.visit_list(elements, visit);
            }
            Expression::Arguments(list) | Expression::ArgumentCount(list) => {
                self.visit_list(list, visit);
            }
            Expression::Fold { left, right, .. } => {
                left.into_iter().chain(right).for_each(visit);
            }
            Expression::Element { first, last, value } => {
                visit(first);
                last.into_iter().for_each(&mut *visit);
                visit(value);
            }
        }
    }
}
