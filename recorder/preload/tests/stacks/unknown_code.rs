//! Code that no unwind table knows: frame pointers are followed when they hold up, the stack is
//! cut when they do not, and nothing is invented.

use std::arch::naked_asm;
use std::ptr::NonNull;

use heaptape_preload::modules::elf::Headers;
use heaptape_preload::modules::{self, find};
use heaptape_preload::stack::cfi::{self, Lookup};

use heaptape_preload::arena;
use heaptape_preload::stack::{CutReason, StackConfig};

use crate::compile::{Library, shared_object};
use crate::harness::{Stack, current, probe, record, session};
use crate::signals::use_alternate_stack;

type Probe = extern "C" fn();

/// The stack of a call of `run`, and that of the place where it was called from.
fn stacks(run: impl FnOnce()) -> (Stack, Vec<usize>) {
    let mut result = None;
    session(StackConfig::default(), || {
        probe();
        let outer = current().last_reference.clone();
        current().compare_no_more();
        run();
        result = Some((current().last.clone(), outer));
    });
    result.expect("taken")
}

fn untold(options: &[&str]) -> (Stack, Vec<usize>) {
    let mut all = vec![
        "-fno-asynchronous-unwind-tables",
        "-fno-unwind-tables",
        "-fno-exceptions",
    ];
    all.extend(options);
    let library = Library::open(&shared_object("untold.c", "untold.so", &all));
    let address = library.symbol("untold");
    // SAFETY: the program defines a function of this type under this name.
    let run = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(Probe)>(address) };
    stacks(|| run(probe))
}

/// The callers above the frame where both stacks were taken.
fn callers(outer: &[usize]) -> &[usize] {
    // The first is the closure of `session`, at another call; it is one frame or more, inlined.
    &outer[1..]
}

#[test]
fn a_library_without_tables_but_with_frame_pointers() {
    let (stack, outer) = untold(&["-fno-omit-frame-pointer"]);
    let addresses = stack.addresses();
    assert_eq!(stack.cut, None);
    assert!(
        addresses.ends_with(callers(&outer)),
        "{addresses:x?} {outer:x?}"
    );
    let inner = &stack.frames[..2];
    assert_eq!(inner[0].module, inner[1].module);
    let path = crate::harness::module(inner[0].module).path;
    assert!(path.ends_with("untold.so"), "{path:?}");
}

#[test]
fn a_library_with_neither_invents_no_frames() {
    let (stack, outer) = untold(&[]);
    let addresses = stack.addresses();
    assert!(
        crate::harness::module(stack.frames[0].module)
            .path
            .ends_with("untold.so")
    );
    // Whatever follows is on the true stack, in its order.
    let mut rest = outer.iter();
    for address in &addresses[1..] {
        let is_true = rest.any(|other| other == address);
        assert!(
            is_true,
            "{address:#x} is not on the stack: {addresses:x?} {outer:x?}"
        );
    }
    if addresses.len() < outer.len() {
        assert!(stack.cut.is_some() || addresses.len() > 1);
    }
}

/// Return addresses in the dynamic linker behind `xor ebp, ebp; call`, where no table helps.
fn entries_of_the_linker() -> Vec<usize> {
    // SAFETY: getauxval only looks into the auxiliary vector.
    let base = unsafe { libc::getauxval(libc::AT_BASE) } as usize;
    modules::start();
    let object = find::object_of(base).expect("the linker is an object");
    let headers = Headers::of(&object).expect("headers");
    let tables = headers
        .section_around(object.unwind_header)
        .expect("tables");
    let pages = (object.start..object.end).step_by(4096);
    let mut sections: Vec<_> = pages
        .filter_map(|page| headers.section_around(page))
        .collect();
    sections.dedup_by_key(|section| section.address);
    let calls = sections.iter().flat_map(|section| {
        let calls = section.bytes.windows(3).enumerate();
        let calls = calls.filter(|(_, code)| code == b"\x31\xed\xe8");
        calls.map(|(at, _)| section.address + at + 7)
    });
    let is_untold = |pc: &usize| match cfi::look_up(&tables, object.unwind_header, pc - 1) {
        Some(Lookup::At(fde)) => {
            !cfi::fde_at(&tables, fde, object.unwind_header).is_some_and(|fde| fde.covers(pc - 1))
        }
        _ => true,
    };
    calls.filter(is_untold).collect()
}

/// Constructors are called by the dynamic linker's entry code: their stacks are complete.
#[test]
fn the_linkers_entry_is_an_outermost_frame() {
    let entries = entries_of_the_linker();
    assert!(!entries.is_empty());
    for pc in entries {
        let caller = |rbp| {
            let word = 0usize;
            let sp = &raw const word as usize;
            session(StackConfig::default(), || {
                current().compare_no_more();
                record(pc, sp, rbp);
            })
        };
        let marked = caller(0).last;
        assert_eq!((marked.frames.len(), marked.cut), (1, None), "{pc:#x}");
        let unmarked = caller(8).last;
        assert_eq!(unmarked.frames.len(), 1, "{pc:#x}");
        assert_eq!(unmarked.cut, Some(CutReason::Unknown), "{pc:#x}");
    }
}

