//! The types that the language has: `<builtin-type>`.

use crate::symbols::itanium::tree::{Builtin, LiteralForm};

const fn of(name: &'static str, literal: LiteralForm) -> Builtin {
    Builtin { name, literal }
}

/// `DF16b`
pub(super) static BFLOAT16: Builtin = of("std::bfloat16_t", LiteralForm::Float);

static LETTERS: [(u8, Builtin); 21] = [
    (b'a', of("signed char", LiteralForm::Cast)),
    (b'b', of("bool", LiteralForm::Boolean)),
    (b'c', of("char", LiteralForm::Cast)),
    (b'd', of("double", LiteralForm::Float)),
    (b'e', of("long double", LiteralForm::Float)),
    (b'f', of("float", LiteralForm::Float)),
    (b'g', of("__float128", LiteralForm::Float)),
    (b'h', of("unsigned char", LiteralForm::Cast)),
    (b'i', of("int", LiteralForm::Suffix(""))),
    (b'j', of("unsigned int", LiteralForm::Suffix("u"))),
    (b'l', of("long", LiteralForm::Suffix("l"))),
    (b'm', of("unsigned long", LiteralForm::Suffix("ul"))),
    (b'n', of("__int128", LiteralForm::Cast)),
    (b'o', of("unsigned __int128", LiteralForm::Cast)),
    (b's', of("short", LiteralForm::Cast)),
    (b't', of("unsigned short", LiteralForm::Cast)),
    (b'v', of("void", LiteralForm::Cast)),
    (b'w', of("wchar_t", LiteralForm::Cast)),
    (b'x', of("long long", LiteralForm::Suffix("ll"))),
    (b'y', of("unsigned long long", LiteralForm::Suffix("ull"))),
    (b'z', of("...", LiteralForm::Cast)),
];

/// Those that are a letter behind `D`.
static LETTERS_BEHIND_D: [(u8, Builtin); 10] = [
    (b'a', of("auto", LiteralForm::Cast)),
    (b'c', of("decltype(auto)", LiteralForm::Cast)),
    (b'd', of("decimal64", LiteralForm::Cast)),
    (b'e', of("decimal128", LiteralForm::Cast)),
    (b'f', of("decimal32", LiteralForm::Cast)),
    (b'h', of("half", LiteralForm::Float)),
    (b'i', of("char32_t", LiteralForm::Cast)),
    (b'n', of("decltype(nullptr)", LiteralForm::Cast)),
    (b's', of("char16_t", LiteralForm::Cast)),
    (b'u', of("char8_t", LiteralForm::Cast)),
];

/// The type of one letter.
pub(super) fn builtin(letter: u8) -> Option<&'static Builtin> {
    find(&LETTERS, letter)
}

/// The type of a letter behind `D`.
pub(super) fn builtin_behind_d(letter: u8) -> Option<&'static Builtin> {
    find(&LETTERS_BEHIND_D, letter)
}

fn find(letters: &'static [(u8, Builtin)], letter: u8) -> Option<&'static Builtin> {
    let found = letters.iter().find(|(of, _)| *of == letter);
    found.map(|(_, builtin)| builtin)
}
