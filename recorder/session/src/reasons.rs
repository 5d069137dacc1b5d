//! Why an image cannot be recorded, in the words that stand in tapes and in last lines.
//!
//! The launcher looks at the command before it starts, the recorder at every image that a recorded
//! program executes: both judge by themselves and say the same.

/// No dynamic loader: nothing can be preloaded.
pub const STATIC: &str = "static executable";
/// As [`STATIC`], and the recorder in it speaks another language than we do.
pub const OTHER_RECORDER: &str = "links another version of heaptape_recorder";
/// Another C library.
pub const MUSL: &str = "musl executable";
/// Another dynamic loader, and not musl's.
pub const OTHER_LOADER: &str = "executable with another dynamic loader";
/// 32-bit code.
pub const BITS_32: &str = "32-bit executable";
/// 64-bit code of another architecture.
pub const OTHER_PROCESSOR: &str = "executable for another processor";
/// The kernel gives it the rights of another user: the loader ignores what is preloaded.
pub const SET_USER: &str = "setuid executable";
/// As [`SET_USER`], of another group.
pub const SET_GROUP: &str = "setgid executable";
/// As [`SET_USER`], by capabilities of the file.
pub const CAPABILITIES: &str = "executable with file capabilities";
/// AddressSanitizer brings an allocator that must come first.
pub const ASAN: &str = "ASan-linked executable";
/// As [`ASAN`], hardware-assisted.
pub const HWASAN: &str = "HWASan-linked executable";
/// ThreadSanitizer, likewise.
pub const TSAN: &str = "TSan-linked executable";
/// MemorySanitizer, likewise.
pub const MSAN: &str = "MSan-linked executable";
/// LeakSanitizer by itself, likewise.
pub const LSAN: &str = "LSan-linked executable";
/// A sanitizer's runtime of which nothing tells which it is.
pub const SANITIZER: &str = "sanitizer-linked executable";
/// A sanitizer's library is preloaded, whose allocator must come first.
pub const SANITIZER_PRELOADED: &str = "a sanitizer is preloaded into it";
/// What the recorder takes would count for the program's limits.
pub const TIGHT_LIMITS: &str = "its limits (ulimit -d, -v, -s, -n) leave no room for the recorder";
/// The dynamic loader is asked to tell what it would load: nothing that allocates runs.
pub const LISTING: &str = "the dynamic loader starts no program";
/// Its allocations never come to a preloaded library.
pub const OWN_ALLOCATOR: &str = "brings its own allocator";
/// The program that starts it forbids itself, and so it, what recording needs.
pub const FORBIDDEN_CALLS: &str = "its starter forbids it system calls that recording needs";

/// Its interpreter is of a version that is not known; it is recorded as a native program.
pub const PYTHON_VERSION: &str = "its frames of Python: a version that is not known";
/// As [`PYTHON_VERSION`], for a build in which threads run Python at the same time.
pub const PYTHON_FREE_THREADED: &str = "its frames of Python: built without the global lock";
/// As [`PYTHON_VERSION`], for what was not where it should be.
pub const PYTHON_LAYOUT: &str = "its frames of Python: they do not look as its version says";

/// Its interpreter does not tell of memory that it uses again.
pub const PYTHON_NO_REUSES: &str = "its reuses of memory: Python tells of them from 3.13 on, and \
     3.9 while its tracemalloc traces";

/// Beginnings of the names of libraries that bring a sanitizer, with the reason.
pub const SANITIZER_LIBRARIES: [(&[u8], &str); 9] = [
    (b"libasan.so", ASAN),
    (b"libhwasan.so", HWASAN),
    (b"libtsan.so", TSAN),
    (b"liblsan.so", LSAN),
    (b"libclang_rt.asan", ASAN),
    (b"libclang_rt.hwasan", HWASAN),
    (b"libclang_rt.tsan", TSAN),
    (b"libclang_rt.msan", MSAN),
    (b"libclang_rt.lsan", LSAN),
];

/// Dynamic symbols (with their final zero) that only a program with a sanitizer's runtime inside
/// has, with the reason; what tells more comes first. Clang's runtimes show their entry points,
/// GCC's at least what a program may put in its place.
pub const SANITIZER_SYMBOLS: [(&[u8], &str); 6] = [
    (b"__asan_init\0", ASAN),
    (b"__hwasan_init\0", HWASAN),
    (b"__tsan_init\0", TSAN),
    (b"__msan_init\0", MSAN),
    (b"__sanitizer_free_hook\0", SANITIZER),
    (b"__sanitizer_symbolize_flush\0", SANITIZER),
];

/// The reason when `library`, as it stands among a program's needed libraries or in `LD_PRELOAD`,
/// is a sanitizer's.
#[must_use]
pub fn of_library(library: &[u8]) -> Option<&'static str> {
    let name = library.rsplit(|byte| *byte == b'/').next()?;
    let mut known = SANITIZER_LIBRARIES.iter();
    let (_, reason) = known.find(|(start, _)| name.starts_with(start))?;
    Some(reason)
}

/// [`SANITIZER_PRELOADED`] when a list of libraries as `LD_PRELOAD` has it names a sanitizer's.
#[must_use]
pub fn of_preloaded(list: &[u8]) -> Option<&'static str> {
    let mut libraries = list.split(|byte| matches!(byte, b':' | b' '));
    let is_named = libraries.any(|library| of_library(library).is_some());
    is_named.then_some(SANITIZER_PRELOADED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_sanitizers_are_known() {
        assert_eq!(of_library(b"libasan.so.8"), Some(ASAN));
        assert_eq!(of_library(b"/usr/lib/libtsan.so"), Some(TSAN));
        assert_eq!(of_library(b"libc.so.6"), None);
        assert_eq!(of_library(b""), None);
        assert_eq!(
            of_preloaded(b"a.so /x/libasan.so:b"),
            Some(SANITIZER_PRELOADED)
        );
        assert_eq!(of_preloaded(b"/libasan.so.1/a.so"), None);
        assert_eq!(of_preloaded(b""), None);
    }
}
