//! Expressions. Operands stand in parentheses, unless they are names or the like.

use super::Printer;
use crate::symbols::itanium::operators::Operator;
use crate::symbols::itanium::tree::{
    Entity, Expression, List, LiteralForm, Name, Node, NodeId, Type,
};

impl Printer<'_, '_> {
    pub(super) fn expression(&mut self, expression: Expression<'_>) -> Option<()> {
        match expression {
            Expression::Literal {
                of,
                is_negative,
                value,
            } => return self.literal(of, is_negative, value),
            Expression::Number(digits) => self.push(digits),
            Expression::This => self.push("this"),
            Expression::FunctionParameter(number) => {
                self.push("{parm#");
                self.push_number(number);
                self.push("}");
            }
            Expression::Nullary(operator) => self.push(operator.text),
            Expression::Prefix { operator, operand } => return self.prefix(operator, operand),
            Expression::Postfix { operator, operand } => {
                self.operand(operand)?;
                self.push(operator.text);
            }
            Expression::Parenthesized { operator, operand } => {
                self.push(operator.text);
                return self.in_parentheses(operand);
            }
            Expression::Global(operand) => {
                self.push("::");
                return self.print(operand);
            }
            Expression::Infix {
                operator,
                left,
                right,
            } => return self.infix(operator, left, right),
            Expression::Index { left, right } => {
                self.operand(left)?;
                self.push("[");
                self.print(right)?;
                self.push("]");
            }
            Expression::Call { callee, arguments } => {
                let callee = self.without_parameters(callee)?;
                self.operand(callee)?;
                return self.operand(arguments);
            }
            Expression::Conditional { condition, yes, no } => {
                self.operand(condition)?;
                self.push("?");
                self.operand(yes)?;
                self.push(" : ");
                return self.operand(no);
            }
            Expression::PackLength(pack) => {
                let length = self.pack_length(pack)?;
                self.push_number(length);
            }
            Expression::ArgumentCount(list) => {
                let count = self.argument_count(list)?;
                self.push_number(count);
            }
            Expression::Arguments(list) => return self.list(list),
            _ => return self.longer_expression(expression),
        }
        Some(())
    }

    fn longer_expression(&mut self, expression: Expression<'_>) -> Option<()> {
        match expression {
            Expression::Cast { to, operand } => {
                self.in_parentheses(to)?;
                self.operand(operand)
            }
            Expression::NamedCast {
                operator,
                to,
                operand,
            } => {
                self.push(operator.text);
                self.push("<");
                self.print(to)?;
                self.push(">");
                self.in_parentheses(operand)
            }
            Expression::New {
                placement,
                of,
                initializer,
            } => self.new_expression(placement, of, initializer),
            Expression::Braced { of, elements } => {
                if let Some(of) = of {
                    self.print(of)?;
                }
                self.push("{");
                self.list(elements)?;
                self.push("}");
                Some(())
            }
            Expression::Fold {
                operator,
                left,
                right,
            } => self.fold(operator, left, right),
            Expression::Field { field, value } => {
                self.push(".");
                self.print(field)?;
                self.designated(value)
            }
            Expression::Element { first, last, value } => {
                self.push("[");
                self.print(first)?;
                if let Some(last) = last {
                    self.push(" ... ");
                    self.print(last)?;
                }
                self.push("]");
                self.designated(value)
            }
            _ => None,
        }
    }

    fn in_parentheses(&mut self, id: NodeId) -> Option<()> {
        self.push("(");
        self.print(id)?;
        self.push(")");
        Some(())
    }

    /// Prints `id`, in parentheses unless it is a name or the like.
    pub(super) fn operand(&mut self, id: NodeId) -> Option<()> {
        let is_simple = matches!(
            self.tree.get(id)?,
            Node::Name(Name::Source(_) | Name::Nested { .. })
                | Node::Expression(
                    Expression::This
                        | Expression::FunctionParameter(_)
                        | Expression::Number(_)
                        | Expression::Braced { .. }
                )
        );
        match is_simple {
            true => self.print(id),
            false => self.in_parentheses(id),
        }
    }

    fn prefix(&mut self, operator: &Operator, operand: NodeId) -> Option<()> {
        self.push(operator.text);
        // Of a member's address only the name is shown.
        if operator.code == "ad"
            && let Node::Entity(Entity::Function { name, .. }) = self.tree.get(operand)?
            && let Node::Name(Name::Nested { .. }) = self.tree.get(name)?
        {
            return self.print(name);
        }
        self.operand(operand)
    }

    /// `left operator right`. What is greater stands in parentheses: template arguments end with
    /// the same sign.
    fn infix(&mut self, operator: &Operator, left: NodeId, right: NodeId) -> Option<()> {
        let is_greater = operator.text == ">";
        if is_greater {
            self.push("(");
        }
        self.operand(left)?;
        self.push(operator.text);
        self.operand(right)?;
        if is_greater {
            self.push(")");
        }
        Some(())
    }

    /// The name alone of a function that is called.
    fn without_parameters(&self, callee: NodeId) -> Option<NodeId> {
        match self.tree.get(callee)? {
            Node::Entity(Entity::Function { name, .. }) => Some(name),
            _ => Some(callee),
        }
    }

    fn literal(&mut self, of: NodeId, is_negative: bool, value: &str) -> Option<()> {
        let form = match self.tree.get(of)? {
            Node::Type(Type::Builtin(builtin)) => builtin.literal,
            Node::Type(Type::Float { .. }) => LiteralForm::Float,
            _ => LiteralForm::Cast,
        };
        let sign = if is_negative { "-" } else { "" };
        match (form, value) {
            (LiteralForm::Suffix(suffix), _) => {
                self.push(sign);
                self.push(value);
                self.push(suffix);
                return Some(());
            }
            (LiteralForm::Boolean, "0") if !is_negative => {
                self.push("false");
                return Some(());
            }
            (LiteralForm::Boolean, "1") if !is_negative => {
                self.push("true");
                return Some(());
            }
            _ => {}
        }
        self.in_parentheses(of)?;
        self.push(sign);
        if form == LiteralForm::Float {
            self.push("[");
            self.push(value);
            self.push("]");
        } else {
            self.push(value);
        }
        Some(())
    }

    fn new_expression(
        &mut self,
        placement: List,
        of: NodeId,
        initializer: Option<NodeId>,
    ) -> Option<()> {
        self.push("new ");
        if !placement.is_empty() {
            self.push("(");
            self.list(placement)?;
            self.push(") ");
        }
        self.print(of)?;
        match initializer {
            Some(initializer) => self.operand(initializer),
            None => Some(()),
        }
    }

    /// A fold is printed with the whole packs in it.
    fn fold(
        &mut self,
        operator: &Operator,
        left: Option<NodeId>,
        right: Option<NodeId>,
    ) -> Option<()> {
        let outer = self.element.take();
        self.push("(");
        if let Some(left) = left {
            self.operand(left)?;
            self.push(operator.text);
        }
        self.push("...");
        if let Some(right) = right {
            self.push(operator.text);
            self.operand(right)?;
        }
        self.push(")");
        self.element = outer;
        Some(())
    }

    /// The value that a designator gives; between designators stands no sign.
    fn designated(&mut self, value: NodeId) -> Option<()> {
        match self.tree.get(value)? {
            Node::Expression(Expression::Field { .. } | Expression::Element { .. }) => {
                self.print(value)
            }
            _ => {
                self.push("=");
                self.operand(value)
            }
        }
    }
}
