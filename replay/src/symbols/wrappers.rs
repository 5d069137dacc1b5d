//! Which frame is an allocation's place: the rule, in one place.
//!
//! The place is the most recent frame that is not an *allocation wrapper*. A frame is a wrapper
//! when one of these holds:
//!
//! 1. Its function is in [`WRAPPERS`], or fits a `--wrapper PATTERN`.
//! 2. It belongs to the standard library of C++ or Rust: its source file is one of theirs
//!    ([`LIBRARY_SOURCES`], [`HEADER_FOLDER`], [`RUST_FOLDERS`]), or, where no file is known, its
//!    name stands in one of their namespaces or crates ([`LIBRARY_NAMESPACES`]). A file that is
//!    only that of code inlined into the function is not its own: then none is known. So what a
//!    `std::vector`, a `std::map`, a `Vec` or a `HashMap` allocates belongs to the line of the
//!    program that grew it.
//! 3. It stands between a wrapper of its own module and the allocation, and it belongs to the C
//!    library or has no name: an internal function that does the wrapper's work.
//! 4. It has no name and lies in a library that is the standard library of C++ or Rust
//!    ([`RUNTIME_LIBRARIES`]; distributions strip them), and what calls it is neither of the C
//!    library nor of the dynamic loader. What such a library allocates for itself, as when it is
//!    loaded, stays its own.
//!
//! When every frame is a wrapper, the outermost counts. `--raw-sites` turns the rule off: then the
//! most recent frame counts. Tracebacks keep every frame in any case.
//!
//! This file is the rule's words and tables; [`super::attribution`] follows it.

/// Allocation wrappers by the name of the function, as `fnmatch` patterns: what they are, and the
/// patterns. Names of C functions are compared without leading underscores and the prefixes
/// `GI_`, `libc_` and `IO_` of glibc's internal aliases.
pub const WRAPPERS: &[(&str, &[&str])] = &[
    (
        "C++ allocation functions",
        &[
            "operator new(*",
            "operator new[[]](*",
            "cxa_allocate_exception",
            "cxa_vec_new*",
        ],
    ),
    (
        "C++ allocators and what calls them",
        &[
            "std::allocator<*",
            "std::allocator_traits<*",
            "std::pmr::*",
            "std::__new_allocator<*",
            "std::_Vector_base<*",
            "__gnu_cxx::new_allocator<*",
            "__gnu_cxx::__alloc_traits<*",
            "__gnu_cxx::malloc_allocator<*",
        ],
    ),
    (
        "Rust's allocation functions",
        &[
            "__rust_alloc*",
            "__rust_realloc",
            "__rustc::__rust_alloc*",
            "__rustc::__rust_realloc",
            "__rg_*",
            "__rdl_*",
            "__rustc::__rg_*",
            "__rustc::__rdl_*",
            "* as core::alloc::global::GlobalAlloc>::*",
            "* as core::alloc::Allocator>::*",
            "* as allocator_api2::*::Allocator>::*",
            "alloc::alloc::*",
            "alloc::raw_vec::*",
            "alloc::boxed::*",
            "<alloc::alloc::*",
            "<alloc::raw_vec::*",
            "<alloc::boxed::*",
        ],
    ),
    (
        "the recorder that a program is linked with",
        &["heaptape_recorder::*", "<heaptape_recorder::*"],
    ),
    (
        "the malloc family and its aliases",
        &[
            "malloc",
            "calloc",
            "realloc",
            "reallocarray",
            "posix_memalign",
            "aligned_alloc",
            "memalign",
            "valloc",
            "pvalloc",
            "je_*alloc*",
            "rjem_*alloc*",
            "mi_*alloc*",
            "tc_*alloc*",
        ],
    ),
    (
        "functions of the C library that hand out memory",
        &[
            "strdup",
            "strndup",
            "wcsdup",
            "asprintf",
            "asprintf_chk",
            "vasprintf",
            "vasprintf_chk",
            "vasprintf_internal",
            "getline",
            "getdelim",
            "realpath",
            "realpath_chk",
            "getcwd",
        ],
    ),
    (
        "what a program reports of its own allocators (heaptape.h)",
        &["heaptape_report_*", "heaptape_inline_*"],
    ),
    (
        "Python's allocation functions",
        &[
            "PyMem_*alloc*",
            "PyMem_New",
            "PyMem_Raw*alloc*",
            "PyMem_*dup",
            "PyObject_*alloc*",
            "PyObject_*Alloc*",
            "PyObject_New*",
            "PyObject_GC_New*",
            "PyObject_InitVar",
        ],
    ),
];

/// Start of the C library's file name.
pub const C_LIBRARY: &str = "libc.so";

/// Starts of the file names of dynamic loaders.
pub const LOADERS: &[&str] = &["ld-linux", "ld-musl"];

/// File names of the libraries that are the standard library of C++ or Rust, as patterns. Wheels of
/// Python have theirs with a hash in the name.
pub const RUNTIME_LIBRARIES: &[&str] = &[
    "libstdc++.so*",
    "libstdc++-*.so*",
    "libc++.so*",
    "libc++-*.so*",
    "libc++abi.so*",
    "libc++abi-*.so*",
    "libstd-*.so",
];

/// Parts of the paths of standard library sources that are compiled into the libraries: C++'s own,
/// and what Rust's depend on.
pub const LIBRARY_SOURCES: &[&str] = &["/libstdc++-v3/", "/libcxx/", "/libcxxabi/", "/rust/deps/"];

/// Where the headers of C++'s standard library are: here, in a folder named after a version
/// (`12`, `13.2.0`, `v1`).
pub const HEADER_FOLDER: &str = "include/c++/";

/// What stands in that folder and is no header belongs to a program.
pub const NO_HEADERS: &[&str] = &["c", "cc", "cpp", "cxx", "c++", "C", "cppm", "ixx"];

/// Folders in Rust's own tree, which `/rustc/HASH/`, rust-src and distributions have in a folder
/// with `rust` in its name. A path without its start (`library/…`) is one of them too.
pub const RUST_FOLDERS: &[&str] = &[
    "library/alloc/src/",
    "library/core/src/",
    "library/std/src/",
];

/// Rust's own crates, as symbols name them.
pub const LIBRARY_CRATES: &[&str] = &["alloc", "core", "std", "hashbrown", "__rustc"];

/// Starts of the names of standard library functions.
pub const LIBRARY_NAMESPACES: &[&str] = &[
    "std::",
    "__gnu_cxx::",
    "__gnu_debug::",
    "__gnu_parallel::",
    "__pstl::",
    "__cxxabiv1::",
    "alloc::",
    "core::",
    "hashbrown::",
];
