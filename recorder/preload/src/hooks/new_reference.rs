//! Objects of CPython 3.9: it tells its `tracemalloc` of each new one, while that traces, through a
//! function that its library exports. So we hear of memory that it uses again (`python::reuses`).

use super::Caller;
use crate::modules::elf::Headers;
use crate::modules::exports::Exports;
use crate::modules::find;
use crate::next;
use crate::python::reuses;
use core::ffi::{c_int, c_void};
use heaptape_session::sync::{AtomicU32, AtomicU64, Ordering};

type NewReference = unsafe extern "C" fn(*mut c_void) -> c_int;

/// What the function returns when nothing is traced.
const NOT_TRACED: c_int = -1;

/// The first interpreter that called: addresses of its object, and of its function. Others are
/// looked up at each call.
static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static REAL: AtomicU64 = AtomicU64::new(0);
/// Nobody has called.
const UNKNOWN: u32 = 0;
/// The three above are being written.
const BUSY: u32 = 1;
/// They stay as they are.
const KNOWN: u32 = 2;
static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

stub! {
    /// Interposed `_PyTraceMalloc_NewReference`.
    #[allow(non_snake_case, reason = "the interpreter's name")]
    _PyTraceMalloc_NewReference(object: *mut c_void) -> c_int, "rsi", "rdx", new_reference
}

unsafe extern "C" fn new_reference(object: *mut c_void, sp: *const usize, frame: usize) -> c_int {
    let caller = Caller { sp, frame };
    // SAFETY: the interpreter tells of an object that lives; the caller is alive.
    unsafe { reuses::heard(object, caller) };
    // SAFETY: the stub gives the place of the return address.
    let Some(real) = real(unsafe { sp.read() }) else {
        return NOT_TRACED;
    };
    // SAFETY: the caller's own call.
    unsafe { real(object) }
}

/// The function of the interpreter that `pc` lies in.
fn real(pc: usize) -> Option<NewReference> {
    let is_known = STATE.load(Ordering::Acquire) == KNOWN;
    let [start, end, known] = [&START, &END, &REAL].map(|place| place.load(Ordering::Relaxed));
    let address = if is_known && (start..end).contains(&(pc as u64)) {
        known as usize
    } else {
        look_up(pc).unwrap_or_else(|| next::NEW_REFERENCE.find())
    };
    if address == 0 {
        return None;
    }
    // SAFETY: the function of that name has this type.
    Some(unsafe { core::mem::transmute::<usize, NewReference>(address) })
}

/// What the interpreter itself exports: its library may be one whose names nobody else sees.
#[cold]
#[inline(never)]
fn look_up(pc: usize) -> Option<usize> {
    let object = find::object_of(pc)?;
    let exports = Exports::of(&object, Headers::of(&object)?)?;
    let address = exports.find(b"_PyTraceMalloc_NewReference")?.address;
    let claim = STATE.compare_exchange(UNKNOWN, BUSY, Ordering::Relaxed, Ordering::Relaxed);
    if claim.is_ok() {
        START.store(object.start as u64, Ordering::Relaxed);
        END.store(object.end as u64, Ordering::Relaxed);
        REAL.store(address as u64, Ordering::Relaxed);
        STATE.store(KNOWN, Ordering::Release);
    }
    Some(address)
}
