//! Names of functions as reports show them. SPEC of the wording: README, "Names".
//!
//! What comes in: a name as a symbol table or DWARF states it, mangled or not. What goes out: the
//! demangled name with parameters, without return type, without the suffixes of compiler-made
//! clones and without Rust's hashes. It never fails: a name that cannot be read stays as it is.

use super::itanium;

/// Suffixes that compilers and linkers append to the name of a clone or a split part.
const CLONE_SUFFIXES: &[&str] = &[
    ".constprop",
    ".isra",
    ".part",
    ".cold",
    ".lto_priv",
    ".llvm",
    ".localalias",
    ".clone",
    ".ipa_ra",
    ".warm",
    ".__uniq",
];

/// Operators that are no words, longer ones before their beginnings.
const OPERATORS: &[&str] = &[
    "<=>", "->*", "<<=", ">>=", "\"\"", "()", "[]", "->", "++", "--", "<<", ">>", "<=", ">=", "==",
    "!=", "&&", "||", "+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "+", "-", "*", "/", "%", "^",
    "&", "|", "~", "!", "=", "<", ">", ",", " ",
];

/// Words at the end of a name that are tried as suffixes: a name of nothing else is nobody's.
const SUFFIXES_MAX: usize = 16;

/// The name to show for `raw`.
#[must_use]
pub fn readable(raw: &str) -> String {
    let raw = without_version(raw);
    if is_mangled(raw) {
        // What looks like a suffix may be a part of a path, as Rust mangles `clone::Clone`. Then
        // what stands before it is no whole name.
        let all = without_suffixes(raw).take(SUFFIXES_MAX).chain([raw]);
        if let Some(name) = all.filter_map(demangled).next() {
            return name;
        }
    }
    let name = without_suffixes(raw).next().unwrap_or(raw);
    // The C library calls its own functions by an alias that only it sees.
    name.strip_prefix("__GI_").unwrap_or(name).to_owned()
}

/// True when `raw` is a mangled C++ or Rust name.
#[must_use]
pub fn is_mangled(raw: &str) -> bool {
    raw.starts_with("_Z") || raw.starts_with("_R") || raw.starts_with("__Z")
}

/// True when the symbol table's name says all that DWARF's bare one does, and more. Its mangled
/// form need not contain the bare one: a lambda's `operator()` is `cl` there. Types are spelled
/// otherwise (`long unsigned int`), and lambdas among a template's arguments: those are not
/// compared.
#[must_use]
pub fn is_full_form(linked: &str, bare: &str) -> bool {
    is_mangled(linked) && readable(linked).contains(without_types(bare)) || bare.is_empty()
}

/// What stands before the types in a name of DWARF: a template's arguments, or what a conversion
/// converts to.
fn without_types(bare: &str) -> &str {
    const WORD: &str = "operator";
    let operator = bare.strip_prefix(WORD).and_then(|behind| {
        let found = OPERATORS.iter().find(|text| behind.starts_with(**text))?;
        bare.get(..WORD.len() + found.len())
    });
    operator.unwrap_or_else(|| match bare.split_once('<') {
        Some((name, _)) if !name.is_empty() => name,
        _ => bare,
    })
}

/// `memcpy@@GLIBC_2.14` → `memcpy`.
fn without_version(raw: &str) -> &str {
    match raw.find('@') {
        Some(at) if at > 0 => raw.get(..at).unwrap_or(raw),
        _ => raw,
    }
}

/// What stands before each word of [`CLONE_SUFFIXES`], before the first of them first.
fn without_suffixes(name: &str) -> impl Iterator<Item = &str> {
    let ends_word = |rest: &str| rest.is_empty() || rest.starts_with(['.', '$']);
    name.match_indices('.').filter_map(move |(at, _)| {
        let (head, tail) = name.split_at_checked(at)?;
        let mut suffixes = CLONE_SUFFIXES.iter();
        let is_suffix = suffixes.any(|suffix| tail.strip_prefix(suffix).is_some_and(ends_word));
        (is_suffix && !head.is_empty()).then_some(head)
    })
}

