//! A program that is linked with the recorder: known blocks of known functions, in several ways to
//! live and to end. The tests build it static and dynamic, and ask what its tapes say.

use heaptape_recorder::{Recorder, mark};
use std::hint::black_box;
use std::mem::forget;
use std::process::Command;

#[global_allocator]
static ALLOCATOR: Recorder = Recorder::new();

#[repr(align(64))]
struct Line([u8; 256]);

/// 50 blocks, 51,225 bytes.
#[inline(never)]
fn keep_plain() {
    for more in 0..50 {
        forget(black_box(vec![1u8; 1000 + more]));
    }
}

/// 20 blocks of 3,000 bytes.
#[inline(never)]
fn keep_zeroed() {
    for _ in 0..20 {
        forget(black_box(vec![0u8; black_box(3000)]));
    }
}

/// 10 blocks of 256 bytes.
#[inline(never)]
fn keep_aligned() {
    for _ in 0..10 {
        let line = Box::new(Line([1; 256]));
        black_box(&line.0);
        forget(line);
    }
}

/// One block of 8,192 bytes, after nine moves.
#[inline(never)]
fn keep_grown() {
    let mut grown = Vec::new();
    for number in 0..1000u64 {
        grown.push(black_box(number));
    }
    forget(grown);
}

/// One block of 123 bytes, which was larger.
#[inline(never)]
fn keep_shrunk() {
    let mut shrunk = black_box(vec![1u8; 10_000]);
    shrunk.truncate(123);
    shrunk.shrink_to_fit();
    forget(black_box(shrunk));
}

/// One block of 77,777 bytes.
#[inline(never)]
fn hold() -> Vec<u8> {
    black_box(vec![1; 77_777])
}

/// What `heaptape.h` declares: only static programs have these functions by themselves.
#[cfg(target_feature = "crt-static")]
fn report_pool() {
    use std::ffi::{c_char, c_void};

    unsafe extern "C" {
        fn heaptape_domain(name: *const c_char) -> u16;
        fn heaptape_report_alloc(domain: u16, block: *const c_void, size: usize);
        fn heaptape_report_free(domain: u16, block: *const c_void);
    }
    // SAFETY: a C string.
    let domain = unsafe { heaptape_domain(c"pool".as_ptr()) };
    for number in 1..=3usize {
        // SAFETY: the address is only noted.
        unsafe { heaptape_report_alloc(domain, (number << 12) as *const c_void, 1000) };
    }
    // SAFETY: as above.
    unsafe { heaptape_report_free(domain, (1usize << 12) as *const c_void) };
}

#[cfg(not(target_feature = "crt-static"))]
fn report_pool() {}

fn keep_all() {
    keep_plain();
    keep_zeroed();
    keep_aligned();
    keep_grown();
    keep_shrunk();
}

fn in_threads() {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(keep_plain)).collect();
    for thread in threads {
        let _never_fails = thread.join();
    }
}

/// A child that keeps blocks of its own, gives back one of its parent's, and ends by `_exit`.
fn fork(held: Vec<u8>) {
    // SAFETY: one thread is left.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(held);
        keep_plain();
        // SAFETY: ends the child.
        unsafe { libc::_exit(3) };
    }
    let mut status = 0;
    // SAFETY: the place is valid.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    println!("the child ended with {}", libc::WEXITSTATUS(status));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let way = arguments.next().unwrap_or_default();
    let held = hold();
    keep_all();
    mark(c"kept");
    in_threads();
    mark(c"joined");
    match way.as_str() {
        "fork" => fork(held),
        "kill" => {
            // SAFETY: ends this process.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        "start" => {
            let program = arguments.next().unwrap_or_default();
            let status = Command::new(program).args(arguments).status();
            println!("{status:?}");
        }
        "environment" => {
            let names = std::env::vars().map(|(name, _)| name);
            let ours = names.filter(|name| name.starts_with("HEAPTAPE_S") || name == "LD_PRELOAD");
            let mut ours: Vec<String> = ours.collect();
            ours.sort();
            println!("{}", ours.join(" "));
        }
        _ => {
            drop(held);
            report_pool();
            println!("done");
        }
    }
    std::process::exit(7);
}
