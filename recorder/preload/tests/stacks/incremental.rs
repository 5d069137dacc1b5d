//! Stacks that have much in common with the one before: whatever is taken over from it must be
//! what a walk to the end gives. Every session of these tests compares with such a walk.

use std::arch::naked_asm;
use std::cell::Cell;
use std::hint::black_box;

use heaptape_preload::arena;
use heaptape_preload::stack::StackConfig;

use crate::compile::{Library, shared_object};
use crate::differential::{Descend, mix, shapes};
use crate::harness::{Session, current, probe, session};
use crate::signals;
use crate::unknown_code::on_other_stack;

/// How often what is random is repeated: once, or `HEAPTAPE_TEST_REPEAT` times.
fn repeats() -> u64 {
    match std::env::var("HEAPTAPE_TEST_REPEAT") {
        Ok(text) => text.parse().expect("HEAPTAPE_TEST_REPEAT is a number"),
        Err(_) => 1,
    }
}

thread_local! {
    /// Stacks that `wander` may still take.
    static BUDGET: Cell<u64> = const { Cell::new(0) };
}

fn take() {
    probe();
    BUDGET.set(BUDGET.get().saturating_sub(1));
}

/// A random walk through a tree of calls of all shapes: takes stacks on the way down, between the
/// branches and on the way up, from several places in this function.
extern "C" fn wander(depth: u32, seed: u64) {
    if BUDGET.get() == 0 {
        return;
    }
    let random = mix(seed);
    if random & 3 == 0 {
        take();
    }
    let Some(depth) = depth.checked_sub(1) else {
        take();
        black_box(seed);
        return;
    };
    for branch in 0..1 + (random >> 2) % 3 {
        let next = mix(random.wrapping_add(branch));
        let shape = shapes()[(next >> 32) as usize % shapes().len()];
        match next & 7 {
            0 => {
                wander(depth, next);
                black_box(next);
            }
            1 | 2 => {
                shape(depth, next >> 3, wander);
                take();
            }
            _ => shape(depth, next >> 3, wander),
        }
        black_box(shape);
    }
    if random >> 60 == 0 {
        probe();
    }
    black_box(random);
}

/// Takes `budget` stacks.
fn wander_for(budget: u64, seed: u64) {
    BUDGET.set(budget);
    let mut seed = seed;
    while BUDGET.get() > 0 {
        wander(4 + (seed % 14) as u32, seed);
        seed += 1;
    }
}

fn check(taken: &Session, compared: u64) {
    assert!(taken.identical >= compared, "{}", taken.explain());
    assert!(taken.different.is_empty(), "{}", taken.explain());
}

/// Calls, recursion, `alloca`, `longjmp`, exceptions and signals on an alternate stack, in random
/// order, in C, C++ and Rust.
#[test]
fn wandering_stacks_are_whole() {
    let workers: Vec<_> = (0..2u64)
        .map(|worker| {
            std::thread::spawn(move || {
                shapes();
                session(StackConfig::default(), || {
                    signals::use_alternate_stack();
                    current().stride = 97;
                    wander_for(150_000 * repeats(), worker << 32);
                })
            })
        })
        .collect();
    for worker in workers {
        let taken = worker.join().expect("the worker's own checks");
        assert!(taken.taken >= 150_000 * repeats());
        check(&taken, 1_500);
    }
}

/// With a limit of depth the same stack ends elsewhere when it is deeper.
#[test]
fn cut_stacks_are_cut_alike() {
    shapes();
    for max_depth in [1, 2, 7, 12, 40] {
        let taken = session(
            StackConfig {
                max_depth,
                ..StackConfig::default()
            },
            || {
                signals::use_alternate_stack();
                current().compare_no_more();
                current().stride = 1 << 20;
                wander_for(20_000 * repeats(), u64::from(max_depth));
            },
        );
        assert!(taken.taken >= 20_000);
    }
}

#[inline(never)]
extern "C" fn inner() {
    probe();
    black_box(());
}

