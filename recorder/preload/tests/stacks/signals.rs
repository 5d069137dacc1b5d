//! Stacks through signal frames: code that was interrupted at any instruction goes on exactly.

use std::arch::naked_asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heaptape_preload::stack::StackConfig;

use crate::compile::{Library, shared_object};
use crate::harness::{Session, current, probe, session};

/// Installs a handler that may be entered again while it runs.
pub(crate) fn handle(signal: i32, handler: usize, flags: i32) {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER | flags;
    // SAFETY: the handler is one of the tests' functions.
    let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Gives this thread an alternate stack for its handlers.
pub(crate) fn use_alternate_stack() {
    let stack = Box::leak(vec![0u8; 1 << 20].into_boxed_slice());
    let alternate = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: stack.len(),
    };
    // SAFETY: the memory is never given back.
    let answer = unsafe { libc::sigaltstack(&raw const alternate, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Switches the processor's trap flag on: each instruction from here on raises SIGTRAP.
#[unsafe(naked)]
extern "C" fn step_on() {
    naked_asm!(
        ".cfi_startproc",
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "or qword ptr [rsp], 0x100",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
    )
}

/// Switches it off.
#[unsafe(naked)]
extern "C" fn step_off() {
    naked_asm!(
        ".cfi_startproc",
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "and qword ptr [rsp], -0x101",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
    )
}

extern "C" fn on_trap(_signal: i32) {
    probe();
    black_box(());
}

extern "C" fn on_signal(_signal: i32) {
    probe();
    SAMPLES.fetch_add(1, Ordering::Relaxed);
}

static SAMPLES: AtomicU64 = AtomicU64::new(0);
static IS_READY: AtomicBool = AtomicBool::new(false);

type Work = extern "C" fn(u64) -> u64;

fn work(library: &Library) -> Work {
    // SAFETY: the program defines a function of this type under this name.
    unsafe { std::mem::transmute::<*mut libc::c_void, Work>(library.symbol("busy_work")) }
}

/// Interrupts `work` at each of its instructions.
fn single_step(work: Work, seed: u64) {
    step_on();
    black_box(work(seed));
    step_off();
}

fn check(taken: &Session, least: u64) {
    assert!(taken.taken >= least, "only {} stacks", taken.taken);
    assert_eq!(taken.identical, taken.taken, "{}", taken.explain());
}

/// Prologues, epilogues, linkage tables, lazy binding, the C library's own assembly: a handler at
/// every instruction, on the interrupted stack and on an alternate one.
#[test]
fn every_instruction_is_unwound() {
    handle(libc::SIGTRAP, on_trap as *const () as usize, 0);
    for (name, options) in [
        ("stepped.so", &["-Wl,-z,lazy"][..]),
        ("stepped_wide.so", &["-Wl,-z,lazy", "-O3", "-mavx2"]),
        ("stepped_framed.so", &["-O1", "-fno-omit-frame-pointer"]),
    ] {
        let library = Library::open_lazily(&shared_object("shapes.c", name, options));
        let work = work(&library);
        let taken = session(StackConfig::default(), || single_step(work, 3));
        check(&taken, 1000);
        let alternate = std::thread::spawn(move || {
            session(StackConfig::default(), || {
                use_alternate_stack();
                single_step(work, 4);
            })
        });
        check(&alternate.join().expect("the thread's own checks"), 1000);
    }
}

/// The interrupted frame and the trampoline are exact, all others are return addresses.
#[test]
fn interrupted_frames_are_exact() {
    handle(libc::SIGTRAP, on_trap as *const () as usize, 0);
    let library = Library::open(&shared_object("shapes.c", "exact.so", &[]));
    let work = work(&library);
    let mut is_checked = false;
    let taken = session(StackConfig::default(), || {
        single_step(work, 5);
        let exact: Vec<bool> = current()
            .last
            .frames
            .iter()
            .map(|frame| frame.is_exact)
            .collect();
        // The handler's frame, the trampoline, the interrupted code, its callers.
        assert_eq!(exact[..3], [false, true, true]);
        assert!(exact[3..].iter().all(|is_exact| !is_exact));
        is_checked = true;
    });
    assert!(is_checked);
    check(&taken, 1000);
}

/// Signals of another thread, which come when they come.
#[test]
fn signals_from_outside() {
    const WANTED: u64 = 2000;
    handle(libc::SIGUSR2, on_signal as *const () as usize, 0);
    let library = Library::open(&shared_object("shapes.c", "interrupted.so", &[]));
    let work = work(&library);
    let target = std::thread::spawn(move || {
        session(StackConfig::default(), || {
            use_alternate_stack();
            // From here on this thread is in no allocator that its handler would enter again.
            IS_READY.store(true, Ordering::Relaxed);
            let mut seed = 0;
            while SAMPLES.load(Ordering::Relaxed) < WANTED {
                seed = black_box(work(seed));
            }
        })
    });
    use std::os::unix::thread::JoinHandleExt;
    let thread = target.as_pthread_t();
    while !IS_READY.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    let mut sent = 0;
    while sent < WANTED {
        // SAFETY: the thread runs until it has taken all samples.
        let answer = unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        assert_eq!(answer, 0);
        sent += 1;
        while SAMPLES.load(Ordering::Relaxed) < sent {
            std::thread::yield_now();
        }
    }
    let taken = target.join().expect("the thread's own checks");
    assert!(taken.taken >= WANTED, "{} stacks", taken.taken);
    assert_eq!(taken.identical, taken.taken, "{}", taken.explain());
}
