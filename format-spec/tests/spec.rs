//! SPEC.md and the crate say the same: the tables of the document, row by row, against the code.
//!
//! Field tables are compared by behaviour: a value that only one field has must stand at the stated
//! offset, in the stated width.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use heaptape_format::chunk::{
    CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkHeader, ChunkKind, Codec, FLAG_MUST_UNDERSTAND,
};
use heaptape_format::event::{
    Column, DomainId, Event, EventEncoder, EventReader, Operation, OperationKind,
};
use heaptape_format::header::{ClockKind, HEADER_BYTES, MAGIC};
use heaptape_format::tables::*;
use heaptape_format::{TapeHeader, varint};
use std::collections::BTreeMap;

const SPEC: &str = include_str!("../SPEC.md");

/// The text of the section whose heading begins with `number`, up to the next heading.
fn section(number: &str) -> &'static str {
    let start = SPEC
        .lines()
        .find(|line| {
            let mut words = line.split_whitespace();
            line.starts_with('#') && words.nth(1) == Some(number)
        })
        .unwrap_or_else(|| panic!("SPEC.md has no section {number}"));
    let text = SPEC.split_once(start).unwrap().1;
    text.split("\n#").next().unwrap()
}

/// The rows of the table of a section whose first columns have these names.
fn table(number: &str, columns: &[&str]) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| -> Vec<&'static str> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(str::trim).collect()
    };
    let mut lines = section(number).lines().skip_while(|line| {
        !line.starts_with('|') || !cells(line).iter().zip(columns).all(|(a, b)| a == b)
    });
    assert!(lines.next().is_some(), "§{number} has no table {columns:?}");
    let rows: Vec<_> = lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect();
    assert!(rows.iter().all(|row| row.len() >= columns.len()) && !rows.is_empty());
    rows
}

/// A table of fixed fields against bytes: each field at its offset, no gap, nothing behind.
fn check_layout(number: &str, bytes: &[u8], values: &[(&str, Vec<u8>)]) {
    let mut values: BTreeMap<&str, &Vec<u8>> = values.iter().map(|(n, v)| (*n, v)).collect();
    let mut end = 0;
    for row in table(number, &["offset", "bytes", "field"]) {
        let (offset, length, field) = (row[0], row[1], row[2]);
        let (offset, length): (usize, usize) = (offset.parse().unwrap(), length.parse().unwrap());
        assert_eq!(offset, end, "{field}");
        end += length;
        let value = values
            .remove(field)
            .unwrap_or_else(|| panic!("no field {field}"));
        assert_eq!(&bytes[offset..end], value, "{field}");
    }
    assert_eq!(end, bytes.len());
    assert!(values.is_empty(), "not in SPEC.md: {values:?}");
}

fn le<const N: usize>(value: u64) -> Vec<u8> {
    value.to_le_bytes()[..N].to_vec()
}

