//! Numbers the loaded objects of this process: a program counter goes in, a module index and an
//! offset come out, after the module's record was handed to the caller's sink.
//!
//! A module is one load of one object. Hooks of dlopen and dlclose say when objects come and go
//! ([`load_started`] and its kin); an event reads one word ([`changes`]) to learn whether what it
//! remembers still holds. Nothing here takes a lock or allocates.

pub mod elf;
#[cfg(target_env = "gnu")]
pub mod exports;
pub mod find;
pub mod listing;
pub mod program;
mod recent;
pub mod scattered;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use elf::Headers;
use find::Object;
pub use recent::Recent;

use crate::syscall;

/// Modules that get a number; code of further ones is recorded as unknown.
const MODULES_MAX: usize = 8192;
/// Longest path of a module, in bytes.
const PATH_BYTES_MAX: usize = 4096;

const _: () = assert!(MODULES_MAX.is_power_of_two());

/// What a tape says of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleRecord<'a> {
    /// Its number in this process image, from 1. Numbers may be left out.
    pub index: u32,
    /// What is added to the addresses in the file.
    pub bias: usize,
    /// First mapped address.
    pub start: usize,
    /// End of the mapping.
    pub end: usize,
    /// The linker's build-id; empty when there is none.
    pub build_id: &'a [u8],
    /// Path of the file; `[vdso]` for the kernel's object.
    pub path: &'a [u8],
}

/// Bits 0..12: loads that run now; 12..24: unloads that run now; 24..64: how often any of this
/// changed. One word, so that an event learns everything with one load.
///
/// SeqCst for all changes. An event reads it with Acquire: when it runs code of a new object, the
/// loader's own synchronisation has ordered the changes before that object's unloaded predecessor
/// and its load before the event.
static CHANGES: AtomicU64 = AtomicU64::new(1 << COUNT_SHIFT);
/// Unloads so far. Written before `CHANGES` (SeqCst), read after it: an event that sees the change
/// sees the unload.
static UNLOADS: AtomicU64 = AtomicU64::new(0);

const LOADING_ONE: u64 = 1;
const UNLOADING_ONE: u64 = 1 << 12;
const RUNNING_MASK: u64 = 0xfff;
const COUNT_SHIFT: u32 = 24;
const COUNT_ONE: u64 = 1 << COUNT_SHIFT;

/// A real dlopen is about to be called.
pub fn load_started() {
    CHANGES.fetch_add(COUNT_ONE + LOADING_ONE, Ordering::SeqCst);
}

/// The real dlopen returned. Call it from ordinary code, before the caller sees the handle.
pub fn load_finished() {
    find::refresh();
    if running(CHANGES.load(Ordering::SeqCst), UNLOADING_ONE) {
        // An unload that has not been announced as finished may have made room for this load.
        UNLOADS.fetch_add(1, Ordering::SeqCst);
    }
    finish(LOADING_ONE);
}

/// True when any of the kind that `one` counts runs.
fn running(changes: u64, one: u64) -> bool {
    changes & (one * RUNNING_MASK) != 0
}

/// Ends one of the kind that `one` counts. None may be counted: a child that was forked by an
/// unload's destructor leaves an unload that [`forget`] no longer counts.
fn finish(one: u64) {
    let change = |changes: u64| {
        let ended = if running(changes, one) { one } else { 0 };
        Some(changes.wrapping_add(COUNT_ONE).wrapping_sub(ended))
    };
    let _changes = CHANGES.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
}

/// A real dlclose is about to be called.
pub fn unload_started() {
    CHANGES.fetch_add(COUNT_ONE + UNLOADING_ONE, Ordering::SeqCst);
}

/// The real dlclose returned.
pub fn unload_finished() {
    find::refresh();
    UNLOADS.fetch_add(1, Ordering::SeqCst);
    finish(UNLOADING_ONE);
}

/// Objects came, or went, in a way that only shows afterwards.
pub fn objects_changed(unloaded: bool) {
    find::refresh();
    if unloaded {
        UNLOADS.fetch_add(1, Ordering::SeqCst);
    }
    CHANGES.fetch_add(COUNT_ONE, Ordering::SeqCst);
}

/// The state of the loaded objects, as of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes(u64);

impl Changes {
    /// True while an object may take the place of one whose unloading is not announced yet: what
    /// is remembered of addresses holds for no longer than an event.
    #[must_use]
    pub fn is_unsettled(self) -> bool {
        running(self.0, LOADING_ONE) && running(self.0, UNLOADING_ONE)
    }
}

/// The state now. An event reads it once, before anything that it remembers.
#[inline(always)]
#[must_use]
pub fn changes() -> Changes {
    // Acquire: pairs with the SeqCst changes above.
    Changes(CHANGES.load(Ordering::Acquire))
}

/// How many unloads there were, at least as of the last [`changes`].
#[must_use]
pub fn unloads() -> u64 {
    // Acquire: pairs with the SeqCst additions above.
    UNLOADS.load(Ordering::Acquire)
}

