//! Types, in two halves: what stands before a name that is declared with them, and what stands
//! behind.

use super::Printer;
use super::parameters::Scoped;
use crate::symbols::itanium::tree::{Node, NodeId, Qualifiers, Reference, Type};

/// What a pointer points to, as far as that decides where its star goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The star goes behind it.
    Plain,
    /// The star goes before its parameters, in parentheses.
    Function,
    /// The star goes before its brackets, in parentheses.
    Array,
}

impl Type<'_> {
    /// False where nothing stands behind a name that is declared with this type, whatever it is
    /// made of.
    pub(super) fn may_have_right(self) -> bool {
        match self {
            Type::Builtin(_)
            | Type::Float { .. }
            | Type::BitInteger { .. }
            | Type::Decltype(_)
            | Type::Expansion(_)
            | Type::ConstrainedAuto { .. } => false,
            Type::Parameter(_)
            | Type::Qualified { .. }
            | Type::VendorQualified { .. }
            | Type::Pointer(_)
            | Type::Reference { .. }
            | Type::Complex(_)
            | Type::Imaginary(_)
            | Type::Function { .. }
            | Type::Array { .. }
            | Type::MemberPointer { .. }
            | Type::Vector { .. } => true,
        }
    }
}

impl Printer<'_, '_> {
    pub(super) fn type_left(&mut self, of: Type<'_>) -> Option<()> {
        match of {
            Type::Builtin(builtin) => self.push(builtin.name),
            Type::Float { bits, suffix } => {
                self.push("_Float");
                self.push(bits);
                self.push(suffix);
            }
            Type::BitInteger { bits, is_unsigned } => {
                self.push(if is_unsigned {
                    "unsigned _BitInt("
                } else {
                    "_BitInt("
                });
                self.print(bits)?;
                self.push(")");
            }
            Type::Parameter(index) => return self.parameter_left(index),
            Type::Qualified { inner, qualifiers } => return self.qualified(inner, qualifiers),
            Type::VendorQualified { inner, qualifier } => {
                self.left(inner)?;
                self.push(" ");
                return self.print(qualifier);
            }
            Type::Pointer(target) => return self.pointer_left(target, "*"),
            Type::Reference { target, kind } => {
                let (target, kind) = self.collapsed(target, kind)?;
                let sign = match kind {
                    Reference::Left => "&",
                    Reference::Right => "&&",
                };
                return self.in_scope(target.scope, |printer| {
                    printer.pointer_left(target.id, sign)
                });
            }
            Type::Complex(inner) => {
                self.left(inner)?;
                self.push(" _Complex");
            }
            Type::Imaginary(inner) => {
                self.left(inner)?;
                self.push(" _Imaginary");
            }
            Type::Function { result, .. } => return self.result_left(result),
            Type::Array { element, .. } => return self.left(element),
            Type::MemberPointer { class, member } => return self.member_left(class, member),
            Type::Vector { element, dimension } => {
                self.left(element)?;
                self.push(" __vector(");
                self.print(dimension)?;
                self.push(")");
            }
            Type::Decltype(expression) => {
                self.push("decltype (");
                self.print(expression)?;
                self.push(")");
            }
            Type::Expansion(pattern) => return self.expansion(pattern),
            Type::ConstrainedAuto { concept, words } => {
                self.print(concept)?;
                self.push(words);
            }
        }
        Some(())
    }

    pub(super) fn type_right(&mut self, of: Type<'_>) -> Option<()> {
        match of {
            Type::Parameter(index) => self.parameter_right(index),
            Type::Qualified { inner, .. }
            | Type::VendorQualified { inner, .. }
            | Type::Complex(inner)
            | Type::Imaginary(inner)
            | Type::Vector { element: inner, .. } => self.right(inner),
            Type::Pointer(target) => self.pointer_right(target),
            Type::Reference { target, kind } => {
                let (target, _) = self.collapsed(target, kind)?;
                self.in_scope(target.scope, |printer| printer.pointer_right(target.id))
            }
            Type::MemberPointer { member, .. } => self.pointer_right(member),
            Type::Function {
                result,
                parameters,
                qualifiers,
            } => {
                self.push("(");
                self.list(parameters)?;
                self.push(")");
                self.function_qualifiers(qualifiers)?;
                self.right(result)
            }
            Type::Array { element, dimension } => self.array_right(element, dimension),
            Type::Builtin(_)
            | Type::Float { .. }
            | Type::BitInteger { .. }
            | Type::Decltype(_)
            | Type::Expansion(_)
            | Type::ConstrainedAuto { .. } => Some(()),
        }
    }

