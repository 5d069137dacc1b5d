//! What a mangled name says, as a tree in one arena: nodes know each other by number, so that a
//! substitution is a number used twice. A tree that stands for an enormous text stays small; it is
//! the printer that bounds the text.

use super::operators::Operator;

/// A node's place in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

/// A run of nodes in a [`Tree`]: parameters, arguments, elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    start: u32,
    length: u32,
}

impl List {
    /// How many nodes.
    pub(super) fn len(self) -> u32 {
        self.length
    }

    /// True without nodes.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The nodes and lists of one mangled name.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    members: Vec<NodeId>,
}

impl<'a> Tree<'a> {
    /// A tree with room for what `bytes` of a mangled name usually say.
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(bytes),
            members: Vec::with_capacity(bytes / 2),
        }
    }

    /// Adds `node`. `None` when there are too many.
    pub(super) fn add(&mut self, node: Node<'a>) -> Option<NodeId> {
        let id = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(node);
        Some(NodeId(id))
    }

    /// The node `id`.
    pub(super) fn get(&self, id: NodeId) -> Option<Node<'a>> {
        self.nodes.get(id.0 as usize).copied()
    }

    /// Adds a list of `members`.
    pub(super) fn add_list(&mut self, members: impl Iterator<Item = NodeId>) -> Option<List> {
        let start = u32::try_from(self.members.len()).ok()?;
        self.members.extend(members);
        let end = u32::try_from(self.members.len()).ok()?;
        let length = end.checked_sub(start)?;
        Some(List { start, length })
    }

    /// The nodes of `list`.
    pub(super) fn members(&self, list: List) -> &[NodeId] {
        let start = list.start as usize;
        self.members
            .get(start..start + list.length as usize)
            .unwrap_or_default()
    }

    /// The template arguments at the end of a function's name: what template parameters in its
    /// type stand for.
    pub(super) fn template_arguments(&self, mut name: NodeId) -> Option<List> {
        loop {
            name = match self.get(name)? {
                Node::Name(Name::Template { arguments, .. }) => return Some(arguments),
                Node::Name(
                    Name::Local { name, .. }
                    | Name::DefaultArgument { name, .. }
                    | Name::Member { name, .. }
                    | Name::ExplicitObject(name),
                ) => name,
                _ => return None,
            }
        }
    }
}

/// One node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    /// What something is called.
    Name(Name<'a>),
    /// What a whole mangled name stands for.
    Entity(Entity),
    /// A type.
    Type(Type<'a>),
    /// An expression.
    Expression(Expression<'a>),
    /// An argument pack: several template arguments in the place of one.
    Pack(List),
    /// What stands in the head of a lambda's template: its parameters.
    Declaration(Declaration),
}

/// What something is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'a> {
    /// An identifier.
    Source(&'a str),
    /// An abbreviation for a name in `std`.
    Abbreviation(&'static str),
    /// `scope::name`
    Nested { scope: NodeId, name: NodeId },
    /// `function::name`, where the function is an encoding.
    Local { function: NodeId, name: NodeId },
    /// `{default arg#number}::name`
    DefaultArgument { number: u32, name: NodeId },
    /// `name[abi:tag]`
    Tagged { name: NodeId, tag: &'a str },
    /// `name<arguments>`
    Template { name: NodeId, arguments: List },
    /// A constructor of the class of this name.
    Constructor(NodeId),
    /// `~name`
    Destructor(NodeId),
    /// `operator+`
    Operator(&'static Operator),
    /// `operator name`, of a vendor's own.
    VendorOperator(&'a str),
    /// `operator"" name`
    LiteralOperator(&'a str),
    /// `operator type`
    Conversion(NodeId),
    /// `{lambda(parameters)#number}`
    Lambda {
        head: List,
        parameters: List,
        number: u32,
    },
    /// `{unnamed type#number}`
    Unnamed(u32),
    /// `[a, b]`
    StructuredBinding(List),
    /// `parent.name` or `parent:name`, of a module or its partition.
    Module {
        parent: Option<NodeId>,
        name: &'a str,
        is_partition: bool,
    },
    /// `name@module`
    InModule { name: NodeId, module: NodeId },
    /// A member function's name with the qualifiers of `this`.
    Member {
        name: NodeId,
        qualifiers: Qualifiers,
        reference: Option<Reference>,
    },
    /// A member function whose object is its first parameter.
    ExplicitObject(NodeId),
}

/// What a whole mangled name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entity {
    /// A function with its parameters.
    Function {
        name: NodeId,
        result: Option<NodeId>,
        parameters: List,
        requirement: Option<NodeId>,
    },
    /// `vtable for …`, `guard variable for …` and their like.
    Special { words: &'static str, of: NodeId },
    /// `construction vtable for base-in-derived`
    ConstructionVtable { base: NodeId, derived: NodeId },
    /// `reference temporary #number for name`
    ReferenceTemporary { name: NodeId, number: u32 },
}

/// `const`, `volatile` and `restrict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Qualifiers {
    pub(super) is_const: bool,
    pub(super) is_volatile: bool,
    pub(super) is_restrict: bool,
}

impl Qualifiers {
    /// True when there are none.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Those that `other` lacks.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            is_const: self.is_const && !other.is_const,
            is_volatile: self.is_volatile && !other.is_volatile,
            is_restrict: self.is_restrict && !other.is_restrict,
        }
    }

    /// Those of either.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            is_const: self.is_const || other.is_const,
            is_volatile: self.is_volatile || other.is_volatile,
            is_restrict: self.is_restrict || other.is_restrict,
        }
    }
}

/// The two kinds of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// `&`
    Left,
    /// `&&`
    Right,
}

/// What a function type says of exceptions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exceptions {
    /// Nothing.
    Any,
    /// `noexcept`
    None,
    /// `noexcept(condition)`
    NoneIf(NodeId),
    /// `throw(types)`
    Only(List),
}