#[inline(never)]
extern "C" fn middle(levels: u32) {
    if levels == 0 {
        inner();
    } else {
        middle(levels - 1);
    }
    black_box(levels);
}

/// Everything inside looks the same from either call; only the outer function's place differs.
#[inline(never)]
fn from_two_places(levels: u32, seen: &mut Vec<Vec<usize>>) {
    // Not unrolled: two places, not six.
    for _ in 0..black_box(3) {
        middle(levels);
        seen.push(current().last.addresses());
        middle(levels);
        seen.push(current().last.addresses());
    }
}

#[test]
fn the_outer_place_is_seen_where_all_inside_is_the_same() {
    for levels in [0, 1, 5, 50] {
        let mut seen = Vec::new();
        let taken = session(StackConfig::default(), || {
            from_two_places(levels, &mut seen);
        });
        assert_eq!(
            (taken.taken, taken.identical),
            (6, 6),
            "{}",
            taken.explain()
        );
        let [first, second, others @ ..] = &seen[..] else {
            panic!("six stacks");
        };
        let place = levels as usize + 2;
        assert_eq!(first[..place], second[..place]);
        assert_ne!(first[place], second[place]);
        assert_eq!(first[place + 1..], second[place + 1..]);
        for (number, other) in others.iter().enumerate() {
            assert_eq!(other, [first, second][number % 2]);
        }
    }
}

#[inline(never)]
fn at_place(place: u64) -> u64 {
    match place {
        0 => probe(),
        1 => inner(),
        2 => middle(1),
        _ => middle(2),
    }
    black_box(place)
}

/// Takes stacks below one frame in turn, in an order of its own for each seed.
#[inline(never)]
fn in_turn(seed: u64) {
    for number in 0..32 {
        black_box(at_place(mix(seed << 8 | number) % 4));
    }
}

/// Each stream numbers its nodes from 1 on, in the order in which it meets them.
#[test]
fn a_new_stream_takes_over_no_numbers() {
    let taken = session(StackConfig::default(), || {
        current().stride = 1 << 20;
        for seed in 0..50 {
            current().restart();
            in_turn(seed);
        }
    });
    assert_eq!(taken.taken, 50 * 32);
}

fn run_coroutines(library: &Library, seed: u64, descend: Descend) {
    let address = library.symbol("run_coroutines");
    // SAFETY: the program defines a function of this type under this name.
    let run =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(u64, Descend)>(address) };
    run(seed, descend);
}

/// Coroutines that come and go, wander on their own stacks, and are left in the middle.
#[test]
fn coroutines_are_whole() {
    shapes();
    let library = Library::open(&shared_object("coroutines.c", "wandering.so", &[]));
    let taken = session(StackConfig::default(), || {
        signals::use_alternate_stack();
        current().stride = 31;
        for seed in 0..20 * repeats() {
            BUDGET.set(2_000);
            run_coroutines(&library, seed, wander);
            wander_for(200, seed);
        }
    });
    check(&taken, 500);
}

thread_local! {
    /// Levels that are left until the stack is switched again.
    static LEVELS: Cell<u32> = const { Cell::new(0) };
}

/// Recursion that goes on on a new stack every few levels, which is unmapped on the way back.
extern "C" fn grow() {
    const BYTES: usize = 256 << 10;
    let levels = LEVELS.get();
    wander(2, u64::from(levels));
    if levels > 0 {
        LEVELS.set(levels - 1);
        let memory = arena::map(BYTES).expect("memory");
        on_other_stack(grow, memory.as_ptr() as usize + BYTES);
        // SAFETY: nothing runs on it any more.
        unsafe { arena::unmap(memory, BYTES) };
        wander(1, u64::from(levels) << 8);
        LEVELS.set(levels);
    }
    black_box(levels);
}

#[test]
fn growing_stacks_are_whole() {
    shapes();
    let taken = session(StackConfig::default(), || {
        signals::use_alternate_stack();
        current().stride = 7;
        for levels in 0..24 {
            LEVELS.set(levels);
            BUDGET.set(1_000);
            grow();
        }
    });
    check(&taken, 200);
}

