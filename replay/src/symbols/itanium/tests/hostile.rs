//! Names that were made to break whoever reads them.

use proptest::prelude::*;

use crate::symbols::itanium::{MANGLED_BYTES_MAX, TEXT_BYTES_MAX, demangle};

/// Parts of names, from which random names get further than from random letters.
const PARTS: &[&str] = &[
    "N", "E", "I", "J", "X", "L", "Z", "F", "K", "P", "R", "O", "M", "A3_", "_", "S_", "S0_", "St",
    "Ss", "Sa", "T_", "T0_", "Dp", "DT", "Dt", "sr", "sZ", "sP", "cl", "cv", "nw", "pl", "gt",
    "fl", "fp_", "fpT", "Ul", "vE_", "Ut_", "C1", "D1", "i", "v", "1a", "3foo", "Li1E", "_Z1gv",
    "B1t", "DC", "W1m", "Tn", "Ty", "Tt", "il", "tl", "di", "u1v", "U1q", "Do", "DO", "Dv4_", "Q",
    "H", "TV", "Th0_", "GR", "d0_", "s",
];

/// Names from which mutations begin.
const NAMES: &[&str] = &[
    "_ZNSt6vectorIiSaIiEE9push_backERKi",
    "_ZZ4mainENKUlOT_DpOT0_E_clIiJlcEEEDaS0_S3_",
    "_Z10checkedAddIiEENSt9enable_ifIXsr3std9is_signedIT_EE5valueE8OptionalIS1_EE4typeES1_S1_",
    "_ZSt11make_sharedIiJiEENSt9enable_ifIXntsr8is_arrayIT_EE5valueES1_E4typeEDpOT0_",
    "_Z1fIJiiEEvDTcl1gspT_EEDpT_",
    "_Z1fM1AKDoFPFRA3_ivEvE",
    "_ZN1AcvT_I1BIiEEEv",
    "_Z1fIiEvDTquLb1EnwLi1E_T_piEcvT__fp_fp0_EE",
];

/// Reads all of `names` on a stack that is half as large as those of the threads that do so.
fn read_on_small_stack(names: impl Iterator<Item = String> + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let reading = thread.spawn_scoped(scope, move || {
            for mangled in names {
                let _ = demangle(&mangled);
            }
        });
        reading.unwrap().join().unwrap();
    });
}

/// `count` times `open`, `middle`, and as often `close`.
fn nested(start: &str, open: &str, middle: &str, close: &str, count: usize) -> String {
    let (open, close) = (open.repeat(count), close.repeat(count));
    format!("{start}{open}{middle}{close}")
}

#[test]
fn nesting_needs_little_stack_however_deep() {
    let shapes = [
        ("_Z1f", "P", "i", ""),
        ("_Z1f", "K", "i", ""),
        ("_Z1f", "M1A", "i", ""),
        ("_Z1f", "M", "1Ai", "i"),
        ("_Z1f", "A_", "i", ""),
        ("_Z1f", "U1a", "i", ""),
        ("_Z1f", "1AI", "i", "E"),
        ("_Z1f", "N1A1BI", "i", "EE"),
        ("_Z1f", "PFv", "i", "E"),
        ("_Z1f", "PF", "v", "vE"),
        ("_Z1f", "N1AUl", "v", "E_E"),
        ("_Z1fI", "J", "i", "E"),
        ("_Z1fI", "L_Z1fI", "i", "EE"),
        ("_Z1fIiEv", "DTcv", "v", "fp_E"),
        ("_Z1fIX", "nt", "Li1E", ""),
        ("_Z1fIX", "plLi1E", "Li1E", ""),
        ("_Z1fIX", "cl1g", "Li1E", "E"),
        ("_Z1fIX", "tl1A", "Li1E", "E"),
        ("_Z1fIXil", "di1a", "Li1E", "E"),
        ("_Z1fIX", "sr1AIX", "Li1E", "EE1b"),
        ("_Z1fIX", "srN1AIX", "Li1E", "EEE1b"),
        ("_Z1fIX", "dn", "1a", ""),
        ("_Z1fIX", "sp", "Li1E", ""),
        ("_Z", "Z", "1fv", "E1x"),
        ("_Z", "Z1fvE", "1x", ""),
        ("_Z", "GTt", "1fv", ""),
        ("_Z", "cv1AI", "i", "E"),
        ("_ZN", "1a", "1fEv", ""),
        ("_ZN1f", "IiE", "Eiv", ""),
        ("_Z1f", "B1a", "v", ""),
        ("_Z", "W1a", "1fv", ""),
        ("_ZN1AUl", "Tp", "TyvE_E", ""),
        ("_ZN1AUl", "Tt", "TyvE_E", "E"),
        ("_ZN1AUl", "Tk1AI", "vE_E", "E"),
    ];
    let ends = ["", "v", "E", "EE", "Evv", "EEvv", "EEEvv"];
    for (start, open, middle, close) in shapes {
        let counts = (1..300).chain([10_000]);
        let names = counts.map(|count| nested(start, open, middle, close, count));
        read_on_small_stack(names.flat_map(|name| ends.map(|end| format!("{name}{end}"))));
    }
}

