//! Very deep stacks: whole up to the limit, cut alike beyond it, and without memory cut earlier.

use std::cell::Cell;
use std::hint::black_box;

use heaptape_preload::stack::{CutReason, StackConfig};

use crate::compile::{Library, shared_object};
use crate::differential::{Descend, mix};
use crate::harness::{Session, current, probe, session};
use crate::signals;

/// Frames that are recorded of any stack.
const LIMIT: usize = 131_072;
/// More are never recorded.
const MOST: usize = LIMIT + LIMIT / 8;

/// Runs `body` with a session on a thread that has room for it.
fn on_a_large_stack(config: StackConfig, body: impl FnOnce() + Send + 'static) -> Session {
    let thread = std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(move || session(config, body))
        .expect("a thread");
    thread.join().expect("the thread's own checks")
}

thread_local! {
    /// Frames of the stack that was last taken at a bottom, and whether it was cut.
    static BOTTOM: Cell<(usize, bool)> = const { Cell::new((0, false)) };
    /// Stacks that `roam` may still take.
    static BUDGET: Cell<u32> = const { Cell::new(0) };
}

/// Takes a stack at the bottom, and on every level that `every` divides, down and up.
#[inline(never)]
fn down(levels: u32, every: u32) -> u32 {
    if levels == 0 {
        probe();
        let last = &current().last;
        BOTTOM.set((last.frames.len(), last.cut == Some(CutReason::Depth)));
        return 1;
    }
    let is_taken = levels.is_multiple_of(every);
    if is_taken {
        probe();
    }
    let below = if mix(u64::from(levels)).is_multiple_of(2) {
        down(levels - 1, every) + 1
    } else {
        down(levels - 1, every) + 2
    };
    if is_taken {
        probe();
    }
    black_box(below) + 1
}

const NEVER: u32 = u32::MAX;

/// Frames outside of `down`.
fn frames_outside() -> usize {
    let mut frames = 0;
    down(0, NEVER);
    frames += current().last.frames.len();
    frames - 1
}

#[test]
fn stacks_are_whole_up_to_the_limit() {
    let taken = on_a_large_stack(StackConfig::default(), || {
        let outside = frames_outside();
        for frames in [1_000, 4_095, 4_096, 4_097, 20_000, LIMIT - 1, LIMIT] {
            let levels = u32::try_from(frames - outside - 1).expect("small");
            down(levels, NEVER);
            assert_eq!(current().last.frames.len(), frames);
            assert_eq!(current().last.cut, None);
            if frames == 20_000 {
                current().restart();
            }
        }
    });
    assert_eq!(taken.identical, taken.taken, "{}", taken.different.len());
}

/// Cut beyond: enough is kept and not too much; it is what the reference has, and the next stacks
/// are cut at the same place, down and up, so that they make few nodes.
#[test]
fn deeper_stacks_are_cut_where_the_last_one_was() {
    on_a_large_stack(StackConfig::default(), || {
        down(200_000, NEVER);
        let last = &current().last;
        assert_eq!(last.cut, Some(CutReason::Depth));
        let kept = last.frames.len();
        assert!((LIMIT..=MOST).contains(&kept), "{kept} frames");
        assert_eq!(last.addresses(), current().last_reference[..kept]);
        let first = current().tape.nodes.len();
        down(200_000, NEVER);
        assert_eq!(current().last.frames.len(), kept);
        assert_eq!(current().tape.nodes.len(), first);
        current().compare_no_more();
        current().full_is_off = true;
        current().stride = 1 << 20;
        down(200_000, 1);
        let made = current().tape.nodes.len() - first;
        assert!(made < 3_000_000, "{made} nodes for 400,000 stacks");
    });
}

/// A depth that was asked for is kept to the frame, however the stack came to be.
#[test]
fn an_asked_depth_is_exact() {
    for max_depth in [5_000, 50_000] {
        on_a_large_stack(
            StackConfig {
                max_depth,
                ..StackConfig::default()
            },
            move || {
                current().compare_no_more();
                for levels in [60_000, 60_007, 59_990, 200_000] {
                    down(levels, 9_973);
                    assert_eq!(BOTTOM.get(), (max_depth as usize, true));
                }
            },
        );
    }
}

/// Goes up and down between deep and deeper, by other ways each time.
#[inline(never)]
fn roam(levels: u32, seed: u64) -> u64 {
    let random = mix(seed + u64::from(levels));
    if levels == 0 || random.is_multiple_of(4_111) {
        probe();
        BUDGET.set(BUDGET.get().saturating_sub(1));
    }
    if BUDGET.get() == 0 || levels == 0 {
        return random;
    }
    let mut sum = black_box(roam(levels - 1, random)) + 1;
    if random.is_multiple_of(997) {
        sum += black_box(roam(levels - 1, random >> 7));
    }
    black_box(sum)
}

