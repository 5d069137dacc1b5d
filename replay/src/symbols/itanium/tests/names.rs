//! Names, as `c++filt -i` writes them but for what functions return.

use super::check;

#[test]
fn encodings_of_functions_and_data() {
    check(ENCODINGS_OF_FUNCTIONS_AND_DATA);
}

#[test]
fn nested_names() {
    check(NESTED_NAMES);
}

#[test]
fn constructors_and_destructors() {
    check(CONSTRUCTORS_AND_DESTRUCTORS);
}

#[test]
fn operators_and_conversions() {
    check(OPERATORS_AND_CONVERSIONS);
}

#[test]
fn local_names_lambdas_and_bindings() {
    check(LOCAL_NAMES_LAMBDAS_AND_BINDINGS);
}

#[test]
fn special_names() {
    check(SPECIAL_NAMES);
}

#[test]
fn names_in_modules() {
    check(NAMES_IN_MODULES);
}

const ENCODINGS_OF_FUNCTIONS_AND_DATA: &[(&str, &str)] = &[
    ("_Z1fv", "f()"),
    ("_Z1fiz", "f(int, ...)"),
    ("_Z1f", "f"),
    ("_ZL5limit", "limit"),
    ("_ZL4growi", "grow(int)"),
    ("_Z5twiceIiET_S0_", "twice<int>(int)"),
    ("_ZN1A1fIiEEvT_", "A::f<int>(int)"),
    ("_Z1fIvEvT_", "f<void>(void)"),
    ("_Z1fJiv", "f()"),
    ("_Z1fB5cxx11v", "f[abi:cxx11]()"),
    ("_Z4éév", "éé()"),
    ("_ZN1A1fB5cxx11Ev", "A::f[abi:cxx11]()"),
    (
        "_ZNSt3mapIiE3fooB1aB1bEv",
        "std::map<int>::foo[abi:a][abi:b]()",
    ),
];

const NESTED_NAMES: &[(&str, &str)] = &[
    ("_ZN3foo3bar3bazEv", "foo::bar::baz()"),
    ("_ZNK3foo3barEv", "foo::bar() const"),
    ("_ZNVK1A1fEv", "A::f() const volatile"),
    ("_ZNKR1A1fEv", "A::f() const &"),
    ("_ZNO1A1fEv", "A::f() &&"),
    ("_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f()"),
    ("_ZN12_GLOBAL__N.11fEv", "(anonymous namespace)::f()"),
    (
        "_ZN3FooIiE3BarIlE3bazIcEEvv",
        "Foo<int>::Bar<long>::baz<char>()",
    ),
    ("_ZNK3Foo3barILi1EEEvv", "Foo::bar<1>() const"),
    ("_ZN1A5table1xE", "A::table::x"),
    ("_ZNK1AMUlvE_clEv", "A::{lambda()#1}::operator()() const"),
    ("_ZN1AE", "A"),
];

/// Of lambdas and unnamed types they are called by the last identifier, as binutils does.
const CONSTRUCTORS_AND_DESTRUCTORS: &[(&str, &str)] = &[
    ("_ZN3FooC1Ev", "Foo::Foo()"),
    ("_ZN3FooC2ERKS_", "Foo::Foo(Foo const&)"),
    ("_ZN3FooC3Ev", "Foo::Foo()"),
    ("_ZN3FooC4Ev", "Foo::Foo()"),
    ("_ZN3FooC5Ev", "Foo::Foo()"),
    ("_ZN3FooD0Ev", "Foo::~Foo()"),
    ("_ZN3FooD1Ev", "Foo::~Foo()"),
    ("_ZN3FooD2Ev", "Foo::~Foo()"),
    ("_ZN3FooD4Ev", "Foo::~Foo()"),
    ("_ZN3FooD5Ev", "Foo::~Foo()"),
    ("_ZN3FooIiEC2IlEET_", "Foo<int>::Foo<long>(long)"),
    ("_ZN3Foo3BarIiEC1Ev", "Foo::Bar<int>::Bar()"),
    ("_ZN1ACI11BEi", "A::B(int)"),
    ("_ZN1ACI2N2ns1BEEi", "A::B(int)"),
    ("_ZN1AB5cxx11C1Ev", "A[abi:cxx11]::A()"),
    ("_ZN1AC1B5cxx11Ev", "A::A[abi:cxx11]()"),
    ("_ZNSt6vectorI1AEC1Ev", "std::vector<A>::vector()"),
    (
        "_ZN3Foo3BarC1IZ4mainEUlvE_EET_",
        "Foo::Bar::Bar<main::{lambda()#1}>(main::{lambda()#1})",
    ),
    ("_ZZ4mainENUlvE_D1Ev", "main::{lambda()#1}::~main()"),
    (
        "_ZNSsC1Ev",
        "std::basic_string<char, std::char_traits<char>, std::allocator<char> \
         >::basic_string()",
    ),
    (
        "_ZNSdC1Ev",
        "std::basic_iostream<char, std::char_traits<char> >::basic_iostream()",
    ),
    ("_ZNSbIwEC1Ev", "std::basic_string<wchar_t>::basic_string()"),
    ("_ZNSaIcED1Ev", "std::allocator<char>::~allocator()"),
];