/// One numbered module. A thread claims an entry, fills it, and shows it by storing `index`.
struct Entry {
    /// 0: free; 1: some thread fills or filled it. Relaxed: it only says who may write.
    claim: AtomicU32,
    /// The module's number; 0 while the entry is not valid. Release by the writer, Acquire by
    /// readers: orders the fields below.
    index: AtomicU32,
    start: AtomicUsize,
    identity: AtomicUsize,
    /// Tells apart what is loaded at one address at different times.
    fingerprint: AtomicU64,
    /// `unloads() + 1` when the object was last seen to be this one. Relaxed: it is only compared
    /// with the reader's own number, and a stale value leads to another look.
    checked: AtomicU64,
    /// Not all of its range belongs to it.
    has_holes: AtomicBool,
}

static ENTRIES: [Entry; MODULES_MAX] = [const {
    Entry {
        claim: AtomicU32::new(0),
        index: AtomicU32::new(0),
        start: AtomicUsize::new(0),
        identity: AtomicUsize::new(0),
        fingerprint: AtomicU64::new(0),
        checked: AtomicU64::new(0),
        has_holes: AtomicBool::new(false),
    }
}; MODULES_MAX];

/// The number that the next new module gets. Relaxed: it only has to be given out once.
static NEXT_INDEX: AtomicU32 = AtomicU32::new(1);

/// Prepares lookups; called once when the library starts, outside of any event.
pub fn start() {
    find::start();
    program::start();
}

/// As [`start`], in a static program: its objects stay, and it is its own file.
pub fn start_static() {
    find::refresh();
    program::start_static();
}

/// Forgets all numbers: for a forked child, which writes a tape of its own. Only one thread may
/// run in the process; unloads that other threads of the parent ran will not end here.
pub fn forget() {
    CHANGES.fetch_and(!(UNLOADING_ONE * RUNNING_MASK), Ordering::SeqCst);
    for entry in &ENTRIES {
        if entry.claim.load(Ordering::Relaxed) == 0 {
            continue;
        }
        entry.index.store(0, Ordering::Relaxed);
        entry.claim.store(0, Ordering::Relaxed);
    }
    NEXT_INDEX.store(1, Ordering::Relaxed);
}

/// Memory for a path that is put together; apart because the target's stack may be small.
#[derive(Debug)]
pub struct PathBuffer([u8; PATH_BYTES_MAX]);

impl Default for PathBuffer {
    fn default() -> Self {
        Self([0; PATH_BYTES_MAX])
    }
}

/// Where code is, as a tape says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The module's number; 0: no module is known.
    pub module: u32,
    /// Address in the module's file; the plain address when no module is known.
    pub offset: usize,
}

