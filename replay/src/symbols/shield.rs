//! Keeps a panic of the symbol library from ending heaptape.
//!
//! ELF and DWARF files come from everywhere, and a malformed one must cost its own symbols and
//! nothing else: not the summary of a run, not the recorded command's exit code.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// True while this thread works behind the shield: its panics are not printed.
    static IS_SHIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; None when it panicked. Nothing is printed then.
///
/// `work` must own what it changes, or only change it in ways that are whole at every step.
pub(super) fn shielded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_SHIELDED.get() {
                before(panic);
            }
        }));
    });
    let was_shielded = IS_SHIELDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    IS_SHIELDED.set(was_shielded);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_where_it_began() {
        assert_eq!(shielded(|| 7), Some(7));
        let nothing: Option<u8> = shielded(|| panic!("malformed"));
        assert_eq!(nothing, None);
        assert!(!IS_SHIELDED.get());
    }
}
