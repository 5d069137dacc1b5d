//! Libraries that bring an allocator with entry points of their own, and which of our two
//! libraries a program therefore gets.
//!
//! File names go in. Launcher and recorder both look at an image before it starts and must choose
//! alike. Nothing here opens a file.

/// Beginnings of the file names of libraries whose `operator new` or prefixed functions do not
/// come through `malloc`.
const BEGINNINGS: [&[u8]; 8] = [
    b"libjemalloc",
    b"libmimalloc",
    b"libtcmalloc",
    b"libhoard",
    b"librpmalloc",
    b"libsnmalloc",
    b"libtbbmalloc",
    b"libscalloc",
];

/// What the file name of the library that hooks those too ends with, in place of [`SUFFIX`].
pub const ALLOCATORS_SUFFIX: &str = "-allocators.so";
/// What the file name of our library ends with.
pub const SUFFIX: &str = ".so";

/// True when `path`, as it stands among a program's needed libraries or in `LD_PRELOAD`, names a
/// library that brings such an allocator.
#[must_use]
pub fn brings_allocator(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// True when a list of libraries, as `LD_PRELOAD` has it, names such a library.
#[must_use]
pub fn names_allocator(list: &[u8]) -> bool {
    let mut libraries = list.split(|byte| matches!(byte, b':' | b' '));
    libraries.any(brings_allocator)
}

/// The path of either of our libraries without what tells them apart.
#[must_use]
pub fn stem(path: &[u8]) -> &[u8] {
    let without = path.strip_suffix(ALLOCATORS_SUFFIX.as_bytes());
    without
        .or_else(|| path.strip_suffix(SUFFIX.as_bytes()))
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide() {
        let yes = [
            "libjemalloc.so.2",
            "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
            "libtcmalloc.so",
            "./libmimalloc-secure.so",
        ];
        let no = [
            "libc.so.6",
            "",
            "/libjemalloc/libz.so",
            "libmalloc.so",
            "jemalloc",
        ];
        assert!(yes.iter().all(|name| brings_allocator(name.as_bytes())));
        assert!(!no.iter().any(|name| brings_allocator(name.as_bytes())));
        assert!(names_allocator(b"a.so:/x/libtcmalloc.so b.so"));
        assert!(!names_allocator(b"a.so:/libtcmalloc/b.so"));
    }

    #[test]
    fn both_libraries_have_one_stem() {
        assert_eq!(stem(b"/x/libheaptape-0a.so"), b"/x/libheaptape-0a");
        assert_eq!(
            stem(b"/x/libheaptape-0a-allocators.so"),
            b"/x/libheaptape-0a"
        );
        assert_eq!(stem(b"/x/heaptape"), b"/x/heaptape");
        assert_eq!(stem(b""), b"");
    }
}
