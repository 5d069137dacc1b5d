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
//! 5. It has no file and belongs to a crate that Rust's standard library is built with, and that is
//!    what called it, to print a stack (`bundled.rs`).
//!
//! When nothing but the C library is left (a thread's start, a callback), the program's code was
//! inlined into frames of the standard library in the program's own file (`entry.rs`): the
//! one that is named after the closure counts, or the outermost of them.
//!
//! When every frame is a wrapper, the outermost counts. `--raw-sites` turns the rule off: then the
//! most recent frame counts. Tracebacks keep every frame in any case.
//!
//! This file is the rule's words and tables; [`super::attribution`] follows it.

/// What libstdc++ starts a thread with.
pub const THREAD_START: &str = "execute_native_thread_routine";

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
        "the malloc family",
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
        ],
    ),
    ("jemalloc", JEMALLOC),
    ("mimalloc", MIMALLOC),
    ("tcmalloc", TCMALLOC),
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
        "what calls a function back while a stack is taken",
        &["dl_iterate_phdr", "Unwind_Backtrace"],
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
            "tracemalloc_*alloc*",
        ],
    ),
];

/// Entry points of jemalloc that allocate, with the prefixes that builds have, Rust's among them:
/// what `jemalloc/jemalloc.h` (5.3) declares. Below them, inner functions that its builds show
/// between an entry point and the memory (`jemalloc.c`, `arena.c`, `large.c`).
const JEMALLOC: &[&str] = &[
    "je_malloc",
    "je_calloc",
    "je_realloc",
    "je_aligned_alloc",
    "je_posix_memalign",
    "je_memalign",
    "je_valloc",
    "je_pvalloc",
    "je_mallocx",
    "je_rallocx",
    "je_xallocx",
    "rjem_malloc",
    "rjem_calloc",
    "rjem_realloc",
    "rjem_aligned_alloc",
    "rjem_posix_memalign",
    "rjem_memalign",
    "rjem_valloc",
    "rjem_pvalloc",
    "rjem_mallocx",
    "rjem_rallocx",
    "rjem_xallocx",
    "je_malloc_default",
    "je_a0malloc",
    "je_bootstrap_malloc",
    "je_bootstrap_calloc",
    "je_arena_malloc_hard",
    "je_arena_palloc",
    "je_arena_ralloc",
    "je_large_malloc",
    "je_large_palloc",
    "je_large_ralloc",
    "rjem_je_malloc_default",
    "rjem_je_a0malloc",
    "rjem_je_bootstrap_malloc",
    "rjem_je_bootstrap_calloc",
    "rjem_je_arena_malloc_hard",
    "rjem_je_arena_palloc",
    "rjem_je_arena_ralloc",
    "rjem_je_large_malloc",
    "rjem_je_large_palloc",
    "rjem_je_large_ralloc",
];

