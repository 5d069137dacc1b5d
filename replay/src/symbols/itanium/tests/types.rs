//! Types, as `c++filt -i` writes them.

use super::check;

#[test]
fn builtin_types() {
    check(BUILTIN_TYPES);
}

#[test]
fn derived_types() {
    check(DERIVED_TYPES);
}

#[test]
fn function_types() {
    check(FUNCTION_TYPES);
}

#[test]
fn array_types() {
    check(ARRAY_TYPES);
}

#[test]
fn substitutions() {
    check(SUBSTITUTIONS);
}

#[test]
fn template_arguments_and_packs() {
    check(TEMPLATE_ARGUMENTS_AND_PACKS);
}

const BUILTIN_TYPES: &[(&str, &str)] = &[
    (
        "_Z1fabcdefghijlmnostwxyz",
        "f(signed char, bool, char, double, long double, float, __float128, unsigned \
         char, int, unsigned int, long, unsigned long, __int128, unsigned __int128, \
         short, unsigned short, wchar_t, long long, unsigned long long, ...)",
    ),
    (
        "_Z1fDaDcDdDeDfDhDiDnDsDu",
        "f(auto, decltype(auto), decimal64, decimal128, decimal32, half, char32_t, \
         decltype(nullptr), char16_t, char8_t)",
    ),
    (
        "_Z1fDF16_DF32_DF64xDF16b",
        "f(_Float16, _Float32, _Float64x, std::bfloat16_t)",
    ),
    ("_Z1fu4foob", "f(foob)"),
    ("_Z1fu8__vectori", "f(__vector, int)"),
];

const DERIVED_TYPES: &[(&str, &str)] = &[
    (
        "_Z1fPKcPVcPrVKc",
        "f(char const*, char volatile*, char const volatile restrict*)",
    ),
    ("_Z1fRiOiPRi", "f(int&, int&&, int&*)"),
    ("_Z1fCfGd", "f(float _Complex, double _Imaginary)"),
    ("_Z1fU3fooi", "f(int foo)"),
    ("_Z1fPU3AS1Kc", "f(char const AS1*)"),
    ("_Z1fU3fooIiEi", "f(int foo<int>)"),
    ("_Z1fKiK1A", "f(int const, A const)"),
    ("_Z1fDv4_f", "f(float __vector(4))"),
    ("_Z1fDv_Lj4E_f", "f(float __vector(4u))"),
    ("_Z1fPDv4_f", "f(float __vector(4)*)"),
    ("_Z1fM1Ai", "f(int A::*)"),
    ("_Z1fM1APi", "f(int* A::*)"),
    ("_Z1fKM1Ai", "f(int A::* const)"),
];

const FUNCTION_TYPES: &[(&str, &str)] = &[
    ("_Z1fPFvvE", "f(void (*)())"),
    ("_Z1fRFviE", "f(void (&)(int))"),
    ("_Z1fPPFvvE", "f(void (**)())"),
    ("_Z1fKPFvvE", "f(void (* const)())"),
    ("_Z1fPFPFvvEvE", "f(void (*(*)())())"),
    ("_Z1fPFPivE", "f(int* (*)())"),
    ("_Z1fPFRA3_ivE", "f(int (& (*)()) [3])"),
    ("_Z1fPFYvvE", "f(void (*)())"),
    ("_Z1fFvvE", "f(void ())"),
    ("_Z1fSt8functionIF1AS0_EE", "f(std::function<A (A)>)"),
    ("_Z1fM1AFivE", "f(int (A::*)())"),
    ("_Z1fM1AKFivE", "f(int (A::*)() const)"),
    ("_Z1fM1AVKFivOE", "f(int (A::*)() const volatile &&)"),
    ("_Z1fM1AKFivRE", "f(int (A::*)() const &)"),
    ("_Z1fM1AFPFvvEvE", "f(void (* (A::*)())())"),
    ("_Z1fPFM1AFvvEvE", "f(void (A::*(*)())())"),
    ("_Z1fPDoFvvE", "f(void (*)() noexcept)"),
    ("_Z1fPDOLb1EEFvvE", "f(void (*)() noexcept(true))"),
    ("_Z1fPDwifEFvvE", "f(void (*)() throw(int, float))"),
    ("_Z1fPDxFvvE", "f(void (*)() transaction_safe)"),
    ("_Z1fM1AKDoFvvE", "f(void (A::*)() noexcept const)"),
    ("_Z1fIFvvREE", "f<void () &>"),
    ("_Z1fIFvvEEvPT_", "f<void ()>(void (*)())"),
    ("_Z1fIFvvEEvRT_", "f<void ()>(void (&)())"),
];