/// Finds the module of `pc`. A module without a number gets one, and `announce` gets its record
/// before any other thread can see the number. `checked_at` is [`unloads`] as the event read it,
/// or `None` while it is unsettled what is loaded. A range that is settled goes into `recent`.
///
/// `None`: `announce` refused.
pub fn place(
    pc: usize,
    checked_at: Option<u64>,
    recent: &mut Recent,
    buffer: &mut PathBuffer,
    announce: impl FnOnce(&ModuleRecord<'_>) -> bool,
) -> Option<Place> {
    let unknown = Place {
        module: 0,
        offset: pc,
    };
    let Some(object) = find::object_of(pc) else {
        return Some(unknown);
    };
    let offset = pc.wrapping_sub(object.bias);
    // 0 stands for never checked.
    let checked = checked_at.map_or(0, |unloads| unloads + 1);
    if let Some((module, has_holes)) = known(&object, checked) {
        if !has_holes {
            recent.remember(object.start, object.end, object.bias, module);
        }
        let is_inside = !has_holes || object.holds(pc);
        let place = Place { module, offset };
        return Some(if is_inside { place } else { unknown });
    }
    if !object.holds(pc) {
        return Some(unknown);
    }
    let module = enter(&object, checked, buffer, announce)?;
    if module == 0 {
        return Some(unknown);
    }
    Some(Place { module, offset })
}

fn slots(object: &Object) -> impl Iterator<Item = &'static Entry> {
    let mixed =
        (object.start ^ object.identity.rotate_left(20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = mixed >> 40;
    (0..MODULES_MAX).filter_map(move |step| ENTRIES.get(first.wrapping_add(step) % MODULES_MAX))
}

/// The number of a module that was entered and checked since the last unload, and whether it has
/// holes.
fn known(object: &Object, checked: u64) -> Option<(u32, bool)> {
    if checked == 0 {
        return None;
    }
    for entry in slots(object) {
        if entry.claim.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Acquire: pairs with the Release of `publish`.
        let index = entry.index.load(Ordering::Acquire);
        if index != 0 && entry.is_of(object) && entry.checked.load(Ordering::Relaxed) == checked {
            return Some((index, entry.has_holes.load(Ordering::Relaxed)));
        }
    }
    None
}

impl Entry {
    fn is_of(&self, object: &Object) -> bool {
        self.start.load(Ordering::Relaxed) == object.start
            && self.identity.load(Ordering::Relaxed) == object.identity
    }
}

/// Looks closely at an object: gives it the number it has, or a new one; 0 when all are taken.
#[cold]
#[inline(never)]
fn enter(
    object: &Object,
    checked: u64,
    buffer: &mut PathBuffer,
    announce: impl FnOnce(&ModuleRecord<'_>) -> bool,
) -> Option<u32> {
    let headers = Headers::of(object);
    let build_id = headers
        .and_then(|headers| headers.build_id())
        .unwrap_or(&[]);
    let name = name_of(object);
    let table = headers.map_or(&[][..], |headers| headers.table());
    let layout = match headers {
        Some(headers) if build_id.is_empty() => layout_of(object, headers),
        _ => &[],
    };
    let ends = [object.bias, object.end].map(usize::to_ne_bytes);
    let parts = [name, build_id, layout, table, ends.as_flattened()];
    let fingerprint = fingerprint(&parts);

    let mut free = None;
    for entry in slots(object) {
        if entry.claim.load(Ordering::Relaxed) == 0 {
            free = Some(entry);
            break;
        }
        // Acquire: pairs with the Release of `publish`.
        let index = entry.index.load(Ordering::Acquire);
        if index != 0
            && entry.is_of(object)
            && entry.fingerprint.load(Ordering::Relaxed) == fingerprint
        {
            entry.checked.store(checked, Ordering::Relaxed);
            return Some(index);
        }
    }
    if free.is_none() {
        return Some(0);
    }
    let index = NEXT_INDEX.fetch_add(1, Ordering::Relaxed);
    let record = ModuleRecord {
        index,
        bias: object.bias,
        start: object.start,
        end: object.end,
        build_id,
        path: path_of(name, buffer),
    };
    if !announce(&record) {
        return None;
    }
    #[cfg(target_env = "gnu")]
    crate::python::met(object, headers);
    let has_holes = headers.is_some_and(|headers| headers.stretches().count() > 1);
    publish(object, index, [fingerprint, checked], has_holes);
    Some(index)
}

/// Shows an announced module to all threads. Two threads may enter the same one at once: both
/// numbers are right.
fn publish(object: &Object, index: u32, [fingerprint, checked]: [u64; 2], has_holes: bool) {
    for entry in slots(object) {
        let claim = entry
            .claim
            .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        if claim.is_err() {
            continue;
        }
        entry.start.store(object.start, Ordering::Relaxed);
        entry.identity.store(object.identity, Ordering::Relaxed);
        entry.fingerprint.store(fingerprint, Ordering::Relaxed);
        entry.checked.store(checked, Ordering::Relaxed);
        entry.has_holes.store(has_holes, Ordering::Relaxed);
        // Release: pairs with the Acquire of `known` and `enter`.
        entry.index.store(index, Ordering::Release);
        return;
    }
}

/// Where functions begin, by the unwind header: tells builds without build-ids apart.
fn layout_of<'a>(object: &Object, headers: Headers<'a>) -> &'a [u8] {
    const BYTES_MAX: usize = 16 << 10;
    let section = headers.section_around(object.unwind_header);
    let bytes = section.and_then(|section| {
        let mut reader = section.reader_at(object.unwind_header)?;
        let rest = section.bytes.len() - reader.offset();
        reader.take(rest.min(BYTES_MAX))
    });
    bytes.unwrap_or(&[])
}

/// FNV-1a with the parts' lengths mixed in.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        let length = part.len().to_ne_bytes();
        for &byte in part.iter().chain(&length) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The loader's name of an object, without the NUL.
fn name_of(object: &Object) -> &[u8] {
    let pointer: *const core::ffi::c_char = core::ptr::with_exposed_provenance(object.name);
    if pointer.is_null() {
        return &[];
    }
    // SAFETY: the loader's string lives as long as the object, of which a frame is alive.
    unsafe { core::ffi::CStr::from_ptr(pointer) }.to_bytes()
}

/// The path to record: that of the executable for the nameless object, an absolute one otherwise.
fn path_of<'a>(name: &'a [u8], buffer: &'a mut PathBuffer) -> &'a [u8] {
    // In a static program musl calls it by this name.
    if name.is_empty() || name == b"/proc/self/exe" {
        return executable(buffer);
    }
    let PathBuffer(bytes) = buffer;
    if name.starts_with(b"linux-vdso.so") || name.starts_with(b"linux-gate.so") {
        return b"[vdso]";
    }
    if name.starts_with(b"/") {
        return name;
    }
    // A name relative to the current directory, which is most likely still that of the load.
    absolute(name, bytes).unwrap_or(name)
}

/// The path of the main executable.
pub fn executable(buffer: &mut PathBuffer) -> &[u8] {
    let PathBuffer(bytes) = buffer;
    program::path(bytes)
}

fn absolute<'a>(name: &[u8], bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = syscall::current_directory(bytes)?;
    *bytes.get_mut(length)? = b'/';
    let end = length.checked_add(1)?.checked_add(name.len())?;
    bytes.get_mut(length + 1..end)?.copy_from_slice(name);
    bytes.get(..end)
}
