//! Which functions belong to the standard libraries of C++ and Rust, by their names and files.
//!
//! What comes in: what symbols and debug information say of a function. What goes out: whether it
//! is the library's, and whether the file that a line table states is the function's own.

use super::names::{is_mangled, readable};
use super::wrappers::{
    HEADER_FOLDER, LIBRARY_CRATES, LIBRARY_NAMESPACES, LIBRARY_SOURCES, NO_HEADERS, RUST_FOLDERS,
    RUST_NAMESPACES,
};
use heaptape_format::symbols::SYMBOL_TEXT_MAX;

/// True for a function of the standard library of C++ or Rust: its source file is one of theirs, or
/// its name where no file is known.
pub(super) fn is_standard_library(name: &str, file: Option<&str>) -> bool {
    match file {
        Some(file) => {
            LIBRARY_SOURCES.iter().any(|part| file.contains(part)) || may_be_inlined(file)
        }
        None => is_library_name(name) || is_mangled_in_std(name),
    }
}

/// What a tape says of the function with the name `symbol` in the symbol table, of which no source
/// file is known: the name that reports show, or `symbol` itself where only that tells whether the
/// function is the standard library's. [`known_owner`] reads it.
pub(super) fn telling_name(symbol: &str) -> String {
    let shown = readable(symbol);
    let is_told = is_defined_in_library(symbol) == is_standard_library(&shown, None);
    // A longer one would lose its end in the tape.
    match is_told || symbol.len() > SYMBOL_TEXT_MAX {
        true => shown,
        false => symbol.to_owned(),
    }
}

/// The name to show for what a tape says of a function; and whether the function is the standard
/// library's, where the shown name does not tell.
pub(super) fn known_owner(name: String) -> (String, Option<bool>) {
    match is_mangled(&name) {
        true => (readable(&name), Some(is_defined_in_library(&name))),
        false => (name, None),
    }
}

/// True for files of the standard libraries whose code is inlined into programs. Where the line
/// table states one for a function that is not [the library's](is_defined_in_library), and nothing
/// is known to be inlined there, the file is that of inlined code and not the function's own. So it
/// is where split debug information lacks its files.
pub(super) fn may_be_inlined(file: &str) -> bool {
    // The library's own sources (`.cc`, other crates) are not inlined into programs.
    is_cpp_header(file) || is_of_rust(file) || is_hashbrown(file)
}

/// True for headers of C++'s standard library: in a folder of a version, and no program's source.
fn is_cpp_header(file: &str) -> bool {
    let extension = file
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'));
    if extension.is_some_and(|(_, extension)| NO_HEADERS.contains(&extension)) {
        return false;
    }
    folders(file, HEADER_FOLDER).any(|(_, below)| {
        let version = below.split_once('/').map(|(version, _)| version);
        version.is_some_and(|it| it == "v1" || it.starts_with(|it: char| it.is_ascii_digit()))
    })
}

/// True for the sources of Rust's own crates.
fn is_of_rust(file: &str) -> bool {
    let mut all = RUST_FOLDERS.iter().flat_map(|name| folders(file, name));
    all.any(|(above, _)| above.is_empty() || above.contains("rust"))
}

/// Where `file` has the folders `name` in its path: what stands before and behind.
fn folders<'a>(file: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = file.match_indices(name);
    all.filter_map(move |(at, _)| {
        let (above, rest) = file.split_at_checked(at)?;
        let is_whole = above.is_empty() || above.ends_with('/');
        is_whole.then_some((above, rest.get(name.len()..)?))
    })
}

/// True for a function of the standard library of C++ or Rust, by the name that the symbol table
/// has for it. Rust's symbols tell the crate that an implementation stands in.
pub(super) fn is_defined_in_library(symbol: &str) -> bool {
    let name = readable(symbol);
    match symbol.strip_prefix("_R").map(rust_definition) {
        Some(Some(Definition::In(name_of_crate))) => LIBRARY_CRATES.contains(&name_of_crate),
        Some(Some(Definition::InTrait)) => {
            let to = name.strip_prefix('<').and_then(split_as).map(|(_, to)| to);
            match to.filter(|to| !to.starts_with(CLOSURES_TRAITS)) {
                Some(to) => in_library(head(to)),
                None => is_library_name(&name),
            }
        }
        Some(None) | None => is_library_name(&name) || is_mangled_in_std(symbol),
    }
}

