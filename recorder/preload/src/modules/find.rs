//! Tells which loaded object holds a program counter: an address goes in, the object's range,
//! bias, name and unwind header come out. glibc's `_dl_find_object` (2.35 and later) answers
//! without a lock; where it is absent, a table of our own does, copied from the loader when the
//! library starts and after each load and unload that we see. Lookups take no lock and may run in
//! signal handlers.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::elf::Headers;
use super::{listing, scattered};

/// A loaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// First mapped address.
    pub start: usize,
    /// End of the mapping. Between the two there may be holes.
    pub end: usize,
    /// What is added to the addresses in the file.
    pub bias: usize,
    /// Tells loads apart, as far as the loader itself does; 0 when there is nothing.
    pub identity: usize,
    /// Address of the loader's name for it, a C string; 0 when it has none.
    pub name: usize,
    /// Address of `.eh_frame_hdr`; 0 when there is none.
    pub unwind_header: usize,
    /// Address and count of the program headers, when the loader named them.
    pub headers: Option<(usize, usize)>,
}

impl Object {
    /// True when `address` lies in a load segment of the object, and not in a hole between two.
    #[must_use]
    pub fn holds(&self, address: usize) -> bool {
        Headers::of(self).is_none_or(|headers| headers.holds(address))
    }
}

/// The object of the loader's enumeration, with a range that is not known yet.
#[must_use]
pub fn described_by(info: &libc::dl_phdr_info) -> Object {
    Object {
        start: 0,
        end: usize::MAX,
        bias: info.dlpi_addr as usize,
        identity: 0,
        name: info.dlpi_name as usize,
        unwind_header: 0,
        headers: Some((info.dlpi_phdr as usize, usize::from(info.dlpi_phnum))),
    }
}

/// The part of glibc's `struct link_map` that is public.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: *const c_char,
}

/// glibc's `struct dl_find_object`.
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: *const LinkMap,
    unwind_header: usize,
    reserved: [core::mem::MaybeUninit<u64>; 7],
}

type FindObject = unsafe extern "C" fn(*mut c_void, *mut FoundObject) -> c_int;

/// Address of `_dl_find_object`; 0 while unknown or absent. Relaxed everywhere: it is written once
/// before any lookup of another thread, and either value is right.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);

/// Looks for glibc's function; lists what it does not tell, or all objects when there is none.
///
/// Called once when the library starts, outside of any event.
pub fn start() {
    // SAFETY: dlsym with a constant name; the result is only compared and kept.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    FIND_OBJECT.store(address as usize, Ordering::Relaxed);
    if address.is_null() {
        refresh();
    } else {
        scattered::start();
    }
}

/// Lists the objects anew where the loader does not answer lookups itself. May take the loader's
/// lock: for the hooks of dlopen and dlclose, never for an event.
pub fn refresh() {
    if FIND_OBJECT.load(Ordering::Relaxed) == 0 {
        listing::LISTING.refresh();
    }
}

/// The object that holds `pc`. An object that was loaded later than the process started counts as
/// holding the holes between its segments, too, where the loader reserved them: see
/// [`Object::holds`].
#[must_use]
pub fn object_of(pc: usize) -> Option<Object> {
    if FIND_OBJECT.load(Ordering::Relaxed) == 0 {
        return listing::LISTING.object_of(pc);
    }
    let mut object = segment_of(pc)?;
    scattered::complete(&mut object);
    Some(object)
}

/// True when `pc` lies in an object. Nothing of the object is read, so it need not stay loaded.
#[must_use]
pub fn is_in_object(pc: usize) -> bool {
    if FIND_OBJECT.load(Ordering::Relaxed) == 0 {
        return listing::LISTING.object_of(pc).is_some();
    }
    look_up(pc).is_some()
}

/// What glibc's function answers: of some objects only the segment that holds `pc`.
#[inline]
#[must_use]
pub fn segment_of(pc: usize) -> Option<Object> {
    let found = look_up(pc)?;
    let link_map = found.link_map;
    // SAFETY: the loader's description lives as long as the object, of which a frame is alive.
    let LinkMap { bias, name } = unsafe { link_map.read() };
    Some(Object {
        start: found.map_start,
        end: found.map_end,
        bias,
        identity: link_map as usize,
        name: name as usize,
        unwind_header: found.unwind_header,
        headers: None,
    })
}

/// Asks glibc's function.
#[inline(always)]
fn look_up(pc: usize) -> Option<FoundObject> {
    let address = FIND_OBJECT.load(Ordering::Relaxed);
    if address == 0 {
        return None;
    }
    // SAFETY: the address is that of `_dl_find_object`, which has this type.
    let find = unsafe { core::mem::transmute::<usize, FindObject>(address) };
    let mut found = core::mem::MaybeUninit::<FoundObject>::uninit();
    // SAFETY: the function reads no memory at `pc` and fills the structure when it answers 0.
    let answer = unsafe { find(pc as *mut c_void, found.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: the answer was 0, so all fields were filled but those that may stay uninitialised.
    Some(unsafe { found.assume_init() })
}