const OPERATORS_AND_CONVERSIONS: &[(&str, &str)] = &[
    ("_ZplRK1AS1_", "operator+(A const&, A const&)"),
    ("_ZN1AclEv", "A::operator()()"),
    ("_ZN1AixEi", "A::operator[](int)"),
    ("_ZN1AcmEi", "A::operator,(int)"),
    ("_ZN1AptEv", "A::operator->()"),
    ("_ZN1ApmEv", "A::operator->*()"),
    ("_ZN1AaSERKS_", "A::operator=(A const&)"),
    ("_ZN1AnwEm", "A::operator new(unsigned long)"),
    ("_ZN1AnaEm", "A::operator new[](unsigned long)"),
    ("_ZN1AdlEPv", "A::operator delete(void*)"),
    ("_ZN1AdaEPv", "A::operator delete[](void*)"),
    ("_ZN1AltIiEEvv", "A::operator< <int>()"),
    ("_ZN1AlsIiEEvv", "A::operator<< <int>()"),
    ("_ZN1ArsIiEEvv", "A::operator>><int>()"),
    ("_ZN1AawEv", "A::operator co_await()"),
    ("_ZN1AssEv", "A::operator<=>()"),
    ("_ZN1AppEi", "A::operator++(int)"),
    ("_ZN1AcviEv", "A::operator int()"),
    ("_ZNK1AcvPFvvEEv", "A::operator void (*)()() const"),
    ("_ZNK1AcvbEv", "A::operator bool() const"),
    ("_ZN1AcvT_IiEEv", "A::operator int<int>()"),
    ("_ZN1AcvPT_IiEEv", "A::operator int*<int>()"),
    ("_ZN1AcvT_I1BIiEEEv", "A::operator B<int><B<int> >()"),
    ("_ZN1AcvRA3_iIcEEv", "A::operator int (&) [3]<char>()"),
    ("_ZN1AIiEcvlEv", "A<int>::operator long()"),
    ("_Zli3_kmy", "operator\"\" _km(unsigned long long)"),
    ("_Zli3_kmIJLc49EEEdv", "operator\"\" _km<(char)49>()"),
    ("_Zv13barii", "operator bar(int, int)"),
];

