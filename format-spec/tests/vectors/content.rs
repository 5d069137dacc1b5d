//! Records, nodes, symbols and events for the vectors, with every field and every code in use.

use heaptape_format::event::{DomainId, Event, Operation, OperationKind};
use heaptape_format::stack::{CutReason, Frame, StackNode};
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::*;

pub(crate) fn native(parent: u32, module: u32, offset: u64, exact: bool) -> StackNode {
    StackNode {
        parent,
        frame: Frame::Native {
            module,
            offset,
            exact,
        },
    }
}

pub(crate) fn cut(parent: u32, reason: CutReason) -> StackNode {
    StackNode {
        parent,
        frame: Frame::Cut(reason),
    }
}

pub(crate) fn python(parent: u32, code: u32, instruction: u32) -> StackNode {
    StackNode {
        parent,
        frame: Frame::Python { code, instruction },
    }
}

/// A code object with each form of line table, and what no compiler makes of them.
pub(crate) fn code_objects() -> Vec<CodeObject> {
    let code = |number, form, first_line, line_table: &[u8]| CodeObject {
        number,
        form,
        first_line,
        file: "/app/näh.py".into(),
        name: format!("Shop.<locals>.order{number}"),
        line_table: line_table.into(),
    };
    let long = [0xe8, 0x42, 1, 0xf7, 0x54, 2, 0, 0, 0xd0, 9, 9, 0xe8, 0x0b];
    let all = [
        0x80 | 15 << 3,
        0x80 | 12 << 3 | 1,
        1,
        2,
        0x80,
        5,
        0xe8,
        3,
        0xf0,
    ];
    let far = [
        0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x3f, 0xe8, 2,
    ];
    vec![
        code(1, 1, 7, &[2, 1, 0, 127, 4, 0xff, 255, 0, 1, 1, 9]),
        code(
            2,
            2,
            7,
            &[2, 0, 4, 0x80, 2, 0xfe, 0, 3, 2, 1, 255, 1, 1, 1, 9],
        ),
        code(3, 3, 7, &long),
        code(4, 3, 9, &all),
        code(5, 3, 5, &far),
        code(6, 3, 5, &[1, 2, 0xe8, 0x42, 1]),
        code(7, 0, 7, &all),
        code(8, 4, 7, &all),
        code(9, 1, i32::MAX as u32, &[2, 1]),
        code(10, 2, u32::MAX, &[2, 0, 2, 1, 2, 1]),
        code(u32::MAX, 1, 0, &[]),
        code(0, 2, 3, &[2, 0]),
        CodeObject::default(),
        code(2, 2, 8, &[2, 0]),
    ]
}

pub(crate) fn modules() -> Vec<Module> {
    vec![
        Module {
            index: 1,
            load_bias: 0x5555_5555_4000,
            start: 0x5555_5555_4000,
            end: 0x5555_5557_9000,
            stamp: 1,
            build_id: (0..20).collect(),
            path: "/usr/bin/näh \"x\"".into(),
        },
        Module {
            index: 2,
            path: "[vdso]".into(),
            end: u64::MAX,
            ..Module::default()
        },
    ]
}

pub(crate) fn process() -> Process {
    Process {
        pid: 4711,
        parent_pid: 1,
        origin: 2,
        image: 3,
        cut_stamp: 17,
        parent_tape: "a.4711.1.tape".into(),
        executable: "/usr/bin/näh".into(),
        command: vec!["näh".into(), String::new(), "-x y\t\\".into()],
        working_folder: "/home".into(),
        recorder_version: "0.1.0".into(),
        options: 5,
        allocator: "/lib/libc.so.6".into(),
        depth_max: 64,
        size_min: 16,
    }
}

pub(crate) fn samples() -> Vec<ResidentSample> {
    let sample = |number: u64| ResidentSample {
        stamp: number * 100,
        resident_bytes: 4096 * (1000 + number),
        shared_bytes: 4096 * 17,
    };
    (0..6).map(sample).collect()
}

pub(crate) fn marks() -> Vec<Mark> {
    let mark = |stream, name: &str| Mark {
        stamp: 70,
        stream,
        name: name.into(),
    };
    vec![mark(0, "half"), mark(u32::MAX, "half"), mark(1, "")]
}

pub(crate) fn lost() -> Vec<Lost> {
    let one = |reason| Lost {
        stream: u32::MAX,
        count: 1 << 33,
        stamp_first: 50,
        stamp_last: u64::MAX,
        reason,
    };
    (0..6).map(one).collect()
}

pub(crate) fn children() -> Vec<Child> {
    let child = |origin, tape: &str, reason: &str| Child {
        stamp: 80,
        pid: 4712,
        origin,
        tape: tape.into(),
        command: "busybox".into(),
        reason: reason.into(),
    };
    vec![
        child(1, "a.4712.tape", ""),
        child(2, "", "static executable"),
    ]
}

pub(crate) fn end() -> End {
    End {
        stamp: 1000,
        how: 1,
        code: 3,
        allocs: 1 << 32,
        frees: 7,
        reallocs: 2,
        maps: 1,
        lost: 6,
        message: "no space left".into(),
    }
}

pub(crate) fn clock_pair() -> ClockPair {
    ClockPair {
        stamp: 40,
        monotonic_ns: 1,
        realtime_ns: 1_790_000_000_000_000_001,
        boottime_ns: 3,
    }
}

pub(crate) fn symbol_table() -> Vec<Symbol> {
    let frame = |function: &str, line, inlined| SourceFrame {
        function: function.into(),
        file: "src/näh.c".into(),
        line,
        inlined,
    };
    let symbol = |module, offset, exact, frames| Symbol {
        module,
        offset,
        exact,
        frames,
    };
    let mangled = SourceFrame {
        function: "_RNvYNtC3app4MineNtNtC4core4iter8Iterator7collect".into(),
        ..SourceFrame::default()
    };
    vec![
        symbol(
            1,
            0x1234,
            false,
            vec![frame("inner<T>", 7, true), frame("outer", u32::MAX, false)],
        ),
        symbol(1, 0x1000, true, vec![SourceFrame::default()]),
        symbol(u32::MAX, u64::MAX, false, vec![]),
        symbol(0, 0, false, vec![frame("outer", 0, false)]),
        symbol(1, 0x2000, false, vec![mangled]),
    ]
}

pub(crate) fn some_nodes() -> [StackNode; 3] {
    [
        cut(0, CutReason::Depth),
        native(1, 1, 0x1234, false),
        native(2, 2, 0x800, true),
    ]
}

/// An event of `operation` in which every field that it has is set.
pub(crate) fn full_event(operation: Operation, number: u64) -> Event {
    let mut event = Event::new(operation, number * 5);
    let kind = operation.kind();
    let (dies, lives) = match kind {
        OperationKind::Alloc | OperationKind::Map => (false, true),
        OperationKind::Free | OperationKind::Unmap | OperationKind::Retag => (true, false),
        _ => (true, true),
    };
    if dies {
        event.old_address = 0x7000_0000 + number * 48;
    }
    if lives {
        event.address = 0x5000_0000 + number * 32;
        event.size = number * 1000;
        event.stack = number as u32 % 5;
    }
    if matches!(kind, OperationKind::Unmap | OperationKind::Remap) {
        event.old_size = 4096 * number;
    }
    if matches!(kind, OperationKind::Realloc | OperationKind::Remap) {
        event.end_stamp = event.stamp + 3;
    }
    if operation.is_aligned() {
        event.alignment_log2 = 4 + number as u8;
    }
    if operation.is_custom() {
        event.domain = DomainId(16 + number as u16);
    }
    event
}