extern "C" fn take_few() {
    for seed in 0..20 {
        wander(3, seed);
    }
}

extern "C" fn on_signal(_signal: i32) {
    wander(2, 5);
    black_box(());
}

/// A handler on an alternate stack right above, or below, of where a coroutine's stack has been.
#[test]
fn a_handler_beside_a_stack_that_is_gone() {
    const BYTES: usize = 256 << 10;
    shapes();
    signals::handle(libc::SIGURG, on_signal as *const () as usize, 0);
    let set = |ss_sp: *mut u8, ss_flags| {
        let stack = libc::stack_t {
            ss_sp: ss_sp.cast(),
            ss_flags,
            ss_size: BYTES,
        };
        // SAFETY: the memory stays mapped until the alternate stack is switched off.
        let answer = unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
        assert_eq!(answer, 0);
    };
    let taken = session(StackConfig::default(), || {
        current().stride = 3;
        for is_above in [false, true, false, true] {
            let memory = arena::map(2 * BYTES).expect("memory");
            // SAFETY: within the mapping.
            let upper = unsafe { memory.add(BYTES) };
            let (gone, kept) = if is_above {
                (memory, upper)
            } else {
                (upper, memory)
            };
            set(kept.as_ptr(), 0);
            BUDGET.set(10_000);
            on_other_stack(take_few, gone.as_ptr() as usize + BYTES);
            // SAFETY: nothing runs on it any more.
            unsafe { arena::unmap(gone, BYTES) };
            // SAFETY: the signal is handled.
            unsafe { libc::raise(libc::SIGURG) };
            take_few();
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGURG) };
            set(kept.as_ptr(), libc::SS_DISABLE);
            // SAFETY: no handler runs on it any more.
            unsafe { arena::unmap(kept, BYTES) };
        }
    });
    check(&taken, 100);
}

/// Threads one after another get the same stack, and what one has left behind there.
#[test]
fn the_next_thread_on_the_same_stack() {
    shapes();
    for seed in 0..40 {
        let thread = std::thread::spawn(move || {
            session(StackConfig::default(), || {
                current().stride = 11;
                wander_for(300, seed % 3);
            })
        });
        check(&thread.join().expect("the thread's own checks"), 20);
    }
}

/// A frame that keeps its frame pointer, `$room` bytes, and calls `framed` with `$inner`.
macro_rules! slide {
    ($name:ident, $room:literal, $inner:literal) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "push rbp",
                ".cfi_def_cfa_offset 16",
                ".cfi_offset rbp, -16",
                "mov rbp, rsp",
                ".cfi_def_cfa_register rbp",
                concat!("sub rsp, ", $room),
                concat!("mov edi, ", $inner),
                "call {framed}",
                "leave",
                ".cfi_def_cfa rsp, 8",
                "ret",
                ".cfi_endproc",
                framed = sym framed,
            )
        }
    };
}

slide!(slide_up, 0, 256);
slide!(slide_down, 256, 0);

/// A frame of as many bytes as it is told.
#[unsafe(naked)]
extern "C" fn framed(bytes: usize) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "sub rsp, rdi",
        "call {leaf}",
        "leave",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        leaf = sym leaf,
    )
}

/// Saves the frame pointer and uses the register otherwise.
#[unsafe(naked)]
extern "C" fn leaf() {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "xor ebp, ebp",
        "call {probe}",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        probe = sym probe,
    )
}

/// Only a saved frame pointer tells where the outer frame lies; where it lay before, its words
/// still stand.
#[test]
fn a_frame_that_slid_leaves_its_words_behind() {
    let taken = session(StackConfig::default(), || {
        // Nothing is called in between that would overwrite the words.
        for round in 0..black_box(10) {
            let slide = if round % 2 == 0 { slide_up } else { slide_down };
            let slide: extern "C" fn() = black_box(slide);
            slide();
        }
    });
    assert_eq!(taken.taken, 10);
    check(&taken, 10);
}