#[test]
fn the_tape_header_stands_as_stated() {
    let header = TapeHeader {
        version: (0x0101, 0x0202),
        must_understand: 0x0303_0303_0303_0303,
        may_ignore: 0x0404_0404_0404_0404,
        tape_id: [5; 16],
        session_id: [6; 16],
        boot_id: [7; 16],
        ticks_per_second: 0x0808_0808_0808_0808,
        start_ticks: 0x0909_0909_0909_0909,
        start_realtime_ns: 0x0a0a_0a0a_0a0a_0a0a,
        start_boottime_ns: 0x0b0b_0b0b_0b0b_0b0b,
        pid_namespace: 0x0c0c_0c0c_0c0c_0c0c,
        pid: 0x0d0d_0d0d,
        page_size: 0x0e0e_0e0e,
        stamp_shift: 0x0f,
        pointer_bytes: 0x10,
        architecture: 0x11,
        clock: ClockKind::Monotonic,
        c_library: 0x12,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(bytes.len(), HEADER_BYTES);
    let checksum = u64::from(crc32c::crc32c(&bytes[..HEADER_BYTES - 4]));
    check_layout(
        "3.",
        &bytes,
        &[
            ("magic", MAGIC.to_vec()),
            ("version_major", le::<2>(0x0101)),
            ("version_minor", le::<2>(0x0202)),
            ("header_bytes", le::<4>(HEADER_BYTES as u64)),
            ("must_understand", le::<8>(header.must_understand)),
            ("may_ignore", le::<8>(header.may_ignore)),
            ("tape_id", vec![5; 16]),
            ("session_id", vec![6; 16]),
            ("boot_id", vec![7; 16]),
            ("ticks_per_second", le::<8>(header.ticks_per_second)),
            ("start_ticks", le::<8>(header.start_ticks)),
            ("start_realtime_ns", le::<8>(header.start_realtime_ns)),
            ("start_boottime_ns", le::<8>(header.start_boottime_ns)),
            ("pid_namespace", le::<8>(header.pid_namespace)),
            ("pid", le::<4>(0x0d0d_0d0d)),
            ("page_size", le::<4>(0x0e0e_0e0e)),
            ("stamp_shift", vec![0x0f]),
            ("pointer_bytes", vec![0x10]),
            ("architecture", vec![0x11]),
            ("byte_order", vec![1]),
            ("clock", vec![2]),
            ("c_library", vec![0x12]),
            ("reserved", vec![0; 54]),
            ("checksum", le::<4>(checksum)),
        ],
    );
    let stated = "`89 48 54 41 50 45 0D 0A`";
    let magic: Vec<String> = MAGIC.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(stated, format!("`{}`", magic.join(" ")));
    assert!(section("3.").contains(stated));
}

#[test]
fn the_chunk_header_stands_as_stated() {
    let header = ChunkHeader {
        kind: ChunkKind(0x0101),
        codec: Codec::Zstd,
        flags: 0x02,
        stored_bytes: 0x0303_0303,
        payload_bytes: 0x0404_0404,
        stream: 0x0505_0505,
        count: 0x0606_0606,
        stamp_first: 0x0707_0707_0707_0707,
        stamp_last: 0x0808_0808_0808_0808,
        sequence: 0x0909_0909_0909_0909,
        first: 0x0a0a_0a0a_0a0a_0a0a,
        payload_checksum: 0x0b0b_0b0b,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(bytes.len(), CHUNK_HEADER_BYTES);
    let checksum = u64::from(crc32c::crc32c(&bytes[..CHUNK_HEADER_BYTES - 4]));
    check_layout(
        "4.1",
        &bytes,
        &[
            ("magic", CHUNK_MAGIC.to_vec()),
            ("kind", le::<2>(0x0101)),
            ("codec", vec![2]),
            ("flags", vec![2]),
            ("stored_bytes", le::<4>(0x0303_0303)),
            ("payload_bytes", le::<4>(0x0404_0404)),
            ("stream", le::<4>(0x0505_0505)),
            ("count", le::<4>(0x0606_0606)),
            ("stamp_first", le::<8>(header.stamp_first)),
            ("stamp_last", le::<8>(header.stamp_last)),
            ("sequence", le::<8>(header.sequence)),
            ("first", le::<8>(header.first)),
            ("payload_checksum", le::<4>(0x0b0b_0b0b)),
            ("header_checksum", le::<4>(checksum)),
        ],
    );
    assert!(section("4.1").contains("`48 54 63 6B` (\"HTck\")"));
    assert_eq!(&CHUNK_MAGIC, b"HTck");
    assert!(section("4.1").contains("bit 0: must understand") && FLAG_MUST_UNDERSTAND == 1);
    let codecs: Vec<&str> = table("4.2", &["code"]).iter().map(|row| row[0]).collect();
    let known = [Codec::Plain, Codec::Zstd].map(|codec| (codec as u8).to_string());
    assert_eq!(codecs, known);
}

#[test]
fn kinds_columns_operations_and_domains_are_those_stated() {
    let rows = |rows: Vec<Vec<&'static str>>| -> Vec<(u16, &'static str)> {
        rows.iter()
            .map(|row| (row[0].parse().unwrap(), row[1]))
            .collect()
    };
    let kinds: Vec<_> = ChunkKind::ALL
        .iter()
        .map(|kind| (kind.0, kind.name()))
        .collect();
    assert_eq!(rows(table("4.3", &["code", "kind"])), kinds);
    for row in table("4.3", &["code", "kind", "payload"]) {
        let kind = ChunkKind(row[0].parse().unwrap());
        assert_eq!(
            kind.is_known(),
            !row[2].starts_with("reserved"),
            "{}",
            row[1]
        );
    }
    let columns: Vec<_> = Column::ALL
        .iter()
        .map(|&id| (id as u16, id.name()))
        .collect();
    assert_eq!(rows(table("6.2", &["id", "column"])), columns);

    let domains = table("6.3", &["number", "domain"]);
    let domain = |name: &str| {
        let row = domains.iter().find(|row| row[1] == name);
        DomainId(
            row.unwrap_or_else(|| panic!("no domain {name}"))[0]
                .parse()
                .unwrap(),
        )
    };
    let named = ["native", "raw", "mem", "obj", "mmap", "arena"].map(domain);
    use DomainId as D;
    assert_eq!(
        named,
        [D::NATIVE, D::RAW, D::MEM, D::OBJ, D::MMAP, D::ARENA]
    );
    assert_eq!(domains.last().unwrap()[0], D::FIRST_CUSTOM.0.to_string());

    let kinds = table("6.3", &["kind", "name", "codes"]);
    for code in 0..=255u8 {
        let row = &kinds[usize::from(code >> 5)];
        let (first, last) = row[2].split_once('–').unwrap();
        let codes = first.parse::<u8>().unwrap()..=last.parse().unwrap();
        assert!(codes.contains(&code), "{code}");
        let name = format!("{:?}", Operation(code).kind()).to_lowercase();
        assert_eq!(row[1], name, "{code}");
        assert_eq!(row[0], (Operation(code).kind() as u8).to_string());
    }
    let stated = table("6.3", &["code", "operation", "kind", "domain"]);
    assert_eq!(stated.len(), Operation::ALL.len());
    for (row, operation) in stated.iter().zip(Operation::ALL) {
        assert_eq!(row[0], operation.0.to_string());
        assert_eq!(row[1], format!("`{}`", operation.name()));
        let kind = &kinds[operation.kind() as usize];
        assert_eq!(row[2], kind[1], "{}", row[1]);
        match row[3] {
            "column 12" => assert!(operation.is_custom()),
            name => assert_eq!(
                (domain(name), false),
                (operation.implied_domain(), operation.is_custom())
            ),
        }
        let aligned = table("6.2", &["id", "column", "form", "held by"])[10][3].contains(row[1]);
        assert_eq!(aligned, operation.is_aligned(), "{}", row[1]);
    }
}

/// Which columns an event holds, against "held by" in §6.2.
#[test]
fn events_hold_the_columns_stated() {
    for row in table("6.2", &["id", "column", "form", "held by"]) {
        let id: u8 = row[0].parse().unwrap();
        for operation in Operation::ALL {
            let mut event = Event::new(*operation, 5);
            (event.stack, event.size, event.address, event.old_size) = (1, 1, 16, 1);
            let mut encoder = EventEncoder::new();
            encoder.push(&event).unwrap();
            let mut payload = Vec::new();
            encoder.finish(&mut payload);
            let ids: Vec<u8> = payload[1..].chunks(5).map(|entry| entry[0]).collect();
            let holds = ids[..usize::from(payload[0])].contains(&id);
            let kind = format!("{:?}", operation.kind()).to_lowercase();
            let name = format!("`{}`", operation.name());
            let mut words = row[3].split([' ', ',']);
            let stated = match id {
                1 | 2 => row[3] == "every event",
                11 => row[3].contains(&name),
                12 => operation.name().starts_with("heaptape_report_"),
                _ => words.any(|word| word == kind),
            };
            assert_eq!(holds, stated, "{} in column {}", operation.name(), row[1]);
        }
    }
}

fn check_record<R: Record>(number: &str) {
    let stated: Vec<_> = table(number, &["field", "form", "meaning"])
        .iter()
        .map(|row| (row[0], row[1]))
        .collect();
    assert_eq!(stated, R::FIELDS, "§{number}");
    let kind = format!("Kind {}.", R::KIND.0);
    assert!(section(number).contains(&kind), "§{number}: {kind}");
    let row = R::KIND.0.to_string();
    let kinds = table("4.3", &["code", "kind", "payload"]);
    let row = kinds.iter().find(|kind| kind[0] == row).unwrap();
    assert_eq!(row[2], format!("records, §{number}"));
}

#[test]
fn records_have_the_fields_stated() {
    check_record::<Domain>("8.2");
    check_record::<Module>("8.3");
    check_record::<Stream>("8.4");
    check_record::<Process>("8.5");
    check_record::<ClockPair>("8.6");
    check_record::<ResidentSample>("8.7");
    check_record::<Mark>("8.8");
    check_record::<Lost>("8.9");
    check_record::<Epoch>("8.10");
    check_record::<Child>("8.11");
    check_record::<End>("8.12");
    check_record::<Totals>("8.13");
    check_record::<ForkCut>("8.14");
    check_record::<Folded>("8.16");
    check_record::<CodeObject>("8.15");
    use heaptape_format::line_table as t;
    let forms = table("8.15", &["form", "line table"]);
    let known = [
        t::FORM_NONE,
        t::FORM_LNOTAB,
        t::FORM_LINETABLE,
        t::FORM_LOCATIONS,
    ];
    let forms: Vec<&str> = forms.iter().map(|row| row[0]).collect();
    assert_eq!(forms, known.map(|form| form.to_string()));
    let not_begun = format!("instruction {} (not begun)", t::NOT_BEGUN);
    assert!(section("8.15").contains(&not_begun));
    let example = [0x02, 0x00, 0x04, 0x80, 0x02, 0xfe];
    assert!(section("8.15").contains("form 2, first line 7, table `02 00 04 80 02 FE`"));
    let lines = (0..5).map(|instruction| t::line_of(2, 7, &example, instruction));
    assert!(lines.eq([7, 0, 0, 5, 0]));
    let reasons = table("8.9", &["reason", "why events were lost"]);
    for (row, code) in reasons.iter().zip(0u8..) {
        assert_eq!(row[0], code.to_string());
        let reason = LostReason::from_code(code);
        assert_eq!(reason as u8, code);
        assert!(
            row[1].contains(reason.text()) || code == 0 || code == 3,
            "{}",
            row[1]
        );
    }
    assert_eq!(
        LostReason::from_code(reasons.len() as u8),
        LostReason::Other
    );
    let cuts = table("7.", &["reason", "why a stack was cut"]);
    let codes: Vec<String> = [CutReason::Depth, CutReason::Unknown]
        .map(|reason| (reason as u8).to_string())
        .to_vec();
    assert_eq!(cuts.iter().map(|row| row[0]).collect::<Vec<_>>(), codes);
}

#[test]
fn limits_and_version_are_those_stated() {
    use heaptape_format as f;
    let limits: Vec<u64> = table("11.", &["limit", "value"])
        .iter()
        .map(|row| row[1].parse().unwrap())
        .collect();
    let known = [
        u64::from(f::EVENTS_PER_CHUNK_MAX),
        u64::from(f::PAYLOAD_BYTES_MAX),
        u64::from(f::TABLE_BYTES_MAX),
        f::ADDRESS_MAX,
        u64::from(f::ALIGNMENT_LOG2_MAX),
        u64::from(f::STACK_NODES_MAX),
        f::symbols::SYMBOL_TEXTS_MAX as u64,
        f::symbols::SYMBOL_TEXT_MAX as u64,
        f::line_table::LINE_TABLE_BYTES_MAX as u64,
        65536,
    ];
    assert_eq!(limits, known);
    let version = format!(
        "Version **{}.{}**",
        f::FORMAT_VERSION,
        f::FORMAT_VERSION_MINOR
    );
    assert!(SPEC.contains(&version));
    let in_header = format!("| 10 | 2 | version_minor | {} |", f::FORMAT_VERSION_MINOR);
    assert!(section("3.").contains(&in_header));
    let bytes = format!("at most {} bytes in all columns", f::EVENT_BYTES_MAX);
    assert!(section("11.").contains(&bytes));
}

/// The examples of §2 and §6.5, byte by byte.
#[test]
fn the_examples_are_what_the_encoder_writes() {
    let mut bytes = Vec::new();
    varint::put_varint(&mut bytes, 300);
    varint::put_delta(&mut bytes, 10, 7);
    assert_eq!(bytes, [0xac, 0x02, 0x05]);
    assert!(section("2.").contains("varint 300 = `AC 02`; delta from 10 to 7 = `05`"));
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);

    let block = section("6.5").split("```").nth(1).unwrap();
    let bytes_of = |line: &'static str| line.split("  ").next().unwrap().split_whitespace();
    let example: Vec<u8> = block
        .lines()
        .flat_map(bytes_of)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let events = [
        Event {
            address: 0x1010,
            size: 24,
            stack: 3,
            ..Event::new(Operation::MALLOC, 100)
        },
        Event {
            old_address: 0x1010,
            ..Event::new(Operation::FREE, 105)
        },
    ];
    let mut encoder = EventEncoder::new();
    for event in &events {
        encoder.push(event).unwrap();
    }
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    assert_eq!(payload, example);
    let decoded: Vec<_> = EventReader::new(&example, 2, 100).unwrap().collect();
    assert_eq!(decoded[0], Ok(events[0]));
    assert_eq!(decoded[1].unwrap().reference, Some(0));
    assert_eq!(decoded[1].unwrap().operation.kind(), OperationKind::Free);
    assert!(section("2.").contains("0x1000 to 0x1040 =\n`10`, from 0x1040 to 0x1038 = `1F`"));
}
