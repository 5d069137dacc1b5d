//! Whole mangled names: functions and data.

use super::Parser;
use crate::symbols::itanium::tree::{Entity, List, Name, Node, NodeId, Type};

/// Whether the type that a function returns is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Results {
    /// It is.
    Shown,
    /// It is not: it would be taken for that of what is local to the function.
    Hidden,
}

impl Parser<'_> {
    /// `<mangled-name> ::= _Z <encoding>`, with the second underscore of some systems.
    pub(super) fn mangled_name(&mut self) -> Option<NodeId> {
        self.skip("_");
        self.skip("_");
        self.require("Z")?;
        self.encoding(Results::Hidden)
    }

    /// ```text
    /// <encoding> ::= <function name> <bare-function-type> [Q <requires-clause expression>]
    ///            ::= <data name>
    ///            ::= <special-name>
    /// ```
    pub(super) fn encoding(&mut self, results: Results) -> Option<NodeId> {
        self.deeper(|parser| match parser.peek()? {
            b'G' | b'T' => parser.special_name(),
            _ => parser.function_or_data(results),
        })
    }

    fn function_or_data(&mut self, results: Results) -> Option<NodeId> {
        let name = self.with_conversion(false, Self::name)?;
        if matches!(self.peek(), None | Some(b'E' | b'.')) {
            return Some(name);
        }
        let is_template = self.tree.template_arguments(name).is_some();
        self.with_conversion(false, |parser| {
            let returns = parser.skip("J") || is_template && !parser.is_nameless(name);
            let result = match returns {
                true => Some(parser.read_type()?),
                false => None,
            };
            let parameters = parser.parameters()?;
            let requirement = match parser.skip("Q") {
                true => Some(parser.expression()?),
                false => None,
            };
            parser.entity_node(Entity::Function {
                name,
                result: result.filter(|_| results == Results::Shown),
                parameters,
                requirement,
            })
        })
    }

    /// `<bare-function-type> ::= <signature type>+`, without the type that is returned. `void`
    /// alone says that there are none.
    pub(super) fn parameters(&mut self) -> Option<List> {
        let list = self.list_until(Self::is_end_of_parameters, Self::read_type)?;
        match *self.tree.members(list) {
            [] => None,
            [only] if self.is_void(only) => Some(List::default()),
            _ => Some(list),
        }
    }

    fn is_end_of_parameters(&mut self) -> bool {
        match self.peek() {
            None | Some(b'E' | b'.' | b'Q') => true,
            // The <ref-qualifier> of a function type.
            Some(b'R' | b'O') => self.peek_second() == Some(b'E'),
            Some(_) => false,
        }
    }

    fn is_void(&self, id: NodeId) -> bool {
        let node = self.tree.get(id);
        matches!(node, Some(Node::Type(Type::Builtin(builtin))) if builtin.name == "void")
    }

    /// True for the names that are no function's own, and have no type that is returned:
    /// constructors, destructors and conversions.
    fn is_nameless(&self, mut name: NodeId) -> bool {
        loop {
            name = match self.tree.get(name) {
                Some(Node::Name(
                    Name::Template { name, .. }
                    | Name::Nested { name, .. }
                    | Name::Local { name, .. }
                    | Name::DefaultArgument { name, .. }
                    | Name::Member { name, .. }
                    | Name::ExplicitObject(name),
                )) => name,
                Some(Node::Name(
                    Name::Constructor(_) | Name::Destructor(_) | Name::Conversion(_),
                )) => return true,
                _ => return false,
            };
        }
    }
}