    /// `inner const`, with each qualifier once: what an argument or the elements of an array have
    /// already is not repeated.
    fn qualified(&mut self, inner: NodeId, qualifiers: Qualifiers) -> Option<()> {
        self.left(inner)?;
        let inner = self.qualifiers_of(inner)?;
        self.qualifiers(qualifiers.without(inner));
        Some(())
    }

    fn qualifiers_of(&mut self, id: NodeId) -> Option<Qualifiers> {
        let mut found = Qualifiers::default();
        let mut at = self.here(id);
        loop {
            at = self.resolved(at)?;
            at.id = match self.tree.get(at.id)? {
                Node::Type(Type::Qualified { inner, qualifiers }) => {
                    found = found.and(qualifiers);
                    inner
                }
                Node::Type(Type::Array { element, .. }) => element,
                _ => return Some(found),
            };
        }
    }

    fn here(&self, id: NodeId) -> Scoped {
        let scope = self.scope;
        Scoped { id, scope }
    }

    /// Everything of a pointer or reference up to its sign.
    fn pointer_left(&mut self, target: NodeId, sign: &str) -> Option<()> {
        self.left(target)?;
        match self.target(target)? {
            Target::Plain => {}
            Target::Function => {
                if !(self.ends_with(b'(') || self.ends_with(b'*') || self.ends_with(b' ')) {
                    self.push(" ");
                }
                self.push("(");
            }
            Target::Array => self.push(" ("),
        }
        self.push(sign);
        Some(())
    }

    fn pointer_right(&mut self, target: NodeId) -> Option<()> {
        if self.target(target)? != Target::Plain {
            self.push(")");
        }
        self.right(target)
    }

    /// `int class::*`, `void (class::*`
    fn member_left(&mut self, class: NodeId, member: NodeId) -> Option<()> {
        self.left(member)?;
        match self.target(member)? {
            Target::Plain => self.push(" "),
            Target::Function => self.push(if self.ends_with(b' ') { "(" } else { " (" }),
            Target::Array => self.push(" ("),
        }
        self.print(class)?;
        self.push("::*");
        Some(())
    }

    /// ` [dimension]`; of an array of arrays only the first dimension has a space.
    fn array_right(&mut self, element: NodeId, dimension: Option<NodeId>) -> Option<()> {
        self.push(" ");
        self.brackets(dimension)?;
        let mut at = self.here(element);
        loop {
            at = self.resolved(at)?;
            at.id = match self.tree.get(at.id)? {
                Node::Type(Type::Array { element, dimension }) => {
                    self.in_scope(at.scope, |printer| printer.brackets(dimension))?;
                    element
                }
                Node::Type(Type::Qualified { inner, .. }) => inner,
                _ => return self.in_scope(at.scope, |printer| printer.right(at.id)),
            };
        }
    }

    fn brackets(&mut self, dimension: Option<NodeId>) -> Option<()> {
        self.push("[");
        if let Some(dimension) = dimension {
            self.print(dimension)?;
        }
        self.push("]");
        Some(())
    }

    /// What `id` is for a pointer to it.
    fn target(&mut self, id: NodeId) -> Option<Target> {
        let mut at = self.here(id);
        loop {
            at = self.resolved(at)?;
            match self.tree.get(at.id)? {
                Node::Type(Type::Function { .. }) => return Some(Target::Function),
                Node::Type(Type::Array { .. }) => return Some(Target::Array),
                Node::Type(Type::Qualified { inner, .. }) => at.id = inner,
                _ => return Some(Target::Plain),
            }
        }
    }

    /// True when something of the type `id` stands behind a name that is declared with it.
    pub(super) fn has_right(&mut self, id: NodeId) -> Option<bool> {
        let mut at = self.here(id);
        loop {
            at = self.resolved(at)?;
            match self.tree.get(at.id)? {
                Node::Type(Type::Function { .. } | Type::Array { .. }) => return Some(true),
                Node::Type(
                    Type::Qualified { inner, .. }
                    | Type::VendorQualified { inner, .. }
                    | Type::Pointer(inner)
                    | Type::Reference { target: inner, .. }
                    | Type::Complex(inner)
                    | Type::Imaginary(inner)
                    | Type::Vector { element: inner, .. }
                    | Type::MemberPointer { member: inner, .. },
                ) => at.id = inner,
                _ => return Some(false),
            }
        }
    }
}