/// Each as a walk to the end gives it.
#[test]
fn deep_stacks_that_change_are_whole() {
    on_a_large_stack(StackConfig::default(), || {
        current().compare_no_more();
        current().stride = 1 << 20;
        BUDGET.set(600);
        black_box(roam(60_000, 3));
        assert!(current().taken >= 600);
    });
}

#[inline(never)]
fn from_two_places(levels: u32, seen: &mut Vec<Vec<usize>>) {
    // Each several times: so that it is known to be as it was when the other one comes.
    for _ in 0..black_box(2) {
        for _ in 0..black_box(4) {
            down(levels, NEVER);
            seen.push(current().last.addresses());
        }
        for _ in 0..black_box(4) {
            down(levels, NEVER);
            seen.push(current().last.addresses());
        }
    }
}

/// Everything is the same but the outermost place, a hundred thousand frames further out.
#[test]
fn a_change_at_the_far_end_is_seen() {
    let taken = on_a_large_stack(StackConfig::default(), || {
        let mut seen = Vec::new();
        from_two_places(100_000, &mut seen);
        let [first, .., second] = &seen[..] else {
            panic!("stacks");
        };
        assert_ne!(first, second);
        for (number, stack) in seen.iter().enumerate() {
            assert!(stack == [first, second][number / 4 % 2], "{number}");
        }
    });
    assert_eq!(taken.identical, 16);
}

extern "C" fn on_signal(_signal: i32) {
    probe();
    black_box(());
}

#[inline(never)]
fn raise_at(levels: u32) -> u32 {
    if levels == 0 {
        // SAFETY: the signal is handled.
        unsafe { libc::raise(libc::SIGUSR2) };
        return 1;
    }
    black_box(raise_at(levels - 1)) + 1
}

/// In handlers, on the same stack and on another: far more frames than are walked by full rules.
#[test]
fn a_handler_at_depth_has_a_whole_stack() {
    signals::handle(libc::SIGUSR2, on_signal as *const () as usize, 0);
    for is_alternate in [false, true] {
        let taken = on_a_large_stack(StackConfig::default(), move || {
            if is_alternate {
                signals::use_alternate_stack();
            }
            for levels in [100, 4_090, 4_091, 4_092, 4_093, 4_094, 4_095, 4_096, 50_000] {
                raise_at(levels);
                assert!(current().last.frames.len() > levels as usize);
            }
        });
        assert_eq!(taken.identical, taken.taken, "{}", taken.different.len());
    }
}

extern "C" fn down_from_a_coroutine(depth: u32, seed: u64) {
    black_box(down(depth * 200 + seed as u32 % 7, 1_000));
}

/// Stacks of coroutines as deep as their memory allows.
#[test]
fn coroutines_go_deep() {
    let library = Library::open(&shared_object("coroutines.c", "deep.so", &[]));
    let address = library.symbol("run_coroutines");
    // SAFETY: the program defines a function of this type under this name.
    let run =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(u64, Descend)>(address) };
    let taken = on_a_large_stack(StackConfig::default(), move || {
        for seed in 0..10 {
            run(seed, down_from_a_coroutine);
            down(20_000, NEVER);
        }
    });
    assert_eq!(taken.identical, taken.taken, "{}", taken.different.len());
}

/// Lets this process have no more memory, or as much as it could have before.
fn limit_memory(is_limited: bool) {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid structure to fill in.
    let read = unsafe { libc::getrlimit64(libc::RLIMIT_AS, &raw mut limit) };
    limit.rlim_cur = if is_limited { 0 } else { limit.rlim_max };
    // SAFETY: a valid structure.
    let set = unsafe { libc::setrlimit64(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!((read, set), (0, 0));
}

/// Where no memory is to be had, stacks are cut earlier, and still alike. In a process of its own,
/// since the limit is a process's.
#[test]
fn without_memory_stacks_are_cut_earlier() {
    const NAME: &str = "deep::without_memory_stacks_are_cut_earlier";
    const MARKER: &str = "HEAPTAPE_TEST_WITHOUT_MEMORY";
    if std::env::var_os(MARKER).is_none() {
        let program = std::env::current_exe().expect("a path");
        let mut command = std::process::Command::new(program);
        command.args(["--exact", NAME, "--test-threads=1"]);
        let status = command.env(MARKER, "1").status().expect("it runs");
        assert!(status.success());
        return;
    }
    on_a_large_stack(StackConfig::default(), || {
        current().compare_no_more();
        // What is kept of stacks here needs no memory either.
        (current().full_is_off, current().stride) = (true, 1 << 20);
        down(100, NEVER);
        limit_memory(true);
        for levels in [2_000, 9_000, 9_100, 8_500, 3_000, 9_000] {
            down(levels, 97);
        }
        limit_memory(false);
        current().stride = 1;
        let made = current().tape.nodes.len();
        assert!(made < 300_000, "{made} nodes");
        down(9_000, NEVER);
        let (kept, is_cut) = BOTTOM.get();
        assert!(is_cut && (3_072..=4_096).contains(&kept), "{kept} frames");
        down(2_000, NEVER);
        assert_eq!(current().last.cut, None);
    });
}
