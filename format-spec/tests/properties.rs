//! What holds for all values: what is encoded comes back, and what was not encoded is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use heaptape_format::event::{
    DomainId, Event, EventEncoder, EventReader, Operation, OperationKind,
};
use heaptape_format::header::{ClockKind, KNOWN_FEATURES};
use heaptape_format::stack::{CutReason, Frame, StackNode, put_stack_nodes, stack_nodes};
use heaptape_format::symbols::{SourceFrame, Symbol, put_symbols, symbols};
use heaptape_format::tables::*;
use heaptape_format::{
    ADDRESS_MAX, ALIGNMENT_LOG2_MAX, DecodeErrorKind, STACK_NODES_MAX, TapeHeader,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Numbers of every width, with the extremes.
fn wide() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u32..64, any::<u64>()).prop_map(|(shift, value)| value >> shift),
        1 => Just(0),
        1 => Just(u64::MAX),
    ]
}

/// Few addresses that come again and again, and some of everywhere.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0u64..24).prop_map(|place| 0x5555_5576_0010 + place * 16),
        2 => (0u64..8).prop_map(|place| 0x7fff_0000_0000 + place),
        1 => wide().prop_map(|value| value % ADDRESS_MAX),
        1 => Just(ADDRESS_MAX - 1),
    ]
}

prop_compose! {
    /// An event of any operation in which only the fields that it has are set. Its stamps may be
    /// smaller than the ones before.
    fn event()(
        code in 0u8..224,
        stamps in (wide(), wide()),
        addresses in (address(), address()),
        sizes in (wide(), wide()),
        stack in prop_oneof![0u32..9, any::<u32>()],
        alignment in 0..=ALIGNMENT_LOG2_MAX,
        domain: u16,
    ) -> Event {
        // Codes that are named, half of the time.
        let operation = Operation::ALL.get(usize::from(code) / 2).copied();
        let operation = operation.unwrap_or(Operation(code));
        let mut event = Event::new(operation, stamps.0);
        let kind = operation.kind();
        use OperationKind as K;
        if matches!(kind, K::Realloc | K::Remap) {
            event.end_stamp = stamps.1;
        }
        if matches!(kind, K::Free | K::Realloc | K::Unmap | K::Remap | K::Retag) {
            event.old_address = addresses.0;
        }
        if matches!(kind, K::Unmap | K::Remap) {
            event.old_size = sizes.0;
        }
        if matches!(kind, K::Alloc | K::Realloc | K::Map | K::Remap) {
            (event.address, event.size) = (addresses.1, sizes.1);
        }
        event.stack = stack;
        if operation.is_aligned() {
            event.alignment_log2 = alignment;
        }
        if operation.is_custom() {
            event.domain = DomainId(domain);
        }
        event
    }
}

/// Stamps that rise by small steps, as most do.
fn in_step(mut events: Vec<Event>) -> Vec<Event> {
    let mut stamp = 1000;
    for event in &mut events {
        stamp += event.stamp % 300;
        event.stamp = stamp;
        stamp += if event.end_stamp == event.stamp { 0 } else { 2 };
        event.end_stamp = stamp;
    }
    events
}

/// The events as a reader gives them: stamps never fall, and only the two kinds that have an end
/// stamp of their own keep it.
fn as_recorded(events: &[Event]) -> Vec<Event> {
    let mut last = events.first().map_or(0, |event| event.stamp);
    let mut recorded = events.to_vec();
    for event in &mut recorded {
        event.stamp = event.stamp.max(last);
        last = event.stamp;
        let kind = event.operation.kind();
        if matches!(kind, OperationKind::Realloc | OperationKind::Remap) {
            last = event.end_stamp.max(last);
        }
        event.end_stamp = last;
    }
    recorded
}

