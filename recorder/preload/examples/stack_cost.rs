//! What a stack costs: takes the same stack again and again, for counting instructions.
//!
//! `valgrind --tool=callgrind target/release/examples/stack_cost SHAPE DEPTH ROUNDS`; the
//! difference between two numbers of rounds, divided by their difference, is the cost of one stack;
//! that between two depths gives the cost of a frame. SHAPE is `fixed` (one stack), `leaf` (the
//! innermost frame changes), `outer` (all but two outer frames is as before: the worst case for
//! what is taken over from the last stack) or `tree` (a random walk through a tree of calls).

use std::arch::naked_asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use heaptape_preload::modules::{self, ModuleRecord};
use heaptape_preload::stack::{CallerContext, CutReason, StackCapture, StackConfig, StackSink};

struct Count {
    nodes: u32,
}

impl StackSink for Count {
    fn module(&mut self, _record: &ModuleRecord<'_>) -> bool {
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

static CAPTURE: AtomicPtr<StackCapture> = AtomicPtr::new(std::ptr::null_mut());
static LAST: AtomicU32 = AtomicU32::new(0);
static NODES: AtomicU32 = AtomicU32::new(0);

#[unsafe(naked)]
extern "C" fn probe() {
    naked_asm!(
        "mov rdi, [rsp]",
        "lea rsi, [rsp + 8]",
        "mov rdx, rbp",
        "jmp {record}",
        record = sym record,
    )
}

extern "C" fn record(pc: usize, sp: usize, rbp: usize) {
    let pointer = CAPTURE.load(Ordering::Relaxed);
    // SAFETY: set by `main` before the first call; there is one thread.
    if let Some(capture) = unsafe { pointer.as_mut() } {
        let mut sink = Count {
            nodes: NODES.load(Ordering::Relaxed),
        };
        let id = capture.capture(CallerContext { pc, sp, rbp }, &mut sink);
        NODES.store(sink.nodes, Ordering::Relaxed);
        LAST.store(id, Ordering::Relaxed);
    }
}

#[inline(never)]
fn one() -> u32 {
    probe();
    black_box(1)
}

#[inline(never)]
fn two() -> u32 {
    probe();
    black_box(2)
}

#[inline(never)]
fn down(depth: u32, rounds: u32, shape: &str) -> u32 {
    if depth == 0 {
        let is_fixed = shape == "fixed";
        let mut sum = 0;
        for round in 0..rounds {
            sum += if is_fixed || round % 2 == 0 {
                one()
            } else {
                two()
            };
        }
        return sum;
    }
    let below = if depth.is_multiple_of(2) {
        down(depth - 1, rounds, shape)
    } else {
        down(depth - 1, rounds, shape) + 1
    };
    black_box(below) + 1
}

#[inline(never)]
fn plain(depth: u32) -> u32 {
    if depth == 0 {
        return one();
    }
    black_box(plain(depth - 1)) + 1
}

#[inline(never)]
fn first(depth: u32) -> u32 {
    black_box(plain(depth)) + 1
}

#[inline(never)]
fn second(depth: u32) -> u32 {
    black_box(plain(depth)) + 2
}

fn outer(depth: u32, rounds: u32) -> u32 {
    let calls: [fn(u32) -> u32; 2] = [first, second];
    let calls = (0..rounds).zip(calls.into_iter().cycle());
    calls.map(|(_, call)| black_box(call)(depth)).sum()
}

#[inline(never)]
fn tree(depth: u32, seed: &mut u64, budget: &mut u32) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let branch = *seed >> 33;
    if *budget == 0 {
        return 0;
    }
    if depth == 0 {
        *budget -= 1;
        return black_box(one());
    }
    let mut sum = match branch % 3 {
        0 => tree(depth - 1, seed, budget),
        1 => black_box(tree(depth - 1, seed, budget)) + 1,
        _ => black_box(tree(depth - 1, seed, budget)) + 2,
    };
    if branch % 7 < 4 {
        sum += black_box(tree(depth - 1, seed, budget));
    }
    black_box(sum)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let shape = arguments.next().unwrap_or_else(|| "fixed".to_owned());
    let mut number = |default| {
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (depth, rounds) = (number(15), number(10_000));
    modules::start();
    let Some(capture) = StackCapture::create(StackConfig::default()) else {
        return;
    };
    CAPTURE.store(capture.as_ptr(), Ordering::Relaxed);
    if shape == "tree" {
        let (mut seed, mut budget) = (1, rounds);
        while budget > 0 {
            black_box(tree(depth, &mut seed, &mut budget));
        }
    } else if shape == "outer" {
        black_box(outer(depth, rounds));
    } else {
        black_box(down(depth, rounds, &shape));
    }
    CAPTURE.store(std::ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: made above, and nothing uses it any more.
    unsafe { StackCapture::destroy(capture) };
    let (last, nodes) = (LAST.load(Ordering::Relaxed), NODES.load(Ordering::Relaxed));
    println!("{shape}, depth {depth}, {rounds} stacks: last node {last} of {nodes}");
}
