//! What a program may call itself (`include/heaptape.h`): marks and the blocks of its own pools.
//!
//! Names of domains are kept per process, and written again into the first stream of a forked
//! child, whose tape knows nothing of the parent's.

use crate::caller::Caller;
use crate::level::Level;
use crate::recording::{self, operation};
use crate::thread::{self, Thread};
use crate::{clock, process};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::NonNull;
use heaptape_session::record::blob;
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

/// Number of the first domain of a program's own.
const FIRST_CUSTOM: u16 = 16;
/// Domains that a program can name, [`OTHER`] included.
const DOMAINS_MAX: usize = 256;
/// The last of them has the blocks of all for which no place is left.
const OTHER: &[u8] = b"other";
/// Longest name of a domain or a mark, in bytes.
const NAME_BYTES_MAX: usize = 64;
const NAME_WORDS: usize = NAME_BYTES_MAX / 8;

/// A domain's place is free.
const FREE: u32 = 0;
/// A thread writes its name.
const WRITING: u32 = 1;
/// Its name stands.
const NAMED: u32 = 2;

struct Domain {
    state: AtomicU32,
    name: [AtomicU64; NAME_WORDS],
}

static DOMAINS: [Domain; DOMAINS_MAX] = [const {
    Domain {
        state: AtomicU32::new(FREE),
        name: [const { AtomicU64::new(0) }; NAME_WORDS],
    }
}; DOMAINS_MAX];

impl Domain {
    fn name(&self) -> [u8; NAME_BYTES_MAX] {
        let mut bytes = [0; NAME_BYTES_MAX];
        for (place, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        bytes
    }

    fn set_name(&self, name: &[u8; NAME_BYTES_MAX]) {
        for (place, bytes) in self.name.iter().zip(name.chunks_exact(8)) {
            let word = bytes.try_into().map_or(0, u64::from_le_bytes);
            place.store(word, Ordering::Relaxed);
        }
    }
}

/// Zero-padded copy of a C string, cut to fit (with a zero at its end).
///
/// # Safety
/// `name` must be null or a C string.
unsafe fn padded(name: *const c_char) -> [u8; NAME_BYTES_MAX] {
    let mut bytes = [0; NAME_BYTES_MAX];
    if !name.is_null() {
        // SAFETY: as for this function.
        let text = unsafe { CStr::from_ptr(name) }.to_bytes();
        for (place, byte) in bytes.iter_mut().zip(text).take(NAME_BYTES_MAX - 1) {
            *place = *byte;
        }
    }
    bytes
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Sets a mark: a name for this moment. Does nothing when the process does not record.
///
/// # Safety
/// `name` must be null or a C string.
#[cfg_attr(
    any(feature = "interpose", target_feature = "crt-static"),
    unsafe(no_mangle)
)]
pub unsafe extern "C" fn heaptape_mark(name: *const c_char) {
    if name.is_null() {
        return;
    }
    // SAFETY: as for this function.
    let text = unsafe { CStr::from_ptr(name) }.to_bytes();
    let Some(thread) = thread::admitted() else {
        return;
    };
    // SAFETY: it is the calling thread's state.
    unsafe {
        with_level(thread, |level| {
            recording::append_blob(level, blob::MARK, &[text])
        })
    };
}

/// Enters the recorder for a record that is not an event.
///
/// # Safety
/// `thread` must be the calling thread's state.
pub unsafe fn with_level(thread: NonNull<Thread>, write: impl FnOnce(&mut Level) -> bool) -> bool {
    // SAFETY: as for this function.
    let Some(mut level) = (unsafe { Thread::enter(thread, Caller::here()) }) else {
        return false;
    };
    // SAFETY: between `enter` and `leave` the level is ours alone.
    let state = unsafe { level.as_mut() };
    state.ticks = clock::now::<true, false>(state.ticks);
    let is_written = write(state);
    // SAFETY: it is the level that was entered.
    unsafe { Thread::leave(level) };
    is_written
}

/// The number of the domain `name`, the same for the same name; 0 when the process does not
/// record. A program with very many domains gets one number for the last of them.
///
/// # Safety
/// `name` must be null or a C string.
#[cfg_attr(
    any(feature = "interpose", target_feature = "crt-static"),
    unsafe(no_mangle)
)]
pub unsafe extern "C" fn heaptape_domain(name: *const c_char) -> u16 {
    // SAFETY: as for this function.
    let name = unsafe { padded(name) };
    if name.first() == Some(&0) {
        return 0;
    }
    let Some(thread) = thread::admitted() else {
        return 0;
    };
    let (last, places) = match DOMAINS.split_last() {
        Some(parts) => parts,
        None => return 0,
    };
    for (index, place) in places.iter().enumerate() {
        if let Some(number) = take(place, index, &name, thread) {
            return number;
        }
    }
    let mut other = [0; NAME_BYTES_MAX];
    for (place, byte) in other.iter_mut().zip(OTHER) {
        *place = *byte;
    }
    // One that is being named at this moment has this name.
    take(last, places.len(), &other, thread).unwrap_or(FIRST_CUSTOM + places.len() as u16)
}