/// Encodes with `encoder` and decodes again; references are checked and taken out.
fn through(encoder: &mut EventEncoder, events: &[Event]) -> (Vec<u8>, Vec<Event>) {
    for event in events {
        encoder.push(event).unwrap();
    }
    let (first, last) = encoder.stamps();
    let count = encoder.len();
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    assert!(encoder.is_empty());
    let mut found = Vec::new();
    let mut allocated = Vec::new();
    for event in EventReader::new(&payload, count, first).unwrap() {
        let mut event = event.unwrap();
        if let Some(reference) = event.reference.take() {
            let kind = event.operation.kind();
            assert!(matches!(kind, OperationKind::Free | OperationKind::Realloc));
            assert!(!event.operation.is_custom());
            let (operation, address): (Operation, u64) = allocated[reference as usize];
            assert_eq!(event.old_address, address);
            assert!(!operation.is_custom());
        }
        if matches!(
            event.operation.kind(),
            OperationKind::Alloc | OperationKind::Realloc
        ) {
            allocated.push((event.operation, event.address));
        }
        found.push(event);
    }
    assert_eq!(found.last().map_or(last, |event| event.end_stamp), last);
    (payload, found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn events_come_back(events in vec(event(), 0..200)) {
        let (_, found) = through(&mut EventEncoder::new(), &events);
        prop_assert_eq!(found, as_recorded(&events));
    }

    /// A reused encoder writes what a new one does.
    #[test]
    fn chunks_know_nothing_of_each_other(chunks in vec(vec(event(), 1..80), 1..4)) {
        let mut reused = EventEncoder::new();
        for events in chunks {
            let events = in_step(events);
            let (payload, found) = through(&mut reused, &events);
            prop_assert_eq!(found, as_recorded(&events));
            prop_assert_eq!(payload, through(&mut EventEncoder::new(), &events).0);
        }
    }

    /// The short ways write the same bytes as the general one, and refuse what is not theirs.
    #[test]
    fn the_short_ways_are_the_general_one(
        events in vec((event(), any::<bool>()), 0..300),
        places in vec(0..20u64, 300),
    ) {
        let (mut general, mut short) = (EventEncoder::new(), EventEncoder::new());
        for ((mut event, is_wild), place) in events.into_iter().zip(places) {
            if !is_wild {
                // Few addresses, so that frees find their allocations.
                event.address = place * 16;
                event.old_address = place * 16;
            }
            let (operation, stamp) = (event.operation, event.stamp);
            let allocated = short.push_allocation(
                operation, stamp, event.address, event.size, event.stack,
            );
            let has_more = operation.is_aligned() || operation.is_custom();
            let kind = operation.kind();
            prop_assert_eq!(allocated.is_ok(), kind == OperationKind::Alloc && !has_more);
            let is_freed = short.push_free(operation, stamp, event.old_address).is_ok();
            prop_assert_eq!(is_freed, kind == OperationKind::Free && !has_more);
            if is_freed {
                event.stack = 0;
            }
            if is_freed || allocated.is_ok() {
                prop_assert_eq!(general.push(&event), Ok(()));
            }
        }
        prop_assert_eq!(short.len(), general.len());
        prop_assert_eq!(short.stamps(), general.stamps());
        let (mut left, mut right) = (Vec::new(), Vec::new());
        short.finish(&mut left);
        general.finish(&mut right);
        prop_assert_eq!(left, right);
    }

    /// Whatever is pushed, what was accepted is readable, and what was not has left no trace.
    #[test]
    fn the_encoder_refuses_what_the_reader_would(
        events in vec((event(), any::<u8>(), any::<[u64; 2]>(), any::<u8>()), 0..60)
    ) {
        let mut encoder = EventEncoder::new();
        let mut accepted = Vec::new();
        for (good, code, addresses, alignment) in events {
            let mut wild = good;
            if code % 3 == 0 {
                wild.operation = Operation(code);
                [wild.address, wild.old_address] = addresses;
                wild.alignment_log2 = alignment;
            }
            let bad = !wild.operation.has_layout()
                || wild.address.max(wild.old_address) >= ADDRESS_MAX
                || wild.alignment_log2 > ALIGNMENT_LOG2_MAX;
            let pushed = encoder.push(&wild);
            prop_assert_eq!(pushed.is_err(), bad, "{:?}", wild);
            if pushed.is_ok() {
                accepted.push((wild.operation, wild.size));
            }
        }
        let (first, count) = (encoder.stamps().0, encoder.len());
        let mut payload = Vec::new();
        encoder.finish(&mut payload);
        let found: Result<Vec<Event>, _> =
            EventReader::new(&payload, count, first).unwrap().collect();
        let found: Vec<Operation> = found.unwrap().iter().map(|event| event.operation).collect();
        let accepted: Vec<Operation> = accepted.iter().map(|(operation, _)| *operation).collect();
        prop_assert_eq!(found, accepted);
    }

    /// A payload with a changed byte gives events or an error, and never more events than stated.
    #[test]
    fn changed_payloads_end(
        events in vec(event(), 1..40), place: prop::sample::Index, byte: u8, count in 0u32..60
    ) {
        let (mut payload, _) = through(&mut EventEncoder::new(), &events);
        *place.get_mut(&mut payload) = byte;
        if let Ok(reader) = EventReader::new(&payload, count, 0) {
            let found: Vec<_> = reader.collect();
            prop_assert!(found.iter().filter(|event| event.is_ok()).count() <= count as usize);
            prop_assert!(found.iter().rev().skip(1).all(Result::is_ok), "it ends at an error");
            for event in found.into_iter().flatten() {
                prop_assert!(event.address < ADDRESS_MAX && event.old_address < ADDRESS_MAX);
                prop_assert!(event.alignment_log2 <= ALIGNMENT_LOG2_MAX);
                prop_assert!(event.stamp <= event.end_stamp);
            }
        }
    }

    #[test]
    fn stack_nodes_come_back(
        first in prop_oneof![1u32..100, STACK_NODES_MAX - 300..STACK_NODES_MAX - 100],
        shapes in vec((any::<u32>(), 0u8..5, any::<u32>(), wide()), 0..100),
    ) {
        let node = |(id, (parent, form, module, offset)): (u32, (u32, u8, u32, u64))| StackNode {
            parent: parent % id,
            frame: match form {
                0 => Frame::Cut(CutReason::Depth),
                1 => Frame::Cut(CutReason::Unknown),
                2 => Frame::Python { code: module, instruction: offset as u32 },
                _ => Frame::Native { module, offset, exact: form == 4 },
            },
        };
        let nodes: Vec<StackNode> = (first..).zip(shapes).map(node).collect();
        let mut payload = Vec::new();
        put_stack_nodes(&nodes, first, &mut payload);
        prop_assert_eq!(stack_nodes(&payload, nodes.len() as u32, first.into()), Ok(nodes));
    }

    #[test]
    fn symbols_come_back(
        table in vec(
            (any::<u32>(), wide(), any::<bool>(),
             vec(("[a-c]{0,2}", ".{0,4}", any::<u32>(), any::<bool>()), 0..4)),
            0..20,
        )
    ) {
        let table: Vec<Symbol> = table
            .into_iter()
            .map(|(module, offset, exact, frames)| Symbol {
                module,
                offset,
                exact,
                frames: frames
                    .into_iter()
                    .map(|(function, file, line, inlined)| SourceFrame {
                        function, file, line, inlined,
                    })
                    .collect(),
            })
            .collect();
        prop_assert_eq!(symbols(&put_symbols(&table), table.len() as u32), Ok(table));
    }

    #[test]
    fn records_come_back(
        numbers in vec(wide(), 6),
        texts in vec(".{0,40}", 4),
        command in vec(".{0,9}", 0..5),
        bytes: Vec<u8>,
    ) {
        let n = |place: usize| numbers[place];
        let process = Process {
            pid: n(0) as u32,
            parent_pid: n(1) as u32,
            origin: n(2) as u8,
            image: n(3) as u32,
            cut_stamp: n(4),
            parent_tape: texts[0].clone(),
            executable: texts[1].clone(),
            command,
            working_folder: texts[2].clone(),
            recorder_version: texts[3].clone(),
            options: n(5) as u32,
            allocator: texts[0].repeat(40),
            depth_max: n(1) as u32,
            size_min: n(5),
        };
        let module = Module {
            index: n(0) as u32,
            load_bias: n(1),
            start: n(2),
            end: n(3),
            stamp: n(4),
            build_id: bytes.clone(),
            path: texts[1].clone(),
        };
        let domain = Domain { id: n(0) as u16, name: texts[2].clone() };
        check(&[process])?;
        check(&[module.clone(), module])?;
        let code = CodeObject {
            number: n(0) as u32,
            form: n(1) as u8,
            first_line: n(2) as u32,
            file: texts[0].clone(),
            name: texts[1].clone(),
            line_table: bytes,
        };
        check(&[code])?;
        check(&[domain])?;
    }

    #[test]
    fn headers_come_back(
        numbers in vec(any::<u64>(), 8), ids: [[u8; 16]; 3], ticks in 1u64.., shift in 0u8..=32
    ) {
        let clock = if shift % 2 == 0 { ClockKind::Tsc } else { ClockKind::Monotonic };
        let mut header = TapeHeader::new(clock, ticks, numbers[0]);
        [header.tape_id, header.session_id, header.boot_id] = ids;
        header.must_understand = numbers[0] & KNOWN_FEATURES;
        (header.may_ignore, header.start_realtime_ns) = (numbers[1], numbers[2]);
        (header.start_boottime_ns, header.pid_namespace) = (numbers[3], numbers[4]);
        (header.pid, header.page_size) = (numbers[5] as u32, numbers[6] as u32);
        (header.stamp_shift, header.architecture) = (shift, numbers[7] as u8);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        // The times of the largest stamps and moments do not overflow either.
        prop_assert!(header.stamp_to_ns(u64::MAX) >= header.stamp_to_ns(1 << 20));
        prop_assert!(header.ns_to_stamp(u64::MAX) >= header.ns_to_stamp(1 << 20));
        prop_assert_eq!(TapeHeader::decode(&bytes), Ok((header, bytes.len())));
    }
}

fn check<R: Record + PartialEq + std::fmt::Debug>(table: &[R]) -> Result<(), TestCaseError> {
    let mut payload = Vec::new();
    for record in table {
        put_record(record, &mut payload);
    }
    let found = records::<R>(&payload, table.len() as u32);
    prop_assert_eq!(found.as_deref(), Ok(table));
    Ok(())
}

/// The widest events fill a chunk to its limit, and no payload becomes too long for a chunk.
#[test]
fn a_full_chunk_of_the_widest_events_fits() {
    use heaptape_format::{EVENT_BYTES_MAX, EVENTS_PER_CHUNK_MAX, PAYLOAD_BYTES_MAX};
    let mut encoder = EventEncoder::new();
    for number in 0..EVENTS_PER_CHUNK_MAX {
        // Both addresses jump from end to end of the address space, off multiples of 16.
        let far = if number % 2 == 0 { ADDRESS_MAX - 1 } else { 0 };
        let mut event = Event::new(Operation::MREMAP, 0);
        (event.address, event.old_address) = (far, far);
        (event.size, event.old_size, event.stack) = (u64::MAX, u64::MAX, u32::MAX);
        encoder.push(&event).unwrap();
    }
    let error = encoder.push(&Event::new(Operation::FREE, 1)).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Limit("events in a chunk"));
    let (count, first) = (encoder.len(), encoder.stamps().0);
    let mut payload = Vec::new();
    encoder.finish(&mut payload);
    // Stamps and durations of 0 take one byte each; with the widest they would take ten.
    let widest = payload.len() as u64 + 18 * u64::from(EVENTS_PER_CHUNK_MAX);
    assert!(widest <= u64::from(EVENTS_PER_CHUNK_MAX) * u64::from(EVENT_BYTES_MAX) + 1024);
    assert!(widest <= u64::from(PAYLOAD_BYTES_MAX));
    let events = EventReader::new(&payload, count, first).unwrap();
    assert_eq!(
        events.filter(Result::is_ok).count(),
        EVENTS_PER_CHUNK_MAX as usize
    );
}
