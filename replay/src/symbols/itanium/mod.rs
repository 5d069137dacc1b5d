//! Names of C++ as compilers write them into object files → names as programs have them.
//!
//! The mangling is that of the Itanium C++ ABI (<https://itanium-cxx-abi.github.io/cxx-abi/>),
//! which GCC and Clang use on all of Linux. The wording is that of binutils (`nm -C`,
//! `c++filt -i`) and gdb, without the type that the function returns. Two things are tidier than
//! there: `> >` always has its space, and empty packs leave no commas.
//!
//! | file | what |
//! |---|---|
//! | `parse` | mangled text → tree, one function a production |
//! | `tree`, `parts` | the tree, and how to walk it |
//! | `operators` | the operators of C++ |
//! | `print` | tree → text |
//!
//! Names come from the symbol tables of any file, so nothing here trusts them: depth, steps and
//! text are bounded, and what is no name gives none.

mod operators;
mod parse;
mod parts;
mod print;
#[cfg(test)]
mod tests;
mod tree;

/// How deep types, expressions and scopes may lie in each other.
const DEPTH_MAX: usize = 256;

/// How many steps the reading of a name and the printing of its text may take each. Without the
/// bound both could take exponential time: where a production is read twice, and where a node is
/// printed for each of its uses.
const STEPS_MAX: usize = 1 << 17;

/// How long a text may become.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// How long a mangled name may be.
const MANGLED_BYTES_MAX: usize = 64 << 10;

/// The name that `mangled` stands for, with the parameters and without the result of a function.
/// A suffix that begins with a dot is left out. `None` when it is no name of C++, or one too large.
#[must_use]
pub(super) fn demangle(mangled: &str) -> Option<String> {
    if mangled.len() > MANGLED_BYTES_MAX {
        return None;
    }
    let (tree, root) = parse::parse(mangled)?;
    let text = print::print(&tree, root, mangled.len() * 2)?;
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}
