//! Damaged unwind tables: whatever the bytes are, reading them ends, stays inside and never
//! panics; undamaged ones are all understood.

use heaptape_preload::modules::elf::Headers;
use heaptape_preload::modules::find::{self, Object};
use heaptape_preload::stack::cfi::{self, Fde, Lookup};
use heaptape_preload::stack::expression::{Memory, Registers, evaluate};
use heaptape_preload::stack::reader::Section;
use heaptape_preload::stack::row::{Row, RowKind, bytes_of};
use heaptape_preload::stack::rules::{CfaRule, Rule, Scratch, Span};
use proptest::prelude::*;

/// The object that holds a function of the compiler's runtime library: small, and with handlers.
fn small_object() -> Object {
    unsafe extern "C-unwind" {
        fn _Unwind_Backtrace();
    }
    find::start();
    find::object_of(_Unwind_Backtrace as *const () as usize).expect("loaded")
}

struct Nothing;
impl Memory for Nothing {
    fn read(&mut self, address: usize) -> Option<usize> {
        (address > 4096).then_some(address)
    }
}

fn find_fde<'a>(section: &Section<'a>, header: usize, pc: usize) -> Option<Fde<'a>> {
    match cfi::look_up(section, header, pc)? {
        Lookup::At(address) => cfi::fde_at(section, address, header),
        Lookup::ScanFrom(address) => cfi::scan(section, address, pc),
        Lookup::Nowhere => None,
    }
}

fn check_span(span: Span, section: &Section<'_>) {
    let bytes = bytes_of(span, section).expect("an expression lies in its section");
    let _value = evaluate(bytes, Some(8), &Registers::default(), &mut Nothing);
}

/// Everything that a walk does with the tables for one program counter.
fn use_tables(section: &Section<'_>, header: usize, pc: usize) -> Option<Row> {
    let fde = find_fde(section, header, pc)?;
    let mut scratch = Scratch::default();
    scratch.run(&fde, pc).ok()?;
    if let CfaRule::Expression(span) = scratch.rules.cfa {
        check_span(span, section);
    }
    for rule in scratch.rules.registers {
        if let Rule::Expression(span) | Rule::ValueExpression(span) = rule {
            check_span(span, section);
        }
    }
    let row = Row::pack(&scratch.rules, &fde, section);
    if row.is_plain() {
        assert!(
            row.cfa_offset() >= 8,
            "the return address lies above the base"
        );
        if row.saves_rbp() {
            assert!(row.rbp_offset() <= -16 && row.cfa_offset() + row.rbp_offset() >= 0);
        }
    }
    Some(row)
}

/// Copies of the tables, so that they can be damaged; and a program counter in the object.
fn tables() -> (Vec<u8>, usize, usize, Object) {
    let object = small_object();
    let headers = Headers::of(&object).expect("headers");
    let section = headers
        .section_around(object.unwind_header)
        .expect("tables");
    (
        section.bytes.to_vec(),
        section.address,
        object.unwind_header,
        object,
    )
}

#[test]
fn undamaged_tables_are_understood() {
    let (bytes, address, header, object) = tables();
    let section = Section {
        bytes: &bytes,
        address,
    };
    let mut kinds = Vec::new();
    for pc in object.start..object.end {
        if let Some(fde) = find_fde(&section, header, pc)
            && fde.covers(pc)
        {
            let row = use_tables(&section, header, pc).expect("understood");
            kinds.push(row.kind());
        }
    }
    let count = |kind| kinds.iter().filter(|known| **known == kind).count();
    let (by_rsp, by_rbp) = (count(RowKind::StackPointer), count(RowKind::FramePointer));
    let special = count(RowKind::Special);
    assert!(by_rsp > 10_000 && by_rbp > 500, "{by_rsp} {by_rbp}");
    assert!(special * 50 < by_rsp, "{special} of {by_rsp}");
    assert_eq!(count(RowKind::Unknown), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_tables_end_and_stay_inside(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..200),
        pcs in proptest::collection::vec(any::<prop::sample::Index>(), 1..30),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        is_near_header in any::<bool>(),
    ) {
        let (mut bytes, address, header, object) = tables();
        let header_at = header - address;
        for (place, byte) in places {
            let at = if is_near_header {
                header_at + place.index(64)
            } else {
                place.index(bytes.len())
            };
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        let section = Section { bytes: &bytes, address };
        for pc in pcs {
            let pc = object.start + pc.index(object.end - object.start);
            let _row = use_tables(&section, header, pc);
        }
    }

    #[test]
    fn damaged_functions_end_and_stay_inside(
        pc in any::<prop::sample::Index>(),
        places in proptest::collection::vec((0usize..96, any::<u8>()), 1..12),
        target in any::<usize>(),
    ) {
        let (mut bytes, address, header, object) = tables();
        let pc = object.start + pc.index(object.end - object.start);
        let section = Section { bytes: &bytes, address };
        if let Some(Lookup::At(fde)) = cfi::look_up(&section, header, pc) {
            for (place, byte) in places {
                if let Some(slot) = bytes.get_mut(fde - address + place) {
                    *slot = byte;
                }
            }
            let section = Section { bytes: &bytes, address };
            let _row = use_tables(&section, header, pc);
            // And at an address that the function does not cover.
            if let Some(fde) = cfi::fde_at(&section, fde, header) {
                let _result = Scratch::default().run(&fde, target);
            }
        }
    }
}
