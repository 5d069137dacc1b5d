//! Names that are known, names that are none, and names that are traps.

mod differences;
mod expressions;
mod hostile;
mod names;
mod types;

use super::demangle;

/// Compares what each mangled name stands for.
fn check(names: &[(&str, &str)]) {
    for (mangled, name) in names {
        assert_eq!(demangle(mangled).as_deref(), Some(*name), "{mangled}");
    }
}