/// The number of the domain at `index`, when it has this name or was free for it.
fn take(
    place: &Domain,
    index: usize,
    name: &[u8; NAME_BYTES_MAX],
    thread: NonNull<Thread>,
) -> Option<u16> {
    let number = FIRST_CUSTOM + index as u16;
    // Acquire, on both sides: pairs with Release below; the name is whole.
    let claim = place
        .state
        .compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Acquire);
    match claim {
        Ok(_) => {
            place.set_name(name);
            place.state.store(NAMED, Ordering::Release);
            // SAFETY: it is the calling thread's state.
            unsafe { with_level(thread, |level| write_domain(level, number, name)) };
            Some(number)
        }
        Err(NAMED) if place.name() == *name => Some(number),
        // Another name, or one that is being written: at worst a name has two numbers.
        Err(_) => None,
    }
}

/// True for numbers that [`heaptape_domain`] gave out, also while their name is still written.
fn is_domain(number: u16) -> bool {
    let place = number.checked_sub(FIRST_CUSTOM).map(usize::from);
    let domain = place.and_then(|place| DOMAINS.get(place));
    // Relaxed: who has the number was told it; the name is not read here.
    domain.is_some_and(|domain| domain.state.load(Ordering::Relaxed) != FREE)
}

fn write_domain(level: &mut Level, number: u16, name: &[u8]) -> bool {
    let parts = [&number.to_le_bytes(), until_zero(name)];
    recording::append_blob(level, blob::DOMAIN, &parts)
}

/// Writes the names of all domains, into the first stream of a forked child.
pub fn write_domains(level: &mut Level) {
    for (index, domain) in DOMAINS.iter().enumerate() {
        match domain.state.load(Ordering::Acquire) {
            NAMED => {
                write_domain(level, FIRST_CUSTOM + index as u16, &domain.name());
            }
            FREE => return,
            _ => {}
        }
    }
}

/// `heaptape_report_alloc`: `caller` called it.
pub(crate) unsafe extern "C" fn report_alloc(
    domain: u16,
    address: *const c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) {
    let caller = Caller { sp, frame };
    if address.is_null() || !is_domain(domain) {
        return;
    }
    let Some(thread) = thread::admitted() else {
        return;
    };
    if !process::wants(size) {
        return;
    }
    let fill = |event: &mut heaptape_session::record::RingEvent| {
        event.address = address as u64;
        event.size = size as u64;
        event.domain = domain;
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::happened(thread, operation::CUSTOM_ALLOC, caller, fill) };
}

/// `heaptape_report_realloc`.
pub(crate) unsafe extern "C" fn report_realloc(
    domain: u16,
    old: *const c_void,
    new: *const c_void,
    size: usize,
    sp: *const usize,
    frame: usize,
) {
    if old.is_null() {
        // SAFETY: as for this function.
        return unsafe { report_alloc(domain, new, size, sp, frame) };
    }
    if new.is_null() {
        // SAFETY: as for this function.
        return unsafe { report_free(domain, old, sp, frame) };
    }
    let caller = Caller { sp, frame };
    if !is_domain(domain) {
        return;
    }
    let Some(thread) = thread::admitted() else {
        return;
    };
    let is_wanted = process::wants(size);
    let fill = |event: &mut heaptape_session::record::RingEvent| {
        event.old_address = old as u64;
        event.domain = domain;
        if is_wanted {
            event.address = new as u64;
            event.size = size as u64;
            event.end_ticks = event.ticks;
        }
    };
    let operation = if is_wanted {
        operation::CUSTOM_REALLOC
    } else {
        operation::CUSTOM_FREE
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::happened(thread, operation, caller, fill) };
}

/// `heaptape_report_free`.
pub(crate) unsafe extern "C" fn report_free(
    domain: u16,
    address: *const c_void,
    sp: *const usize,
    frame: usize,
) {
    let caller = Caller { sp, frame };
    if address.is_null() || !is_domain(domain) {
        return;
    }
    let Some(thread) = thread::admitted() else {
        return;
    };
    let fill = |event: &mut heaptape_session::record::RingEvent| {
        event.old_address = address as u64;
        event.domain = domain;
    };
    // SAFETY: the thread is the calling one, the caller alive.
    unsafe { recording::happened(thread, operation::CUSTOM_FREE, caller, fill) };
}

/// Reports that a block of `size` bytes at `address` was handed out in `domain`.
///
/// # Safety
/// `address` is only noted.
#[cfg_attr(
    any(feature = "interpose", target_feature = "crt-static"),
    unsafe(no_mangle)
)]
#[unsafe(naked)]
pub unsafe extern "C" fn heaptape_report_alloc(domain: u16, address: *const c_void, size: usize) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rcx, rsp",
        "mov r8, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym report_alloc,
    )
}

/// Reports that the block at `old` became the one of `size` bytes at `new`, perhaps the same.
///
/// # Safety
/// The addresses are only noted.
#[cfg_attr(
    any(feature = "interpose", target_feature = "crt-static"),
    unsafe(no_mangle)
)]
#[unsafe(naked)]
pub unsafe extern "C" fn heaptape_report_realloc(
    domain: u16,
    old: *const c_void,
    new: *const c_void,
    size: usize,
) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r8, rsp",
        "mov r9, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym report_realloc,
    )
}

/// Reports that the block at `address` was given back.
///
/// # Safety
/// `address` is only noted.
#[cfg_attr(
    any(feature = "interpose", target_feature = "crt-static"),
    unsafe(no_mangle)
)]
#[unsafe(naked)]
pub unsafe extern "C" fn heaptape_report_free(domain: u16, address: *const c_void) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rdx, rsp",
        "mov rcx, rbp",
        "jmp {}",
        ".cfi_endproc",
        sym report_free,
    )
}