/// Code in anonymous memory, as a just-in-time compiler writes it.
fn generated(code: &[u8]) -> NonNull<u8> {
    let memory = arena::map(4096).expect("memory");
    // SAFETY: the page is ours and larger than the code.
    unsafe { memory.copy_from_nonoverlapping(NonNull::from(code).cast(), code.len()) };
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: the page is ours.
    let answer = unsafe { libc::mprotect(memory.as_ptr().cast(), 4096, protection) };
    assert_eq!(answer, 0);
    memory
}

fn call_generated(code: &[u8], rbp: usize) -> (Stack, Vec<usize>) {
    let memory = generated(code);
    // SAFETY: the code is a function of this type.
    let run =
        unsafe { std::mem::transmute::<*mut u8, extern "C" fn(Probe, usize)>(memory.as_ptr()) };
    stacks(|| run(probe, rbp))
}

#[test]
fn generated_code_with_a_frame_pointer() {
    // push rbp; mov rbp, rsp; call rdi; pop rbp; ret
    let code = [0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3];
    let (stack, outer) = call_generated(&code, 0);
    assert_eq!(stack.cut, None);
    assert_eq!(stack.frames[0].module, 0, "no module is known");
    assert!(stack.addresses().ends_with(callers(&outer)));
}

/// push rbp; mov rbp, rsi; call rdi; pop rbp; ret
const WILD_FRAME_POINTER: [u8; 8] = [0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3];

#[test]
fn wild_frame_pointers_cut_the_stack() {
    let unmapped = arena::map(4096).expect("memory");
    // SAFETY: ours, and unused.
    unsafe { arena::unmap(unmapped, 4096) };
    let local = [0x1122_3344_5566_7788usize; 8];
    let beyond = &raw const local as usize + (1 << 20);
    let pointers = [
        0,
        1,
        8,
        usize::MAX,
        usize::MAX - 7,
        1 << 47,
        unmapped.as_ptr() as usize,
        &raw const local as usize,
        &raw const local as usize + 4,
        beyond & !7,
    ];
    for rbp in pointers {
        let (stack, _) = call_generated(&WILD_FRAME_POINTER, rbp);
        assert_eq!(stack.cut, Some(CutReason::Unknown), "{rbp:#x}");
        assert_eq!(stack.frames.len(), 1, "{rbp:#x}");
        assert_eq!(stack.frames[0].module, 0);
    }
}

/// Runs `run` on the stack that ends at `top`; the caller's frame stays on the old one.
#[unsafe(naked)]
pub(crate) extern "C" fn on_other_stack(run: extern "C" fn(), top: usize) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rsi",
        "call rdi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

extern "C" fn take() {
    crate::differential::descend(4, 77);
}

/// A frame whose stack pointer leads to another stack, above or below it in memory.
#[test]
fn switched_stacks_are_followed() {
    let taken = session(StackConfig::default(), || {
        use_alternate_stack();
        let mut heap = vec![0u8; 1 << 18];
        let high = heap.as_mut_ptr_range().end as usize & !15;
        for _ in 0..3 {
            on_other_stack(take, high);
            probe();
        }
    });
    assert_eq!(
        (taken.taken, taken.identical),
        (6, 6),
        "{}",
        taken.explain()
    );
}

extern "C" fn on_signal(_signal: i32) {
    probe();
    std::hint::black_box(());
}

/// A signal trampoline without unwind tables, as some runtimes bring their own.
#[test]
fn a_trampoline_of_unknown_origin() {
    #[repr(C)]
    struct KernelAction {
        handler: usize,
        flags: u64,
        restorer: usize,
        mask: u64,
    }
    const SA_RESTORER: u64 = 0x0400_0000;
    let code = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let trampoline = generated(&code);
    let action = KernelAction {
        handler: on_signal as *const () as usize,
        flags: SA_RESTORER | libc::SA_NODEFER as u64,
        restorer: trampoline.as_ptr() as usize,
        mask: 0,
    };
    let null = std::ptr::null_mut::<KernelAction>();
    // SAFETY: the structure is the kernel's; the handler only takes a stack.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGWINCH,
            &raw const action,
            null,
            8,
        )
    };
    assert_eq!(answer, 0);
    let taken = session(StackConfig::default(), || {
        // SAFETY: the signal is handled.
        unsafe { libc::raise(libc::SIGWINCH) };
        let frames = &current().last.frames;
        assert_eq!(frames[1].address, trampoline.as_ptr() as usize);
        assert!(frames[1].is_exact && frames[2].is_exact && !frames[3].is_exact);
    });
    assert_eq!(
        (taken.taken, taken.identical),
        (1, 1),
        "{}",
        taken.explain()
    );
}
