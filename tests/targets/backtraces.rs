//! Prints a stack, for which the standard library reads debug information, and keeps all of it.

#[inline(never)]
fn prints() -> String {
    std::backtrace::Backtrace::force_capture().to_string()
}

fn main() {
    let printed = prints();
    assert!(printed.contains("prints"), "{printed}");
    std::mem::forget(printed);
    // What was read stays, as it does until the program ends.
    std::process::exit(0);
}
