//! Expressions, as `c++filt -i` writes them.

use super::check;

#[test]
fn literals() {
    check(LITERALS);
}

#[test]
fn expressions() {
    check(EXPRESSIONS);
}

#[test]
fn unresolved_names() {
    check(UNRESOLVED_NAMES);
}

const LITERALS: &[(&str, &str)] = &[
    ("_Z1fILi3EEvv", "f<3>()"),
    ("_Z1fILin5EEvv", "f<-5>()"),
    ("_Z1fILj32EEvv", "f<32u>()"),
    ("_Z1fILl3EEvv", "f<3l>()"),
    ("_Z1fILmn3EEvv", "f<-3ul>()"),
    ("_Z1fILx3EEvv", "f<3ll>()"),
    ("_Z1fILy3EEvv", "f<3ull>()"),
    ("_Z1fILb0EEvv", "f<false>()"),
    ("_Z1fILb1EEvv", "f<true>()"),
    ("_Z1fILb2EEvv", "f<(bool)2>()"),
    ("_Z1fILc97EEvv", "f<(char)97>()"),
    ("_Z1fILs97EEvv", "f<(short)97>()"),
    ("_Z1fILa97EEvv", "f<(signed char)97>()"),
    ("_Z1fILh97EEvv", "f<(unsigned char)97>()"),
    ("_Z1fILt97EEvv", "f<(unsigned short)97>()"),
    ("_Z1fILw97EEvv", "f<(wchar_t)97>()"),
    ("_Z1fILn97EEvv", "f<(__int128)97>()"),
    ("_Z1fIL5Color2EEvv", "f<(Color)2>()"),
    ("_Z1fIL5Colorn2EEvv", "f<(Color)-2>()"),
    ("_Z1fILN2ns5ColorE2EEvv", "f<(ns::Color)2>()"),
    ("_Z1fILf3f800000EEvv", "f<(float)[3f800000]>()"),
    ("_Z1fILg3f800000EEvv", "f<(__float128)[3f800000]>()"),
    ("_Z1fILDnEEvv", "f<decltype(nullptr)>()"),
    ("_Z1fILDn0EEvv", "f<(decltype(nullptr))0>()"),
    ("_Z1fILPi0EEvv", "f<(int*)0>()"),
    ("_Z1fIL_Z1gvEEvv", "f<g()>()"),
    ("_Z1fIL_Z1xEEvv", "f<x>()"),
    ("_Z1fILZ1gvEEvv", "f<g()>()"),
    ("_Z1fIXadL_Z1gvEEEvv", "f<&(g())>()"),
    ("_Z1fIXadL_Z1gIiEvvEEEvv", "f<&(void g<int>())>()"),
    ("_Z1fIXadL_ZN1a1gEvEEEvv", "f<&a::g>()"),
    ("_Z1fIXadL_ZNK1a1gEvEEEvv", "f<&(a::g() const)>()"),
    ("_Z1fIXadL_ZN1aIiE1gEiEEEvv", "f<&a<int>::g>()"),
];