fn demangled(name: &str) -> Option<String> {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // The alternate form leaves out hashes and crate disambiguators.
        return Some(format!("{rust:#}"));
    }
    itanium::demangle(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_contract_says() {
        let cases = [
            ("main", "main"),
            ("grow.constprop.0", "grow"),
            ("grow.isra.0.part.1", "grow"),
            ("parse.cold", "parse"),
            ("nested.3", "nested.3"),
            ("x.partial", "x.partial"),
            ("malloc@@GLIBC_2.2.5", "malloc"),
            ("__GI__IO_file_doallocate", "_IO_file_doallocate"),
            ("_Znwm", "operator new(unsigned long)"),
            ("_Znam", "operator new[](unsigned long)"),
            ("_Z4growi.part.0", "grow(int)"),
            ("_Z5twiceIiET_S0_", "twice<int>(int)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("_ZN12_GLOBAL__N_14hideEv", "(anonymous namespace)::hide()"),
            ("_ZN3FooC4Ev", "Foo::Foo()"),
            (
                "_ZN5alloc7raw_vec11finish_grow17h0123456789abcdefE",
                "alloc::raw_vec::finish_grow",
            ),
            (
                "_ZN5alloc7raw_vec11finish_grow17h0123456789abcdefE.llvm.77",
                "alloc::raw_vec::finish_grow",
            ),
            (
                "_ZN67_$LT$alloc..vec..Vec$LT$T$C$A$GT$$u20$as$u20$core..clone..Clone$GT$5clone\
                 17h0123456789abcdefE",
                "<alloc::vec::Vec<T,A> as core::clone::Clone>::clone",
            ),
            (
                "_ZN45_$LT$c..Foo$u20$as$u20$core..clone..Clone$GT$5clone17h0123456789abcdefE\
                 .llvm.123",
                "<c::Foo as core::clone::Clone>::clone",
            ),
            (
                "_ZN4user4part5clone4cold17h0123456789abcdefE.cold.1",
                "user::part::clone::cold",
            ),
            ("_Z4bad\u{e9}.part.0", "_Z4bad\u{e9}"),
            ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
            ("_Znonsense", "_Znonsense"),
            ("", ""),
            (".cold", ".cold"),
        ];
        for (raw, readable_name) in cases {
            assert_eq!(readable(raw), readable_name, "{raw}");
        }
    }

    #[test]
    fn the_symbol_table_completes_bare_names() {
        for (linked, bare) in [
            ("_ZZ4mainENKUliE_clEi", "operator()"),
            ("_ZZ4mainENKUliE0_clEi", "operator()"),
            (
                "_ZZ4mainENKUlT_E_clImEEDaS_",
                "operator()<long unsigned int>",
            ),
            (
                "_ZN12_GLOBAL__N_11CplImEERS0_T_",
                "operator+<long unsigned int>",
            ),
            (
                "_ZN12_GLOBAL__N_11ClsImEERS0_T_",
                "operator<< <long unsigned int>",
            ),
            ("_ZN12_GLOBAL__N_11CcvmEv", "operator long unsigned int"),
            ("_ZN12_GLOBAL__N_1li3_zzEy", "operator\"\"_zz"),
            (
                "_ZN12_GLOBAL__N_115operator_helperImEEvT_",
                "operator_helper<long unsigned int>",
            ),
            ("_ZN12_GLOBAL__N_14hideEv", "hide"),
            ("_ZL5twiceIiET_S0_", "twice<int>"),
            ("_ZL4growi.constprop.0", "grow"),
            ("anything", ""),
        ] {
            assert!(is_full_form(linked, bare), "{linked} {bare}");
        }
        for (linked, bare) in [
            ("_ZN12_GLOBAL__N_14hideEv", "seek"),
            ("_ZZ4mainENKUliE_clEi", "operator[]"),
            (
                "_ZN12_GLOBAL__N_11CplImEERS0_T_",
                "operator-<long unsigned int>",
            ),
            ("grow", "grow"),
            ("__GI_grow", "grow"),
        ] {
            assert!(!is_full_form(linked, bare), "{linked} {bare}");
        }
        let first = readable("_ZZ4mainENKUliE_clEi");
        assert_eq!(first, "main::{lambda(int)#1}::operator()(int) const");
        assert_ne!(first, readable("_ZZ4mainENKUliE0_clEi"));
    }

    /// A name of many suffixes is read as often as it may have parts, and no more.
    #[test]
    fn suffixes_are_tried_a_few_times() {
        let hostile = format!("_Z1fIJ{}EEv{}", "i".repeat(60), "DpFT_DpT_E".repeat(300));
        let name = format!("{hostile}{}", ".cold".repeat(4000));
        assert_eq!(readable(&name), hostile);
        let tried = without_suffixes(&name).take(SUFFIXES_MAX);
        assert_eq!(
            tried.last().unwrap().matches(".cold").count(),
            SUFFIXES_MAX - 1
        );
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics(raw in "(_Z|_R|__Z)?[A-Za-z0-9_.$@]{0,40}") {
            let _ = readable(&raw);
        }

        #[test]
        fn a_plain_c_name_stays(raw in "[a-z][a-z0-9_]{0,30}") {
            proptest::prop_assert_eq!(readable(&raw), raw);
        }
    }
}