/// True for C++ names that begin in `std`, `__gnu_cxx` or `__gnu_debug`, also where they cannot be
/// demangled: those that are too deep or too long.
fn is_mangled_in_std(symbol: &str) -> bool {
    let Some(encoding) = symbol.strip_prefix("_Z") else {
        return false;
    };
    // What is inside of a function: `Z…E`; members: `N`, with the qualifiers of `this`.
    let path = encoding.trim_start_matches('Z');
    let path = path.strip_prefix('N').map_or(path, |path| {
        path.trim_start_matches(['K', 'V', 'r', 'R', 'O'])
    });
    // Sa, Ss and their like stand for classes of `std`.
    let begins = [
        "St",
        "Sa",
        "Sb",
        "Ss",
        "Si",
        "So",
        "Sd",
        "9__gnu_cxx",
        "11__gnu_debug",
    ];
    begins.iter().any(|begin| path.starts_with(begin))
}

/// Where the traits of closures stand. What they do by default, and the shims that the compiler
/// makes of them, only call a closure: what is inlined there is the closure's own.
const CLOSURES_TRAITS: &str = "core::ops::function::";

/// Where a Rust function is defined.
#[derive(Debug, PartialEq, Eq)]
enum Definition<'a> {
    /// In a crate.
    In(&'a str),
    /// In a trait, for all that have no implementation of their own.
    InTrait,
}

/// Reads the outermost path of a mangled name (Rust's version 0) behind its `_R`: the crate at its
/// root.
fn rust_definition(mangled: &str) -> Option<Definition<'_>> {
    let mut rest = mangled;
    loop {
        let (kind, behind) = rest.split_at_checked(1)?;
        rest = match kind {
            // A namespace of one letter; generic arguments follow their path.
            "N" => behind.get(1..)?,
            "I" => behind,
            // Implementations: the path of the module that they stand in comes first.
            "M" | "X" => without_disambiguator(behind)?,
            "Y" => return Some(Definition::InTrait),
            "C" => {
                let name = without_disambiguator(behind)?;
                let digits = name.find(|letter: char| !letter.is_ascii_digit())?;
                let bytes: usize = name.get(..digits)?.parse().ok()?;
                let name = name.get(digits..)?;
                // It parts the length from names that begin with `_` or a digit.
                let name = name.strip_prefix('_').unwrap_or(name);
                return name.get(..bytes).map(Definition::In);
            }
            _ => return None,
        };
    }
}

/// `s1a_…` → `…`.
fn without_disambiguator(path: &str) -> Option<&str> {
    match path.strip_prefix('s') {
        Some(number) => number.split_once('_').map(|(_, behind)| behind),
        None => Some(path),
    }
}

/// The crate behind Rust's `HashMap`, also when a program uses it directly.
fn is_hashbrown(file: &str) -> bool {
    let folders = file.split('/');
    folders.clone().any(|folder| {
        folder
            .strip_prefix("hashbrown-")
            .is_some_and(|version| version.starts_with(|digit: char| digit.is_ascii_digit()))
    })
}

/// `std::…`, and Rust's `<TYPE as TRAIT>::…` when neither is the program's own.
fn is_library_name(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('<') else {
        return in_library(name) && !is_cpp_named_like_rust(name);
    };
    match split_as(inner) {
        Some((of, to)) => {
            let of = head(of);
            let is_of_library = in_library(of) || !of.contains("::");
            // A trait inside of a method of the library's: `<[_]>::to_vec_in::ConvertVec`.
            is_of_library && (in_library(head(to)) || to.starts_with('<') && is_library_name(to))
        }
        None => is_of_no_crate(inner) || in_library(head(inner)),
    }
}

/// True for `TYPE>::…` of a type that is the language's own: only the library has methods of it.
fn is_of_no_crate(inner: &str) -> bool {
    let is_of_others = inner.starts_with(['[', '(', '*']);
    let of = inner.split_once('>').map_or(inner, |(of, _)| of);
    is_of_others || !of.contains("::")
}

/// True for a function of C++ in a namespace that is called like one of Rust's crates.
pub(super) fn is_cpp_named_like_rust(name: &str) -> bool {
    let in_crate = RUST_NAMESPACES.iter().any(|start| name.starts_with(start));
    in_crate && has_parameters(name)
}

/// True for `name(…)`, perhaps with what C++ says of `this` behind it. Rust's names have none.
fn has_parameters(name: &str) -> bool {
    let words = ["", "const", "volatile", "&", "&&"];
    let behind = name.rsplit_once(')').map(|(_, behind)| behind);
    behind.is_some_and(|behind| behind.split(' ').all(|word| words.contains(&word)))
}

fn in_library(path: &str) -> bool {
    LIBRARY_NAMESPACES
        .iter()
        .any(|start| path.starts_with(start))
}