const EXPRESSIONS: &[(&str, &str)] = &[
    ("_Z1fIiEvDTfp_E", "f<int>(decltype ({parm#1}))"),
    ("_Z1fIiEvDTfpTE", "f<int>(decltype (this))"),
    ("_Z1fIiEvDtfp_E", "f<int>(decltype ({parm#1}))"),
    (
        "_Z1fIiEvDTplfp_fp0_E",
        "f<int>(decltype ({parm#1}+{parm#2}))",
    ),
    ("_Z1fIXgtLi1ELi2EEEvv", "f<((1)>(2))>()"),
    ("_Z1fIXltLi1ELi2EEEvv", "f<(1)<(2)>()"),
    (
        "_Z1fIiEvDTaafp_fp0_E",
        "f<int>(decltype ({parm#1}&&{parm#2}))",
    ),
    (
        "_Z1fIiEvDTcmfp_fp_E",
        "f<int>(decltype ({parm#1},{parm#1}))",
    ),
    ("_Z1fIiEvDTppfp_E", "f<int>(decltype ({parm#1}++))"),
    ("_Z1fIiEvDTpp_fp_E", "f<int>(decltype (++{parm#1}))"),
    ("_Z1fIiEvDTmm_fp_E", "f<int>(decltype (--{parm#1}))"),
    ("_Z1fIiEvDTngfp_E", "f<int>(decltype (-{parm#1}))"),
    ("_Z1fIiEvDTntfp_E", "f<int>(decltype (!{parm#1}))"),
    ("_Z1fIiEvDTdefp_E", "f<int>(decltype (*{parm#1}))"),
    ("_Z1fIiEvDTawfp_E", "f<int>(decltype (co_await {parm#1}))"),
    (
        "_Z1fIiEvDTquLb1ELi1ELi2EE",
        "f<int>(decltype ((true)?(1) : (2)))",
    ),
    ("_Z1fIiEvDTixfp_Li0EE", "f<int>(decltype ({parm#1}[0]))"),
    ("_Z1fIiEvDTdtfp_1aE", "f<int>(decltype ({parm#1}.a))"),
    ("_Z1fIiEvDTptfp_1aE", "f<int>(decltype ({parm#1}->a))"),
    ("_Z1fIiEvDTptfpT1aIiEE", "f<int>(decltype (this->(a<int>)))"),
    (
        "_Z1fIiEvDTdtfp_onplE",
        "f<int>(decltype ({parm#1}.(operator+)))",
    ),
    (
        "_Z1fIiEvDTdsfp_fp0_E",
        "f<int>(decltype ({parm#1}.*{parm#2}))",
    ),
    (
        "_Z1fIiEvDTpmfp_fp0_E",
        "f<int>(decltype ({parm#1}->*{parm#2}))",
    ),
    ("_Z1fIiEvDTcl1gfp_EE", "f<int>(decltype (g({parm#1})))"),
    (
        "_Z1fIiEvDTcl1gIiEfp_Li1EEE",
        "f<int>(decltype ((g<int>)({parm#1}, 1)))",
    ),
    (
        "_Z1fIiEvDTclonplfp_EE",
        "f<int>(decltype ((operator+)({parm#1})))",
    ),
    ("_Z1fIiEvDTclL_Z1gvEfp_EE", "f<int>(decltype (g({parm#1})))"),
    (
        "_Z1fIiEvDTclL_Z1gIiEvvEfp_EE",
        "f<int>(decltype ((g<int>)({parm#1})))",
    ),
    (
        "_Z1fIiEvDTclptfpT4sizeEE",
        "f<int>(decltype ((this->size)()))",
    ),
    ("_Z1fIiEvDTcvT_fp_E", "f<int>(decltype ((int){parm#1}))"),
    (
        "_Z1fIiEvDTcvT__fp_fp0_EE",
        "f<int>(decltype ((int)({parm#1}, {parm#2})))",
    ),
    (
        "_Z1fIiEvDTscT_fp_E",
        "f<int>(decltype (static_cast<int>({parm#1})))",
    ),
    (
        "_Z1fIiEvDTdcPT_fp_E",
        "f<int>(decltype (dynamic_cast<int*>({parm#1})))",
    ),
    (
        "_Z1fIiEvDTccPT_fp_E",
        "f<int>(decltype (const_cast<int*>({parm#1})))",
    ),
    (
        "_Z1fIiEvDTrcPT_fp_E",
        "f<int>(decltype (reinterpret_cast<int*>({parm#1})))",
    ),
    ("_Z1fIiEvDTtlT_fp_EE", "f<int>(decltype (int{{parm#1}}))"),
    (
        "_Z1fIiEvDTilfp_fp0_EE",
        "f<int>(decltype ({{parm#1}, {parm#2}}))",
    ),
    ("_Z1fIiEvDTtlT_di1aLi1EEE", "f<int>(decltype (int{.a=(1)}))"),
    (
        "_Z1fIiEvDTtlT_di1adi1bLi1EEE",
        "f<int>(decltype (int{.a.b=(1)}))",
    ),
    (
        "_Z1fIiEvDTtlT_dxLi0ELi1EEE",
        "f<int>(decltype (int{[0]=(1)}))",
    ),
    (
        "_Z1fIiEvDTtlT_dXLi0ELi1ELi2EEE",
        "f<int>(decltype (int{[0 ... 1]=(2)}))",
    ),
    ("_Z1fIiEvDTnw_T_EE", "f<int>(decltype (new int))"),
    ("_Z1fIiEvDTnw_T_piEE", "f<int>(decltype (new int()))"),
    (
        "_Z1fIiEvDTnwfp__T_pifp_EE",
        "f<int>(decltype (new ({parm#1}) int({parm#1})))",
    ),
    (
        "_Z1fIiEvDTna_T_ilfp_EE",
        "f<int>(decltype (new int{{parm#1}}))",
    ),
    ("_Z1fIiEvDTgsnw_T_EE", "f<int>(decltype (::new int))"),
    ("_Z1fIiEvDTdlfp_E", "f<int>(decltype (delete {parm#1}))"),
    ("_Z1fIiEvDTdafp_E", "f<int>(decltype (delete[] {parm#1}))"),
    ("_Z1fIiEvDTtrE", "f<int>(decltype (throw))"),
    ("_Z1fIiEvDTtwfp_E", "f<int>(decltype (throw {parm#1}))"),
    ("_Z1fIiEvDTstT_E", "f<int>(decltype (sizeof (int)))"),
    ("_Z1fIiEvDTszfp_E", "f<int>(decltype (sizeof {parm#1}))"),
    ("_Z1fIiEvDTatT_E", "f<int>(decltype (alignof (int)))"),
    ("_Z1fIiEvDTazfp_E", "f<int>(decltype (alignof {parm#1}))"),
    ("_Z1fIJiiEEvDTsZT_E", "f<int, int>(decltype (2))"),
    ("_Z1fIJiiEEvDTsPDpT_iEE", "f<int, int>(decltype (3))"),
    ("_Z1fIJiEEvDTflplT_E", "f<int>(decltype ((...+(int))))"),
    ("_Z1fIJiEEvDTfrplT_E", "f<int>(decltype (((int)+...)))"),
    (
        "_Z1fIJiEEvDTfLplLi0ET_E",
        "f<int>(decltype (((0)+...+(int))))",
    ),
    (
        "_Z1fIJiEEvDTfRplT_Li0EE",
        "f<int>(decltype (((int)+...+(0))))",
    ),
    (
        "_Z1fIJLb1ELb0EEEvNSt9enable_ifIXfraaT_EvE4typeE",
        "f<true, false>(std::enable_if<((true, false)&&...), void>::type)",
    ),
    (
        "_Z1fIJiiEEvDTcl1gspfp_EEDpT_",
        "f<int, int>(decltype (g({parm#1}...)), int, int)",
    ),
    (
        "_Z1fIJiiEEvDTcl1gspT_EEDpT_",
        "f<int, int>(decltype (g(int, int)), int, int)",
    ),
    ("_Z1fIiEvDTgs1aE", "f<int>(decltype (::a))"),
    (
        "_Z1fIiEvDTcv3FooIT_Efp_E",
        "f<int>(decltype ((Foo<int>){parm#1}))",
    ),
];

