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
        OperationKind::Free | OperationKind::Unmap => (true, false),
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
