//! Where names are not what `c++filt -i` of binutils 2.40 writes, and why.

use super::check;
use crate::symbols::itanium::demangle;

/// There: `f<, int>(int)`, `f<int, , long>(long)` and `f<A<int>>()`.
#[test]
fn templates_end_with_a_space_and_empty_packs_leave_no_comma() {
    check(&[
        ("_Z1fIJEiEvT0_", "f<int>(int)"),
        ("_Z1fIiJElEvT1_", "f<int, long>(long)"),
        ("_Z1fI1AIiEJEEvv", "f<A<int> >()"),
    ]);
}

/// There: `f() [clone .constprop.0]`.
#[test]
fn suffixes_are_left_out_and_underscores_may_be_two() {
    check(&[
        ("_Z1fv.constprop.0", "f()"),
        ("_Z1fv.Any", "f()"),
        ("__Z1fv", "f()"),
    ]);
}

/// Of the ABI document; there they stay mangled.
#[test]
fn newer_productions_are_read() {
    check(&[
        ("_Z1fIiEvDTclfL0p_EE", "f<int>(decltype ({parm#1}()))"),
        ("_Z1fIiEvDTfpK_E", "f<int>(decltype ({parm#1}))"),
        ("_Z1fIiEvDTnxcl1gEE", "f<int>(decltype (noexcept(g())))"),
        ("_Z1fIiEvDTtefp_E", "f<int>(decltype (typeid ({parm#1})))"),
        ("_Z1fIiEvDTtiT_E", "f<int>(decltype (typeid (int)))"),
        (
            "_Z1fIiEvDTcldtfp_dn1AEE",
            "f<int>(decltype (({parm#1}.(~A))()))",
        ),
        ("_Z1fDB8_DU16_", "f(_BitInt(8), unsigned _BitInt(16))"),
        ("_Z1f1ADk1C", "f(A, C auto)"),
        ("_Z1fITk1CiEvT_", "f<int>(int)"),
        ("_Z1fITyiTnlLl3EEvv", "f<int, 3l>()"),
        ("_Z1fIiQ1CIT_EEvS0_", "f<int>(int)"),
        ("_Z1fIiEvT_Q1CIS0_E", "f<int>(int) requires C<int>"),
        ("_ZNH1A1fES_i", "A::f(this A, int)"),
        ("_Z1fu5__boxIiE", "f(__box<int>)"),
        ("_ZGR1x0_", "reference temporary #0 for x"),
        (
            "_ZZ1fvENKUlT_E_clIZZ1fvENKUlT_E_clIiEEDaS_EUlTL0__E_EEDaS_",
            "f()::{lambda(auto:1)#1}::operator()<f()::{lambda(auto:1)#1}::operator()<int>(int\
             ) const::{lambda(auto:1)#1}>(f()::{lambda(auto:1)#1}::operator()<int>(int) \
             const::{lambda(auto:1)#1}) const",
        ),
        ("_ZN3FooDTfp_EE", "Foo::decltype ({parm#1})"),
    ]);
}

/// There `S0_` is the type without its class, and each that follows is one too early.
#[test]
fn unnamed_types_are_no_substitutions_of_their_own() {
    check(&[(
        "_ZN1AUt_1gEPNS0_2InEPS_RS1_",
        "A::{unnamed type#1}::g(A::{unnamed type#1}::In*, A*, A::{unnamed type#1}::In&)",
    )]);
}

/// There it stays mangled.
#[test]
fn a_conversion_to_a_class_template_has_its_arguments() {
    check(&[("_ZN1AcvNS_1BIT_EEIiEEv", "A::operator A::B<int><int>()")]);
}

/// There in the order of the mangled name.
#[test]
fn what_functions_throw_stands_behind_their_transactions() {
    check(&[("_Z1fPDxDoFvvE", "f(void (*)() transaction_safe noexcept)")]);
}

/// As there.
#[test]
fn what_is_no_name_is_refused() {
    for mangled in [
        "",
        "_Z",
        "f",
        "_Zf",
        "_Z1",
        "_Z2f",
        "_Z0v",
        "_Z1fi_",
        "_Z1fvE",
        "_ZN1fEvE",
        "_Z1fF",
        "_Z1fFvE",
        "_Z1fT_",
        "_Z1fIiEvT0_",
        "_Z1fIT_EvT_",
        "_Z99999999999999999999f",
        "_Z1fS99999999999999999999_",
        "_Z1fIiEvDpT1_",
        "_Z1fL1",
        "_ZN",
        "_ZNE",
        "_ZNKE",
        "_ZNStSolsEl",
        "_ZN1AteEv",
        "_ZTV",
        "_ZTh",
        "_ZGR",
        "_Z4bad\u{e9}",
        "_Z1\u{e9}v",
        "_ZN1ANHE",
        "_ZN3FooD3Ev",
        "_ZC1v",
        "_Z1fS_",
        "_Z1fSz",
        "_Z1fIL1aEEvv",
        "_ZN1AH1fES_i",
    ] {
        assert_eq!(demangle(mangled), None, "{mangled}");
    }
}