const UNRESOLVED_NAMES: &[(&str, &str)] = &[
    ("_Z1fIiEvDTsrT_1aE", "f<int>(decltype (int::a))"),
    ("_Z1fIiEvDTsrT_1aIiEE", "f<int>(decltype (int::a<int>))"),
    ("_Z1fIiEvDTsrT_onplE", "f<int>(decltype (int::operator+))"),
    (
        "_Z1fIiEvDTsrSt3fooIT_E5valueE",
        "f<int>(decltype (std::foo<int>::value))",
    ),
    ("_Z1fIiEvDTsrN1a1bE1cE", "f<int>(decltype (a::b::c))"),
    ("_Z1fIiEvDTsrNT_1bE1cE", "f<int>(decltype (int::b::c))"),
    ("_Z1fIiEvDTgssr1a1bE", "f<int>(decltype (::a::b))"),
    (
        "_Z1fIiEvNSt9enable_ifIXsr4is_xIT_E5valueE3FooE4typeES1_",
        "f<int>(std::enable_if<is_x<int>::value, Foo>::type, is_x)",
    ),
    (
        "_Z1fIiEvNSt9enable_ifIXntsr4is_xIT_E5valueEvE4typeE",
        "f<int>(std::enable_if<!is_x<int>::value, void>::type)",
    ),
    (
        "_Z1fIiEvNSt9enable_ifIXsr3std4is_xIT_EE5valueE3FooE4typeEi",
        "f<int>(std::enable_if<std::is_x<int>::value, Foo>::type, int)",
    ),
    (
        "_Z1fIiEvNSt9enable_ifIXsr1AIT_E1BE5valueE3FooE4typeEi",
        "f<int>(std::enable_if<A<int>::B::value, Foo>::type, int)",
    ),
    (
        "_ZN4llvm10checkedAddIiEENSt9enable_ifIXsr3std9is_signedIT_EE5valueENS_8OptionalIS\
         2_EEE4typeES2_S2_",
        "llvm::checkedAdd<int>(int, int)",
    ),
    (
        "_ZSt11make_sharedIiJiEESt10shared_ptrINSt9enable_ifIXntsr8is_arrayIT_EE5valueES2_\
         E4typeEEDpOT0_",
        "std::make_shared<int, int>(int&&)",
    ),
];