/// The same of mimalloc: what `mimalloc.h` (2.0 to 2.4, 3 for `theap`) declares, and inner
/// functions (`alloc.c`, `alloc-aligned.c`, `page.c`) without their leading underscores.
const MIMALLOC: &[&str] = &[
    "mi_malloc",
    "mi_malloc_small",
    "mi_mallocn",
    "mi_zalloc",
    "mi_zalloc_small",
    "mi_calloc",
    "mi_realloc",
    "mi_reallocn",
    "mi_reallocf",
    "mi_reallocarray",
    "mi_reallocarr",
    "mi_rezalloc",
    "mi_recalloc",
    "mi_expand",
    "mi__expand",
    "mi_malloc_aligned",
    "mi_malloc_aligned_at",
    "mi_zalloc_aligned",
    "mi_zalloc_aligned_at",
    "mi_calloc_aligned",
    "mi_calloc_aligned_at",
    "mi_realloc_aligned",
    "mi_realloc_aligned_at",
    "mi_rezalloc_aligned",
    "mi_rezalloc_aligned_at",
    "mi_recalloc_aligned",
    "mi_recalloc_aligned_at",
    "mi_aligned_recalloc",
    "mi_aligned_offset_recalloc",
    "mi_posix_memalign",
    "mi_memalign",
    "mi_aligned_alloc",
    "mi_valloc",
    "mi_pvalloc",
    "mi_strdup",
    "mi_strndup",
    "mi_mbsdup",
    "mi_wcsdup",
    "mi_dupenv_s",
    "mi_wdupenv_s",
    "mi_realpath",
    "mi_new",
    "mi_new_n",
    "mi_new_nothrow",
    "mi_new_aligned",
    "mi_new_aligned_nothrow",
    "mi_new_realloc",
    "mi_new_reallocn",
    "mi_umalloc",
    "mi_umalloc_small",
    "mi_umalloc_aligned",
    "mi_uzalloc",
    "mi_uzalloc_small",
    "mi_uzalloc_aligned",
    "mi_ucalloc",
    "mi_urealloc",
    "mi_heap_malloc",
    "mi_heap_malloc_small",
    "mi_heap_mallocn",
    "mi_heap_zalloc",
    "mi_heap_zalloc_small",
    "mi_heap_calloc",
    "mi_heap_realloc",
    "mi_heap_reallocn",
    "mi_heap_reallocf",
    "mi_heap_rezalloc",
    "mi_heap_recalloc",
    "mi_heap_malloc_aligned",
    "mi_heap_malloc_aligned_at",
    "mi_heap_zalloc_aligned",
    "mi_heap_zalloc_aligned_at",
    "mi_heap_calloc_aligned",
    "mi_heap_calloc_aligned_at",
    "mi_heap_realloc_aligned",
    "mi_heap_realloc_aligned_at",
    "mi_heap_rezalloc_aligned",
    "mi_heap_rezalloc_aligned_at",
    "mi_heap_recalloc_aligned",
    "mi_heap_recalloc_aligned_at",
    "mi_heap_strdup",
    "mi_heap_strndup",
    "mi_heap_realpath",
    "mi_heap_alloc_new",
    "mi_heap_alloc_new_n",
    "mi_theap_malloc",
    "mi_theap_malloc_small",
    "mi_theap_malloc_aligned",
    "mi_theap_zalloc",
    "mi_theap_calloc",
    "mi_theap_realloc",
    "mi_malloc_generic",
    "mi_page_malloc",
    "mi_page_malloc_zero",
    "mi_page_malloc_zeroed",
    "mi_heap_malloc_zero",
    "mi_heap_malloc_zero_ex",
    "mi_heap_malloc_small_zero",
    "mi_heap_malloc_guarded",
    "mi_heap_realloc_zero",
    "mi_heap_umalloc",
    "mi_heap_malloc_zero_aligned_at",
    "mi_heap_malloc_zero_aligned_at_generic",
    "mi_heap_malloc_zero_aligned_at_fallback",
    "mi_heap_malloc_zero_aligned_at_overalloc",
    "mi_heap_malloc_zero_no_guarded",
    "mi_heap_malloc_guarded_aligned",
    "mi_heap_realloc_zero_aligned",
    "mi_heap_realloc_zero_aligned_at",
    "mi_try_new",
    "mi_heap_try_new",
];

/// The same of gperftools' tcmalloc: what `gperftools/tcmalloc.h` (2.10) declares, and its slow
/// paths (`tcmalloc.cc`).
const TCMALLOC: &[&str] = &[
    "tc_malloc",
    "tc_malloc_skip_new_handler",
    "tc_calloc",
    "tc_realloc",
    "tc_memalign",
    "tc_posix_memalign",
    "tc_valloc",
    "tc_pvalloc",
    "tc_new",
    "tc_new_nothrow",
    "tc_new_aligned",
    "tc_new_aligned_nothrow",
    "tc_newarray",
    "tc_newarray_nothrow",
    "tc_newarray_aligned",
    "tc_newarray_aligned_nothrow",
    "tcmalloc::allocate_full_*",
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
    "library/backtrace/src/",
    "library/core/src/",
    "library/panic_unwind/src/",
    "library/std/src/",
];

/// Rust's own crates, as symbols name them.
pub const LIBRARY_CRATES: &[&str] = &[
    "alloc",
    "core",
    "std",
    "hashbrown",
    "panic_unwind",
    "__rustc",
];

/// Starts of the names of standard library functions.
pub const LIBRARY_NAMESPACES: &[&str] = &[
    "std::",
    "__gnu_cxx::",
    "__gnu_debug::",
    "__gnu_parallel::",
    "__pstl::",
    "__cxxabiv1::",
    RUST_NAMESPACES[0],
    RUST_NAMESPACES[1],
    RUST_NAMESPACES[2],
];

/// Those of them that are crates of Rust alone: programs in C++ may have namespaces of these names.
pub const RUST_NAMESPACES: [&str; 3] = ["alloc::", "core::", "hashbrown::"];
