//! The crates that Rust's standard library brings along to print stacks. It is built without their
//! debug information, so nothing but their names is known of them, and a program may use crates of
//! the same names. Who calls them tells: the standard library's own printing of stacks.

use super::frames::{FrameId, FrameTable, Language, ResolvedFrame};

/// The module of the standard library that calls them.
const PRINTING: &str = "std::backtrace_rs::";

/// What `library/std/Cargo.toml` and `library/backtrace` depend on for it.
const CRATES: &[&str] = &[
    "addr2line::",
    "adler2::",
    "adler::",
    "gimli::",
    "miniz_oxide::",
    "object::",
    "rustc_demangle::",
];

/// True when the frame `id` is one of theirs, and what called it, wrappers and its like aside, is
/// the standard library's printing of stacks.
pub(super) fn is_bundled(
    id: FrameId,
    mut callers: impl Iterator<Item = FrameId>,
    table: &FrameTable,
    mut is_wrapper: impl FnMut(FrameId) -> bool,
) -> bool {
    let prints = |it: FrameId| prints_stacks(table.get(it));
    may_be_bundled(table.get(id))
        && callers
            .find(|&it| prints(it) || !(may_be_bundled(table.get(it)) || is_wrapper(it)))
            .is_some_and(prints)
}

/// True for a function of such a crate, as far as its own frame tells.
fn may_be_bundled(frame: &ResolvedFrame) -> bool {
    let name = frame.function.as_deref().unwrap_or_default();
    let name = name.trim_start_matches(['<', '&', '*', '[', '(']);
    frame.language == Language::Native
        && frame.file.is_none()
        && CRATES.iter().any(|start| name.starts_with(start))
}

fn prints_stacks(frame: &ResolvedFrame) -> bool {
    let name = frame.function.as_deref();
    name.is_some_and(|name| name.contains(PRINTING))
}

#[cfg(test)]
mod tests {
    use super::super::Attribution;
    use super::*;

    const PRINT: (&str, Option<&str>) = (
        "std::backtrace_rs::symbolize::gimli::resolve",
        Some("/rustc/1/library/backtrace/src/symbolize/gimli.rs"),
    );
    const MAIN: (&str, Option<&str>) = ("app::main", Some("/app/main.rs"));

    /// The place of an allocation of a `Vec` that these functions, in these files, called.
    fn place(frames: &[(&str, Option<&str>)]) -> String {
        let mut table = FrameTable::default();
        let vector = ("alloc::raw_vec::RawVec<T,A>::grow_one", None);
        let all = std::iter::once(vector).chain(frames.iter().copied());
        let ids = all.map(|(function, file)| {
            table.intern(ResolvedFrame {
                function: Some(function.into()),
                file: file.map(Into::into),
                line: 1,
                module: "app".into(),
                offset: 0,
                language: Language::Native,
                inlined: false,
                in_standard_library: None,
            })
        });
        let ids: Vec<FrameId> = ids.collect();
        let place = Attribution::new(&[], false).place(ids.into_iter(), &table, None);
        let function = place.and_then(|id| table.get(id).function.clone());
        function.map_or_else(String::new, String::from)
    }

    #[test]
    fn what_printing_a_stack_reads_belongs_to_the_program_that_asked_for_it() {
        let push = ("<gimli::read::abbrev::Attributes>::push", None);
        let parse = ("<addr2line::Context<R>>::parse", None);
        let once = ("<core::cell::once::OnceCell<T>>::try_init", None);
        let create = ("<std::backtrace::Backtrace>::create", None);
        let callback = ("dl_iterate_phdr", None);
        let trace = ("_Unwind_Backtrace", None);
        assert_eq!(place(&[push, once, parse, PRINT, create, MAIN]), MAIN.0);
        assert_eq!(place(&[PRINT, callback, PRINT, create, MAIN]), MAIN.0);
        assert_eq!(place(&[PRINT, trace, PRINT, create, MAIN]), MAIN.0);
        // A program's own crate of that name.
        assert_eq!(place(&[push, once, parse, MAIN]), push.0);
        assert_eq!(
            place(&[push, ("app::symbolize", None), PRINT, MAIN]),
            push.0
        );
        assert_eq!(place(&[push]), push.0);
        let with_a_file = (push.0, Some("/crates/gimli-0.31/src/read/abbrev.rs"));
        assert_eq!(place(&[with_a_file, parse, PRINT, MAIN]), push.0);
    }
}