/// What stands behind the parameters of a function type.
#[derive(Clone, Copy, Debug)]
pub(super) struct FunctionQualifiers {
    pub(super) this: Qualifiers,
    pub(super) reference: Option<Reference>,
    pub(super) exceptions: Exceptions,
    pub(super) is_transaction_safe: bool,
}

/// A type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'a> {
    /// A type of the language.
    Builtin(&'static Builtin),
    /// `_Float32`, `_Float64x`: bits and what follows them.
    Float { bits: &'a str, suffix: &'static str },
    /// `_BitInt(bits)`
    BitInteger { bits: NodeId, is_unsigned: bool },
    /// `T_`, `T0_`, …
    Parameter(u32),
    /// `inner const`
    Qualified {
        inner: NodeId,
        qualifiers: Qualifiers,
    },
    /// `inner qualifier`, of a vendor's own.
    VendorQualified { inner: NodeId, qualifier: NodeId },
    /// `target*`
    Pointer(NodeId),
    /// `target&` or `target&&`
    Reference { target: NodeId, kind: Reference },
    /// `inner _Complex`
    Complex(NodeId),
    /// `inner _Imaginary`
    Imaginary(NodeId),
    /// `result (parameters)`
    Function {
        result: NodeId,
        parameters: List,
        qualifiers: FunctionQualifiers,
    },
    /// `element [dimension]`
    Array {
        element: NodeId,
        dimension: Option<NodeId>,
    },
    /// `member class::*`
    MemberPointer { class: NodeId, member: NodeId },
    /// `element __vector(dimension)`
    Vector { element: NodeId, dimension: NodeId },
    /// `decltype (expression)`
    Decltype(NodeId),
    /// A pattern for each element of the packs in it; of types or expressions.
    Expansion(NodeId),
    /// `auto` whose type a concept constrains.
    ConstrainedAuto {
        concept: NodeId,
        words: &'static str,
    },
}

/// A type of the language.
#[derive(Debug)]
pub(super) struct Builtin {
    /// As programs write it.
    pub(super) name: &'static str,
    /// How its literals are written.
    pub(super) literal: LiteralForm,
}

/// How literals of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiteralForm {
    /// `(type)value`
    Cast,
    /// `value` and this.
    Suffix(&'static str),
    /// `false` and `true`
    Boolean,
    /// `(type)[bytes]`
    Float,
}

/// An expression.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expression<'a> {
    /// A value of a type, with its sign.
    Literal {
        of: NodeId,
        is_negative: bool,
        value: &'a str,
    },
    /// Digits.
    Number(&'a str),
    /// `this`
    This,
    /// `{parm#number}`
    FunctionParameter(u32),
    /// An operator without operands.
    Nullary(&'static Operator),
    /// An operator before its operand.
    Prefix {
        operator: &'static Operator,
        operand: NodeId,
    },
    /// An operator behind its operand.
    Postfix {
        operator: &'static Operator,
        operand: NodeId,
    },
    /// `sizeof (operand)` and its like, which always have parentheses.
    Parenthesized {
        operator: &'static Operator,
        operand: NodeId,
    },
    /// `::operand`
    Global(NodeId),
    /// An operator between its operands.
    Infix {
        operator: &'static Operator,
        left: NodeId,
        right: NodeId,
    },
    /// `left[right]`
    Index { left: NodeId, right: NodeId },
    /// `callee(arguments)`
    Call { callee: NodeId, arguments: NodeId },
    /// `condition?yes : no`
    Conditional {
        condition: NodeId,
        yes: NodeId,
        no: NodeId,
    },
    /// `(to)operand`
    Cast { to: NodeId, operand: NodeId },
    /// `static_cast<to>(operand)`
    NamedCast {
        operator: &'static Operator,
        to: NodeId,
        operand: NodeId,
    },
    /// `new (placement) of initializer`
    New {
        placement: List,
        of: NodeId,
        initializer: Option<NodeId>,
    },
    /// `of{elements}`
    Braced { of: Option<NodeId>, elements: List },
    /// Several expressions, as arguments.
    Arguments(List),
    /// `(left operator ... operator right)`
    Fold {
        operator: &'static Operator,
        left: Option<NodeId>,
        right: Option<NodeId>,
    },
    /// The length of the pack in an expression.
    PackLength(NodeId),
    /// How many template arguments there are.
    ArgumentCount(List),
    /// `.field=value`
    Field { field: NodeId, value: NodeId },
    /// `[first]=value` or `[first ... last]=value`
    Element {
        first: NodeId,
        last: Option<NodeId>,
        value: NodeId,
    },
}

/// A template parameter in the head of a lambda.
#[derive(Clone, Copy, Debug)]
pub(super) enum Declaration {
    /// `typename`
    Type,
    /// A type that a concept constrains.
    Constrained(NodeId),
    /// A value of a type.
    Value(NodeId),
    /// `template<parameters> class`
    Template(List),
    /// Any number of these.
    Pack(NodeId),
}
