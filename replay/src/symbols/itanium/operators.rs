//! The operators of names and expressions: `<operator-name>` of the ABI document.

/// An operator: how it is mangled, how it is written, and what it takes in an expression.
#[derive(Debug)]
pub(super) struct Operator {
    /// Its two letters in mangled names.
    pub(super) code: &'static str,
    /// As expressions show it.
    pub(super) text: &'static str,
    /// What follows it in a mangled expression.
    pub(super) form: Form,
}

impl Operator {
    /// True for those that functions may be called by. The others stand in expressions alone.
    pub(super) fn is_function_name(&self) -> bool {
        match self.form {
            Form::Prefix
            | Form::Step
            | Form::Infix
            | Form::Member
            | Form::Index
            | Form::Call
            | Form::Conditional
            | Form::New => true,
            Form::Nullary
            | Form::OfType
            | Form::OfExpression
            | Form::NamedCast
            | Form::PackLength
            | Form::ArgumentCount
            | Form::Global => false,
        }
    }
}

/// What follows an operator in a mangled expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing.
    Nullary,
    /// One expression.
    Prefix,
    /// One expression; with `_` before it the operator stands before its operand, else behind.
    Step,
    /// One type, in parentheses.
    OfType,
    /// One expression, in parentheses.
    OfExpression,
    /// Two expressions.
    Infix,
    /// An expression and the name of a member.
    Member,
    /// Two expressions, the second in brackets.
    Index,
    /// An expression and arguments up to `E`.
    Call,
    /// A type and an expression.
    NamedCast,
    /// Three expressions.
    Conditional,
    /// Placement, type and initializer.
    New,
    /// A template or function parameter pack.
    PackLength,
    /// Template arguments up to `E`.
    ArgumentCount,
    /// An expression that is looked up globally.
    Global,
}

/// The operator of two letters at the start of `mangled`.
pub(super) fn operator(mangled: &[u8]) -> Option<&'static Operator> {
    let code = mangled.get(..2)?;
    let found = OPERATORS.binary_search_by(|entry| entry.code.as_bytes().cmp(code));
    OPERATORS.get(found.ok()?)
}

const fn entry(code: &'static str, text: &'static str, form: Form) -> Operator {
    Operator { code, text, form }
}

/// In the order of their letters. Texts that end in a space are words that stand before operands.
static OPERATORS: [Operator; 67] = [
    entry("aN", "&=", Form::Infix),
    entry("aS", "=", Form::Infix),
    entry("aa", "&&", Form::Infix),
    entry("ad", "&", Form::Prefix),
    entry("an", "&", Form::Infix),
    entry("at", "alignof ", Form::OfType),
    entry("aw", "co_await ", Form::Prefix),
    entry("az", "alignof ", Form::Prefix),
    entry("cc", "const_cast", Form::NamedCast),
    entry("cl", "()", Form::Call),
    entry("cm", ",", Form::Infix),
    entry("co", "~", Form::Prefix),
    entry("dV", "/=", Form::Infix),
    entry("da", "delete[] ", Form::Prefix),
    entry("dc", "dynamic_cast", Form::NamedCast),
    entry("de", "*", Form::Prefix),
    entry("dl", "delete ", Form::Prefix),
    entry("ds", ".*", Form::Infix),
    entry("dt", ".", Form::Member),
    entry("dv", "/", Form::Infix),
    entry("eO", "^=", Form::Infix),
    entry("eo", "^", Form::Infix),
    entry("eq", "==", Form::Infix),
    entry("ge", ">=", Form::Infix),
    entry("gs", "::", Form::Global),
    entry("gt", ">", Form::Infix),
    entry("ix", "[]", Form::Index),
    entry("lS", "<<=", Form::Infix),
    entry("le", "<=", Form::Infix),
    entry("ls", "<<", Form::Infix),
    entry("lt", "<", Form::Infix),
    entry("mI", "-=", Form::Infix),
    entry("mL", "*=", Form::Infix),
    entry("mi", "-", Form::Infix),
    entry("ml", "*", Form::Infix),
    entry("mm", "--", Form::Step),
    entry("na", "new[]", Form::New),
    entry("ne", "!=", Form::Infix),
    entry("ng", "-", Form::Prefix),
    entry("nt", "!", Form::Prefix),
    entry("nw", "new", Form::New),
    entry("nx", "noexcept", Form::OfExpression),
    entry("oR", "|=", Form::Infix),
    entry("oo", "||", Form::Infix),
    entry("or", "|", Form::Infix),
    entry("pL", "+=", Form::Infix),
    entry("pl", "+", Form::Infix),
    entry("pm", "->*", Form::Infix),
    entry("pp", "++", Form::Step),
    entry("ps", "+", Form::Prefix),
    entry("pt", "->", Form::Member),
    entry("qu", "?", Form::Conditional),
    entry("rM", "%=", Form::Infix),
    entry("rS", ">>=", Form::Infix),
    entry("rc", "reinterpret_cast", Form::NamedCast),
    entry("rm", "%", Form::Infix),
    entry("rs", ">>", Form::Infix),
    entry("sP", "sizeof...", Form::ArgumentCount),
    entry("sZ", "sizeof...", Form::PackLength),
    entry("sc", "static_cast", Form::NamedCast),
    entry("ss", "<=>", Form::Infix),
    entry("st", "sizeof ", Form::OfType),
    entry("sz", "sizeof ", Form::Prefix),
    entry("te", "typeid ", Form::OfExpression),
    entry("ti", "typeid ", Form::OfType),
    entry("tr", "throw", Form::Nullary),
    entry("tw", "throw ", Form::Prefix),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_is_found_by_its_letters() {
        for entry in &OPERATORS {
            let found = operator(entry.code.as_bytes()).unwrap();
            assert!(std::ptr::eq(found, entry), "{}", entry.code);
        }
        assert!(operator(b"zz").is_none());
        assert!(operator(b"p").is_none());
    }
}
