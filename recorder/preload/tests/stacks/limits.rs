//! Depth limits, sinks that refuse, forked children.

use std::hint::black_box;

use heaptape_preload::modules::{self, ModuleRecord};
use heaptape_preload::stack::{CutReason, StackCapture, StackConfig, StackSink};

use crate::harness::{current, probe, session};

#[inline(never)]
fn recurse(levels: u32) -> u32 {
    if levels == 0 {
        probe();
        return 1;
    }
    let below = recurse(levels - 1);
    black_box(below) + 1
}

#[test]
fn a_depth_limit_keeps_the_innermost_frames() {
    let config = StackConfig {
        max_depth: 10,
        ..StackConfig::default()
    };
    session(config, || {
        recurse(30);
        assert_eq!(current().last.cut, Some(CutReason::Depth));
        assert_eq!(current().last.addresses(), current().last_reference[..10]);
    });
}

#[test]
fn a_stack_of_just_the_limit_is_complete() {
    let mut depth = 0;
    let mut run = |config| {
        session(config, || {
            probe();
            depth = current().last_reference.len();
        })
    };
    run(StackConfig::default());
    let config = StackConfig {
        max_depth: u32::try_from(depth).expect("small"),
        ..StackConfig::default()
    };
    let taken = session(config, || probe());
    assert_eq!(
        (taken.taken, taken.identical),
        (1, 1),
        "{}",
        taken.explain()
    );
}

#[inline(never)]
fn with_room<const BYTES: usize>(inner: &dyn Fn()) {
    let mut room = [0u8; BYTES];
    black_box(&mut room);
    inner();
    black_box(&mut room);
}

/// Those of more than 4 MiB do not fit into the packed rules.
#[test]
fn frames_of_many_mebibytes() {
    let run = || {
        session(StackConfig::default(), || {
            for _ in 0..3 {
                with_room::<{ 3 << 20 }>(&|| probe());
                with_room::<{ 5 << 20 }>(&|| with_room::<{ 1 << 20 }>(&|| probe()));
                with_room::<{ 9 << 20 }>(&|| assert_eq!(recurse(3), 4));
            }
        })
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run);
    let taken = thread.expect("a thread").join().expect("no panic");
    assert_eq!(
        (taken.taken, taken.identical),
        (9, 9),
        "{}",
        taken.explain()
    );
}

/// A sink that refuses at any point: no stack then, and the next one is right.
#[test]
fn a_refused_record_leaves_the_state_whole() {
    let taken = session(StackConfig::default(), || {
        for levels in 1..40 {
            current().tape.room = Some(levels as usize % 7);
            current().compare_no_more();
            recurse(levels);
            let is_whole = !current().last.frames.is_empty();
            let refused = current().tape.room == Some(0);
            assert!(
                is_whole || refused,
                "a stack only lacks when a record was refused"
            );
        }
        current().tape.room = None;
        let session = current();
        session.taken = 0;
    });
    assert_eq!(taken.taken, 0);
    let taken = session(StackConfig::default(), || {
        current().tape.room = Some(3);
        current().compare_no_more();
        recurse(20);
        assert!(
            current().last.frames.is_empty(),
            "a stack needs more than three records"
        );
        current().tape.room = None;
        recurse(20);
        let after_refusal = current().last.addresses();
        recurse(20);
        assert_eq!(current().last.addresses()[..20], after_refusal[..20]);
        assert_eq!(after_refusal.len(), current().last.frames.len());
    });
    assert_eq!(taken.taken, 3);
}

struct Counter {
    first_module: u32,
    nodes: u32,
}

impl StackSink for Counter {
    fn module(&mut self, record: &ModuleRecord<'_>) -> bool {
        if self.first_module == 0 {
            self.first_module = record.index;
        }
        true
    }
    fn node(&mut self, _parent: u32, _module: u32, _offset: u64, _exact: bool) -> bool {
        self.nodes += 1;
        true
    }
    fn cut(&mut self, _parent: u32, _reason: CutReason) -> bool {
        self.nodes += 1;
        true
    }
}

/// A forked child announces its modules again, from 1, and numbers its nodes from 1.
#[test]
fn a_forked_child_begins_anew() {
    session(StackConfig::default(), recurse_and_drop);
    let mut capture = StackCapture::create(StackConfig::default()).expect("memory");
    // SAFETY: the child calls nothing but the code under test, which allocates nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        modules::forget();
        // SAFETY: made above; the child is alone.
        let capture = unsafe { capture.as_mut() };
        capture.init(StackConfig::default());
        let mut sink = Counter {
            first_module: 0,
            nodes: 0,
        };
        let caller = heaptape_preload::stack::CallerContext {
            pc: a_forked_child_begins_anew as *const () as usize + 1,
            sp: &raw const sink as usize,
            rbp: 0,
        };
        let id = capture.capture(caller, &mut sink);
        let is_right = sink.first_module == 1 && id == sink.nodes && id > 0;
        // SAFETY: leaves without running the parent's exit handlers.
        unsafe { libc::_exit(if is_right { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

fn recurse_and_drop() {
    black_box(recurse(2));
}