const ARRAY_TYPES: &[(&str, &str)] = &[
    ("_Z1fPA3_i", "f(int (*) [3])"),
    ("_Z1fRA3_1AB1b", "f(A[abi:b] (&) [3])"),
    ("_Z1fPA3_KA4_i", "f(int const (*) [3][4])"),
    ("_Z1fRA3_A4_1AB1b", "f(A[abi:b] (&) [3][4])"),
    ("_Z1fIA3_iEvPA4_T_", "f<int [3]>(int (*) [4][3])"),
    ("_Z1fRA3_A4_i", "f(int (&) [3][4])"),
    ("_Z1fPKA3_i", "f(int const (*) [3])"),
    ("_Z1fRA3_Ki", "f(int const (&) [3])"),
    ("_Z1fPA_i", "f(int (*) [])"),
    ("_Z1fM1AA3_i", "f(int (A::*) [3])"),
    ("_Z1fIiLm3EEvRAT0__T_", "f<int, 3ul>(int (&) [3ul])"),
    ("_Z1fIA3_iEvRT_", "f<int [3]>(int (&) [3])"),
    ("_Z1fPA3_PFvvE", "f(void (* (*) [3])())"),
    ("_Z1fRA3_PA4_i", "f(int (* (&) [3]) [4])"),
];

const SUBSTITUTIONS: &[(&str, &str)] = &[
    ("_Z1f1AS_S_", "f(A, A, A)"),
    ("_Z1fP1APS0_S1_", "f(A*, A**, A**)"),
    ("_ZN1a1b1fES0_NS_1cE", "a::b::f(a::b, a::c)"),
    (
        "_Z1fSsSiSoSdSaIcE",
        "f(std::string, std::istream, std::ostream, std::iostream, std::allocator<char>)",
    ),
    (
        "_Z1fSbIwSt11char_traitsIwESaIwEE",
        "f(std::basic_string<wchar_t, std::char_traits<wchar_t>, std::allocator<wchar_t> >)",
    ),
    (
        "_ZNSt6vectorIiSaIiEE9push_backERKi",
        "std::vector<int, std::allocator<int> >::push_back(int const&)",
    ),
    ("_ZNSolsEi", "std::ostream::operator<<(int)"),
    (
        "_ZNKSs4findEPKcmm",
        "std::string::find(char const*, unsigned long, unsigned long) const",
    ),
    (
        "_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc",
        "std::operator<< <std::char_traits<char> >(std::basic_ostream<char, \
         std::char_traits<char> >&, char const*)",
    ),
    ("_Z1f1AIiES_IlE", "f(A<int>, A<long>)"),
    (
        "_ZNSsB5cxx111fES_",
        "std::string[abi:cxx11]::f(std::string[abi:cxx11])",
    ),
    (
        "_Z1fP1aP1bP1cP1dP1eP1fP1gP1hP1iP1jP1kP1lP1mP1nP1oP1pP1qP1rP1sP1tS10_SZ_SA_",
        "f(a*, b*, c*, d*, e*, f*, g*, h*, i*, j*, k*, l*, m*, n*, o*, p*, q*, r*, s*, \
         t*, s*, s, f*)",
    ),
];

const TEMPLATE_ARGUMENTS_AND_PACKS: &[(&str, &str)] = &[
    ("_Z1fIJEEvDpT_", "f<>()"),
    ("_Z1fIJiEEvDpT_", "f<int>(int)"),
    ("_Z1fIJilEEvDpOT_", "f<int, long>(int&&, long&&)"),
    ("_Z1fIIilEEvDpRKT_", "f<int, long>(int const&, long const&)"),
    ("_Z1fIiJEEvT_DpT0_", "f<int>(int)"),
    (
        "_Z1gIJilEJsE1aEvDpT_DpT0_",
        "g<int, long, short, a>(int, long, short)",
    ),
    ("_Z1fIJilEEvDp1AIT_E", "f<int, long>(A<int>, A<long>)"),
    (
        "_Z1fIJ1AIiES0_IlEEEvDpT_",
        "f<A<int>, A<long> >(A<int>, A<long>)",
    ),
    ("_Z1fI1AIiEEvv", "f<A<int> >()"),
    ("_Z1fIiEvOT_", "f<int>(int&&)"),
    ("_Z1fIRiEvOT_", "f<int&>(int&)"),
    ("_Z1fIOiEvRT_", "f<int&&>(int&)"),
    ("_Z1fIOiEvOT_", "f<int&&>(int&&)"),
    ("_Z1fIKiEvKT_", "f<int const>(int const)"),
    ("_Z1fIPKcEvRKT_", "f<char const*>(char const* const&)"),
    ("_Z1fI1AEvT_IiE", "f<A>(A<int>)"),
    (
        "_ZSt7find_ifIPKtZN1A5untilIZ4mainEUljE_EEjT_EUltE_ES5_S5_S5_T0_",
        "std::find_if<unsigned short const*, A::until<main::{lambda(unsigned \
         int)#1}>(main::{lambda(unsigned int)#1})::{lambda(unsigned short)#1}>(unsigned \
         short const*, unsigned short const*, A::until<main::{lambda(unsigned \
         int)#1}>(main::{lambda(unsigned int)#1})::{lambda(unsigned short)#1})",
    ),
    ("_ZN1AIJiEE1fIJlEEEvDpT_", "A<int>::f<long>(long)"),
    (
        "_Z1fIiEvNSt9enable_ifIXsr7is_sameIT_iE5valueEvE4typeE",
        "f<int>(std::enable_if<is_same<int, int>::value, void>::type)",
    ),
];