const LOCAL_NAMES_LAMBDAS_AND_BINDINGS: &[(&str, &str)] = &[
    ("_ZZ4mainE5count", "main::count"),
    ("_ZZ4mainE5count_0", "main::count"),
    ("_ZZ4mainE5count__10_", "main::count"),
    ("_ZZ1fvEs", "f()::string literal"),
    ("_ZZ1fvEs_0", "f()::string literal"),
    (
        "_ZZ1fiiEd0_NKUlvE_clEv",
        "f(int, int)::{default arg#2}::{lambda()#1}::operator()() const",
    ),
    (
        "_ZZ1fvEd_NKUlvE_clEv",
        "f()::{default arg#1}::{lambda()#1}::operator()() const",
    ),
    ("_ZZ1fvEN1A1gEv", "f()::A::g()"),
    ("_ZZ1fvENK1A1gEi", "f()::A::g(int) const"),
    (
        "_ZZN1A1fEvENKUlvE_clEv",
        "A::f()::{lambda()#1}::operator()() const",
    ),
    (
        "_ZZZ1fvENKUlvE_clEvENKUlvE_clEv",
        "f()::{lambda()#1}::operator()() const::{lambda()#1}::operator()() const",
    ),
    ("_ZZ1fIiEiT_E1x", "f<int>(int)::x"),
    ("_ZZ1fvE1AC1Ev", "f()::A(E _Complex, void)"),
    (
        "_Z1hIZ1zvEUt_EvPT_P1A",
        "h<z()::{unnamed type#1}>(z()::{unnamed type#1}*, A*)",
    ),
    (
        "_ZZ4mainENKUlvE_clEv",
        "main::{lambda()#1}::operator()() const",
    ),
    (
        "_ZZ4mainENKUliE0_clEi",
        "main::{lambda(int)#2}::operator()(int) const",
    ),
    (
        "_ZZ4mainENKUlT_E_clIiEEDaS_",
        "main::{lambda(auto:1)#1}::operator()<int>(int) const",
    ),
    (
        "_ZZ4mainENKUlOT_DpOT0_E_clIiJlcEEEDaS0_S3_",
        "main::{lambda(auto:1&&, (auto:2&&)...)#1}::operator()<int, long, char>(int&&, \
         long&&, char&&) const",
    ),
    (
        "_ZZ1fvENKUlTyT_E_clIiEEDaS_",
        "f()::{lambda<typename $T0>($T0)#1}::operator()<int>(int) const",
    ),
    (
        "_ZZ1fvENKUlTyTniTtTyETpTyT_DpT2_E_clEv",
        "f()::{lambda<typename $T0, int $N1, template<typename> class $TT2, typename... \
         $T3>($T0, ($T3)...)#1}::operator()() const",
    ),
    ("_ZN1fUt_1gEv", "f::{unnamed type#1}::g()"),
    ("_ZN1fUt0_C1Ev", "f::{unnamed type#2}::f()"),
    (
        "_ZNK3FooMUlvE_clEv",
        "Foo::{lambda()#1}::operator()() const",
    ),
    ("_ZZ4mainENUlvE_4_FUNEv", "main::{lambda()#1}::_FUN()"),
    (
        "_ZZ4mainENKUlNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEiE_clES4_i",
        "main::{lambda(std::__cxx11::basic_string<char, std::char_traits<char>, \
         std::allocator<char> >, int)#1}::operator()(std::__cxx11::basic_string<char, \
         std::char_traits<char>, std::allocator<char> >, int) const",
    ),
    ("_ZDC1a1bE", "[a, b]"),
    ("_ZN2nsDC1a1bEE", "ns::[a, b]"),
    ("_ZZ1fvEDC1aE_0", "f()::[a]"),
];

const SPECIAL_NAMES: &[(&str, &str)] = &[
    ("_ZTV1A", "vtable for A"),
    ("_ZTT1A", "VTT for A"),
    ("_ZTI1A", "typeinfo for A"),
    ("_ZTS1A", "typeinfo name for A"),
    ("_ZTIPKc", "typeinfo for char const*"),
    ("_ZTF1A", "typeinfo fn for A"),
    ("_ZTC1A0_1B", "construction vtable for B-in-A"),
    ("_ZTC1A16_NS_1BE", "construction vtable for A::B-in-A"),
    ("_ZThn8_N1f1gEv", "non-virtual thunk to f::g()"),
    ("_ZThn8_NK1f1gEv", "non-virtual thunk to f::g() const"),
    ("_ZTv0_n24_N1f1gEv", "virtual thunk to f::g()"),
    ("_ZTch0_h8_N1f1gEv", "covariant return thunk to f::g()"),
    ("_ZTcv0_n24_h8_N1f1gEv", "covariant return thunk to f::g()"),
    ("_ZTH5count", "TLS init function for count"),
    ("_ZTW5count", "TLS wrapper function for count"),
    ("_ZTAX1fE", "template parameter object for f"),
    ("_ZTAXtl1ALi1EEE", "template parameter object for A{1}"),
    ("_ZGVZ1fvE1x", "guard variable for f()::x"),
    ("_ZGVN1A1xE", "guard variable for A::x"),
    ("_ZGR1x", "reference temporary #0 for x"),
    ("_ZGRL1x_", "reference temporary #0 for x"),
    ("_ZGRZ1fvE1x_", "reference temporary #0 for f()::x"),
    ("_ZGTt1fv", "transaction clone for f()"),
    (
        "_ZGTtNSt11logic_errorC1EPKc",
        "transaction clone for std::logic_error::logic_error(char const*)",
    ),
    ("_ZGTn1fv", "non-transaction clone for f()"),
    ("_ZGA1fv", "hidden alias for f()"),
    ("_ZGIW3Foo", "initializer for module Foo"),
    ("_ZGIW3FooW3Bar", "initializer for module Foo.Bar"),
];

const NAMES_IN_MODULES: &[(&str, &str)] = &[
    ("_ZW3Foo3barv", "bar@Foo()"),
    ("_ZNW3Foo3barEv", "bar@Foo()"),
    ("_ZNW3FooW3Bar3bazEv", "baz@Foo.Bar()"),
    ("_ZNW3FooWP3Bar3bazEv", "baz@Foo:Bar()"),
    ("_ZN2nsW3Foo3bazENS0_1aE", "ns::baz@Foo(a@Foo)"),
    ("_ZStW3Foo3barv", "std::bar@Foo()"),
];
