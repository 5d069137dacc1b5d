//! A program that counts its own blocks: an allocator of its own, with the recorder around it, and
//! threads that use it at random. What it counted comes on its standard output.

use heaptape_recorder::{Around, Recorder};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

static ALLOCS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static REALLOCS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);

fn count(counter: &AtomicU64, size: usize) {
    counter.fetch_add(1, Ordering::Relaxed);
    ALLOCATED.fetch_add(size as u64, Ordering::Relaxed);
    LIVE.fetch_add(size as u64, Ordering::Relaxed);
}

struct Counting;

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCS, layout.size());
        // SAFETY: the caller's own call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCS, layout.size());
        // SAFETY: the caller's own call.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREES.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's own call.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        count(&REALLOCS, size);
        // SAFETY: the caller's own call.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Around<Counting> = Recorder::wrapping(Counting);

/// Takes, grows and gives back at random; what it gives back may be another thread's.
fn work(mut seed: u64, to: &Sender<Vec<u8>>, from: &Receiver<Vec<u8>>) {
    let mut held: VecDeque<Vec<u8>> = VecDeque::new();
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (seed >> 33) as usize;
        match number % 8 {
            0..3 => held.push_back(black_box(vec![1; number % 700 + 1])),
            3 => held.push_back(black_box(vec![0; number % 3000 + 1])),
            4 => {
                if let Some(block) = held.back_mut() {
                    block.extend_from_slice(&[2; 400][..number % 400]);
                }
            }
            5 => {
                if let Some(block) = held.pop_front() {
                    let _left = to.send(block);
                }
            }
            6 => drop(from.try_recv()),
            _ => drop(held.pop_back()),
        }
    }
    held.truncate(100);
    std::mem::forget(held);
}

fn main() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| channel()).unzip();
    let mut to = senders.into_iter().cycle().skip(1);
    let threads = receivers.into_iter().zip(0..).map(|(from, seed)| {
        let to = to.next();
        std::thread::spawn(move || {
            if let Some(to) = to {
                work(seed, &to, &from);
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    drop(to);
    for thread in threads {
        let _never_fails = thread.join();
    }
    // Nothing allocates any more.
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = [&ALLOCS, &FREES, &REALLOCS, &ALLOCATED, &LIVE].map(of);
    let [allocs, frees, reallocs, allocated, live] = counts;
    let mut text = [0u8; 200];
    let mut rest = &mut text[..];
    let _fits = writeln!(rest, "{allocs} {frees} {reallocs} {allocated} {live}");
    let length = 200 - rest.len();
    // SAFETY: valid for reads of that length.
    unsafe { libc::write(1, text.as_ptr().cast(), length) };
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}
