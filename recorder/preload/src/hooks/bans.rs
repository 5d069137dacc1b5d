//! Calls by which a program forbids itself something (see [`crate::sandbox`]): `prctl`, and
//! `syscall`, by which libseccomp and others reach `seccomp`, which the C library does not have.

use crate::sandbox::{self, Ban};
use crate::{next, thread};
use core::ffi::{c_int, c_long, c_ulong};
use heaptape_session::sys;

/// `PR_SET_SYSCALL_USER_DISPATCH` of <linux/prctl.h>; any mode but 0 turns it on.
const SET_DISPATCH: c_int = 59;

/// What `seccomp(operation, flags, program)` forbids.
fn ban_of_seccomp(operation: usize, flags: usize, program: usize) -> Option<Ban> {
    match operation as u32 {
        libc::SECCOMP_SET_MODE_STRICT => Some(Ban::AllCalls),
        libc::SECCOMP_SET_MODE_FILTER => Some(Ban::Filter {
            program,
            is_for_all: flags as c_ulong & libc::SECCOMP_FILTER_FLAG_TSYNC != 0,
        }),
        _ => None,
    }
}

/// What `prctl(option, second, third)` forbids.
fn ban_of_prctl(option: c_int, second: usize, third: usize) -> Option<Ban> {
    match option {
        libc::PR_SET_TSC if second as c_int == libc::PR_TSC_SIGSEGV => Some(Ban::Clock),
        libc::PR_SET_SECCOMP if second == libc::SECCOMP_MODE_STRICT as usize => Some(Ban::AllCalls),
        libc::PR_SET_SECCOMP if second == libc::SECCOMP_MODE_FILTER as usize => Some(Ban::Filter {
            program: third,
            is_for_all: false,
        }),
        SET_DISPATCH if second != 0 => Some(Ban::AllCalls),
        _ => None,
    }
}

/// Interposed `prctl`. The C function takes its arguments after the first as they come; on x86-64
/// they travel in registers like those of any function.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
pub unsafe extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
    // SAFETY: the type is that of the function.
    let Some(real) = (unsafe { next::PRCTL.pointer::<Prctl>() }) else {
        next::set_errno(libc::ENOSYS);
        return -1;
    };
    // SAFETY: the caller's own call.
    let real = || unsafe { real(option, second, third, fourth, fifth) };
    if let Some(ban) = ban_of_prctl(option, second as usize, third as usize) {
        return sandbox::under(ban, real, |result| *result == 0);
    }
    let result = real();
    if option == libc::PR_SET_NAME && result == 0 {
        thread::renamed();
    }
    result
}

/// Interposed `syscall`: goes straight on with everything as it came, but for the two calls that
/// may forbid something. As long as the real function is unknown it does what that does.
///
/// # Safety
/// As the C function.
#[cfg_attr(feature = "interpose", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(number: c_long) -> c_long {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "cmp rdi, {seccomp}",
        "je {body}",
        "cmp rdi, {prctl}",
        "je {body}",
        "mov rax, qword ptr [rip + {real}]",
        "test rax, rax",
        "je 2f",
        "jmp rax",
        "2:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 3f",
        "ret",
        "3:",
        "mov rdi, rax",
        "jmp {failed}",
        ".cfi_endproc",
        seccomp = const libc::SYS_seccomp,
        prctl = const libc::SYS_prctl,
        real = sym next::SYSCALL,
        body = sym syscall_body,
        failed = sym failed,
    )
}

/// What the C library makes of a system call that failed.
extern "C" fn failed(result: c_long) -> c_long {
    next::set_errno(-result as c_int);
    -1
}

/// `seccomp` and `prctl` by number.
unsafe extern "C" fn syscall_body(
    number: c_long,
    first: usize,
    second: usize,
    third: usize,
    fourth: usize,
    fifth: usize,
) -> c_long {
    let is_seccomp = number == libc::SYS_seccomp;
    let ban = if is_seccomp {
        ban_of_seccomp(first, second, third)
    } else {
        ban_of_prctl(first as c_int, second, third)
    };
    // SAFETY: the caller's own call; both have at most five arguments.
    let real = || unsafe { sys::passed_on(number, [first, second, third, fourth, fifth, 0]) };
    // A filter with a listener returns the listener's descriptor; without, the id of a thread that
    // kept the filter from all.
    let has_listener =
        is_seccomp && second as c_ulong & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
    let is_success = |result: &isize| *result == 0 || has_listener && *result > 0;
    let result = match ban {
        Some(ban) => sandbox::under(ban, real, is_success),
        None => real(),
    };
    if (-4095..0).contains(&result) {
        return failed(result as c_long);
    }
    if number == libc::SYS_prctl && first as c_int == libc::PR_SET_NAME {
        thread::renamed();
    }
    result as c_long
}