#[test]
fn what_is_too_deep_is_no_name() {
    assert!(demangle(&nested("_Z1f", "P", "i", "", 100)).is_some());
    assert_eq!(demangle(&nested("_Z1f", "P", "i", "", 1000)), None);
    assert!(demangle(&nested("_Z1f", "1AI", "i", "E", 80)).is_some());
    assert_eq!(demangle(&nested("_Z1f", "1AI", "i", "E", 1000)), None);
}

/// Each parameter is a class template of the one before, twice: the text doubles each time.
fn doubling(count: usize, first: &str) -> String {
    let mut mangled = format!("_Z1f1AI{first}E");
    for index in 1..count {
        let previous = match index - 1 {
            0 => "0".to_owned(),
            previous => base_36(previous),
        };
        mangled.push_str(&format!("S_IS{previous}_S{previous}_E"));
    }
    mangled
}

fn base_36(number: usize) -> String {
    let digit = |value: usize| char::from_digit(value as u32, 36).unwrap();
    let (high, low) = (number / 36, number % 36);
    let high = (high > 0).then(|| digit(high));
    let text: String = high.into_iter().chain([digit(low)]).collect();
    text.to_uppercase()
}

#[test]
fn substitutions_that_double_end_quickly() {
    assert_eq!(
        demangle(&doubling(3, "i")).as_deref(),
        Some("f(A<int>, A<A<int>, A<int> >, A<A<A<int>, A<int> >, A<A<int>, A<int> > >)")
    );
    assert!(demangle(&doubling(8, "i")).is_some());
    for count in [20, 60, 200] {
        assert_eq!(demangle(&doubling(count, "i")), None);
    }
}

/// Whether template arguments are those of a conversion's type or of the operator is known behind
/// them alone: each level reads the ones within it twice.
#[test]
fn conversions_in_conversions_end_quickly() {
    let conversions = |count| nested("_Z1f", "N1AcvT_I", "i", "EE", count);
    assert!(demangle(&conversions(5)).is_some());
    for count in [30, 200] {
        assert_eq!(demangle(&conversions(count)), None);
    }
}

#[test]
fn packs_that_double_without_a_text_end_quickly() {
    // An empty pack in packs of two of the packs before.
    let mut mangled = "_Z1fIJE".to_owned();
    for _ in 0..40 {
        mangled.push_str("EvDp1AIDpT_E");
    }
    assert_eq!(demangle(&mangled), None);
    let expansions = format!("_Z1fIJ{}EEv{}", "i".repeat(60), "DpFT_DpT_E".repeat(300));
    assert_eq!(demangle(&expansions), None);
}

#[test]
fn long_names_have_long_texts_up_to_a_bound() {
    let name = |bytes: usize| format!("_ZN1A{bytes}{}Ev", "x".repeat(bytes));
    assert!(demangle(&name(60_000)).is_some_and(|text| text.len() > 60_000));
    assert_eq!(demangle(&name(MANGLED_BYTES_MAX)), None);
    // A hundred times the name of a thousand letters.
    let repeated = format!("_Z1f{}{}{}", 1000, "x".repeat(1000), "S_".repeat(100));
    assert_eq!(demangle(&repeated), None);
}

proptest! {
    #[test]
    fn random_letters_have_a_bounded_text_or_none(tail in "[ -~\u{e9}]{0,60}") {
        check_bounds(&format!("_Z{tail}"))?;
    }

    #[test]
    fn random_parts_have_a_bounded_text_or_none(
        parts in prop::collection::vec(prop::sample::select(PARTS), 0..40),
    ) {
        check_bounds(&format!("_Z{}", parts.concat()))?;
        check_bounds(&format!("_Z1f{}", parts.concat()))?;
        check_bounds(&format!("_Z1fIiJilEEv{}", parts.concat()))?;
    }

    #[test]
    fn changed_names_have_a_bounded_text_or_none(
        name in prop::sample::select(NAMES),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let mut name = name.to_owned();
        for (at, kind, part) in changes {
            let at = at.index(name.len());
            match kind {
                0 => name.insert_str(at, part),
                1 => drop(name.remove(at)),
                _ => name.truncate(at.max(2)),
            }
            if name.len() < 3 {
                break;
            }
        }
        check_bounds(&name)?;
    }
}

/// Where to change a name, how, and a part of one.
fn change() -> impl Strategy<Value = (prop::sample::Index, u8, &'static str)> {
    (
        any::<prop::sample::Index>(),
        0..3u8,
        prop::sample::select(PARTS),
    )
}

fn check_bounds(mangled: &str) -> Result<(), TestCaseError> {
    if let Some(text) = demangle(mangled) {
        prop_assert!(!text.is_empty());
        prop_assert!(text.len() <= TEXT_BYTES_MAX);
    }
    Ok(())
}