/// `&mut [app::Node` → `app::Node`.
fn head(path: &str) -> &str {
    let path = path.trim_start_matches(['&', '*', '[', '(', '<']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    path.strip_prefix("dyn ").unwrap_or(path)
}

/// `TYPE as TRAIT>::…` at the outermost level of angle brackets.
fn split_as(inner: &str) -> Option<(&str, &str)> {
    let mut depth = 0i32;
    let mut before = ' ';
    for (at, letter) in inner.char_indices() {
        match letter {
            '<' => depth += 1,
            // The arrow of a function's type, as the two manglings have it.
            '>' if matches!(before, '-' | '.') => {}
            '>' => depth -= 1,
            ' ' if depth == 0 => {
                let rest = inner.get(at..)?;
                if let Some(to) = rest.strip_prefix(" as ") {
                    return Some((inner.get(..at)?, to));
                }
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
        before = letter;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of_inlined_code(symbol: &str, file: &str) -> bool {
        may_be_inlined(file) && !is_defined_in_library(symbol)
    }

    #[test]
    fn names_of_the_standard_libraries_are_known_without_a_file() {
        for name in [
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "alloc::vec::Vec<T,A>::push",
            "<alloc::string::String as core::clone::Clone>::clone",
            "<T as alloc::string::ToString>::to_string",
            "<&mut [u8] as core::convert::From<alloc::vec::Vec<u8>>>::from",
            "hashbrown::raw::RawTable<T,A>::reserve_rehash",
            "core::ops::function::FnOnce::call_once",
            "core::ptr::drop_in_place::<fn(u8)>",
            "<[u8]>::repeat",
            "<[app::Node]>::to_vec",
            "<str>::replace::<&str>",
            "<[&str]>::join::<&str>",
            "<u8 as <[_]>::to_vec_in::ConvertVec>::to_vec::<alloc::alloc::Global>",
            "<fn() -> u8 as core::clone::Clone>::clone",
        ] {
            assert!(is_library_name(name), "{name}");
        }
        for name in [
            "main",
            "app::run",
            "<app::Node as core::clone::Clone>::clone",
            "<alloc::vec::Vec<u8> as app::Grow>::grow",
            "<app::Map<alloc::vec::Vec<u8>>>::insert",
            "<fn() -> u8 as app::Act>::act",
            "<unsafe fn(u8) .> u8 as app::Act>::act",
            "<[fn() -> u8; 2] as app::Act>::act",
            "<(fn() -> u8, u8) as app::Act>::act",
            "<u8 as <app::Node>::grow::Local>::act",
            "core::Engine::load()",
            "alloc::Pool<int>::size() const &",
            "hashbrown::fill(int)::{lambda()#1}::operator()() const",
            "standard::x()",
            "stdx::y()",
        ] {
            assert!(!is_library_name(name), "{name}");
        }
    }

    #[test]
    fn only_names_that_do_not_tell_are_kept_mangled() {
        let collect = "_RNvYNtCs12_3app4MineNtNtCs3_4core4iter8Iterator7collectB4_";
        let from = "_RNvXCs12_3appNtCs3_5alloc6StringINtCs4_4core4FrombE4from";
        let show = "_RNvXNtCs3_5alloc6stringNtCs12_3app4MineNtB2_8ToString9to_string";
        for (symbol, shown, in_library) in [
            (
                collect,
                "<app::Mine as core::iter::Iterator>::collect",
                true,
            ),
            (from, "<alloc::String as core::From<bool>>::from", false),
            (
                show,
                "<app::Mine as alloc::string::ToString>::to_string",
                true,
            ),
        ] {
            assert_eq!(telling_name(symbol), symbol);
            let known = (shown.to_owned(), Some(in_library));
            assert_eq!(known_owner(symbol.to_owned()), known);
        }
        for symbol in [
            "_RNvXCs12_3appNtB2_4MineNtNtCs3_4core5clone5Clone5clone",
            "_RNvYNCNvCs12_3app4main0INtNtNtCs3_4core3ops8function6FnOnceuE9call_once",
            "_RNvCs12_3app4main",
            "_ZN3app4fillERSt6vectorIiSaIiEE",
            "_ZNSt6vectorIiSaIiEE7reserveEm",
            "_ZNKSt4fakeE_not_a_name",
            "main",
        ] {
            assert_eq!(telling_name(symbol), readable(symbol));
        }
        let long = format!("{collect}.llvm.{}", "1".repeat(SYMBOL_TEXT_MAX));
        assert_eq!(telling_name(&long), readable(collect));
        assert_eq!(known_owner("main".to_owned()), ("main".to_owned(), None));
    }

    #[test]
    fn the_file_decides_where_one_is_known() {
        let header = Some("/usr/include/c++/12/bits/stl_vector.h");
        assert!(is_standard_library("push_back", header));
        assert!(is_standard_library(
            "grow",
            Some("/rustc/59807616/library/alloc/src/vec/mod.rs")
        ));
        assert!(is_standard_library(
            "x",
            Some("/rust/deps/hashbrown-0.15.2/src/raw/mod.rs")
        ));
        assert!(is_standard_library(
            "x",
            Some("/opt/cargo/registry/src/i/hashbrown-0.16.0/a.rs")
        ));
        assert!(!is_standard_library(
            "std::hash<Mine>::operator()(Mine)",
            Some("/app/mine.cc")
        ));
        for file in [
            "/src/library/main.c",
            "/src/include/c++/main.cpp",
            "/src/include/c++/12/main.cpp",
            "/src/include/c++/tree.h",
            "/src/myinclude/c++/12/tree.h",
            "/src/me/library/std/src/main.rs",
            "/src/me/library/alloc/src/lib.rs",
            "library/model/src/lib.rs",
        ] {
            assert!(!is_standard_library("main", Some(file)), "{file}");
        }
        for file in [
            "/usr/include/c++/12/bits/stl_vector.h",
            "/opt/gcc/include/c++/13.2.0/vector",
            "/usr/lib/llvm-14/bin/../include/c++/v1/__tree",
            "/usr/include/x86_64-linux-gnu/c++/../../include/c++/12/x.tcc",
            "/opt/rustup/toolchains/x/lib/rustlib/src/rust/library/core/src/slice.rs",
            "/usr/src/rustc-1.63.0/library/std/src/collections/hash/map.rs",
            "library/std/src/alloc.rs",
            "/rustc/1234567890/library/backtrace/src/symbolize/gimli.rs",
            "/rustc/1234567890/library/panic_unwind/src/lib.rs",
        ] {
            assert!(is_standard_library("main", Some(file)), "{file}");
        }
    }

    #[test]
    fn code_that_is_inlined_from_the_library_is_known() {
        let header = "/usr/include/c++/12/bits/new_allocator.h";
        let vector = "/rustc/59807616/library/alloc/src/raw_vec/mod.rs";
        let ours = [
            ("_ZN3app4fillERSt6vectorIiSaIiEE", header),
            ("_ZZ4mainENKUlSt6vectorIiSaIiEEE_clES1_", header),
            ("main", header),
            ("_RNvCs12_3app4fill", vector),
            ("_RNCNvCs12_3app4main0", "library/alloc/src/vec/mod.rs"),
            (
                "_RNvXCs12_3appNtB2_4NodeNtNtCs3_4core5clone5Clone5clone",
                vector,
            ),
            ("_RINvMs_NtCs12_3app4nodeNtB4_4Node4growhE", vector),
            ("_RNvCs12_5___foo4fill", vector),
            ("_RNvYNtCs12_3app4NodeNtB4_4Grow4growB4_", vector),
            ("_ZN3app4fill17h0123456789abcdefE", vector),
            (
                "_ZN3app4fill17h0123456789abcdefE",
                "/x/hashbrown-0.15.2/src/raw/mod.rs",
            ),
        ];
        for (symbol, file) in ours {
            assert!(is_of_inlined_code(symbol, file), "{symbol}");
        }
        let librarys = [
            ("_ZNSt6vectorIiSaIiEE7reserveEm", header),
            ("_ZNKSs4findEPKcmm", header),
            // Not to be demangled.
            ("_ZNSt6threadC2IRFvT_EEEvOT_", header),
            ("_ZZNSt6thread4_RunIT_EEvvENKUlvE_clEv", header),
            (
                "_ZSt11make_sharedIiJiEESt10shared_ptrINSt9enable_ifIXntsr8is_arrayIT_EE5valueES2_\
                 E4typeEEDpOT0_",
                header,
            ),
            (
                "_ZNSt14_Function_base13_Base_managerIZ5f_funvEUlvE_E9_M_createIS1_EEvRSt9_Any_data\
                 OT_St17integral_constantIbLb0EE",
                header,
            ),
            ("_RNvNtCs12_4core3ptr13drop_in_place", vector),
            ("_RNvCs12_12panic_unwind7cleanup", vector),
            (
                "_RNvCs12_7___rustc11___rdl_alloc",
                "library/std/src/alloc.rs",
            ),
            (
                "_RNvXs_NtCs12_5alloc6stringNtCs34_3app4NodeNtB4_8ToString9to_string",
                vector,
            ),
            (
                "_RNvYNtCs12_3app2ItNtNtCs34_4core4iter8Iterator7collectB4_",
                vector,
            ),
            (
                "_ZN4core4iter6traits8iterator8Iterator7collect17h0123456789abcdefE",
                vector,
            ),
            ("__cxa_throw", "/src/libstdc++-v3/libsupc++/eh_throw.cc"),
            ("main", "/app/main.cc"),
        ];
        for (symbol, file) in librarys {
            assert!(!is_of_inlined_code(symbol, file), "{symbol}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_symbol_panics(symbol in "_R[CINMXYs_0-9a-z\u{e9}]{0,24}") {
            let _ = is_of_inlined_code(&symbol, "library/x.rs");
        }
    }
}
