//! What the dynamic loader knows of an address: which object it lies in, and which function it is.
//!
//! Asked while the process starts, or once for a function: the loader may take a lock for it.
//! Nothing here changes anything.

use core::ffi::{c_int, c_void};
use core::ptr;

/// `dladdr1` gives the entry of the symbol table.
const RTLD_DL_SYMENT: c_int = 1;
/// A symbol that its object does not define.
const SECTION_UNDEFINED: u16 = 0;

unsafe extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

/// The object that an address lies in; all null when it is in none.
#[must_use]
pub fn object_of(address: usize) -> libc::Dl_info {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: dladdr only looks the address up; `info` is valid for it to fill in.
    unsafe { libc::dladdr(address as *const c_void, &raw mut info) };
    info
}

/// True when both addresses lie in one object.
#[must_use]
pub fn is_same(address: usize, other: usize) -> bool {
    object_of(address).dli_fbase == object_of(other).dli_fbase
}

/// The entry of the dynamic symbol table that an address belongs to; null when there is none.
fn symbol_of(address: usize) -> *const libc::Elf64_Sym {
    let mut info = object_of(address);
    let mut symbol: *mut c_void = ptr::null_mut();
    let place = address as *const c_void;
    // SAFETY: as dladdr; both places are valid to be filled in.
    unsafe { dladdr1(place, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT) };
    symbol.cast_const().cast()
}

/// Length of the function at `address`; 0 when there is none.
#[must_use]
pub fn symbol_bytes(address: usize) -> u64 {
    // SAFETY: null, or an entry of the symbol table of an object that is loaded.
    unsafe { symbol_of(address).as_ref() }.map_or(0, |symbol| symbol.st_size)
}

/// True when calls of `malloc` do not come to us: the program's own file defines it.
///
/// A file that was linked to a fixed address and takes the function's address has an entry for it
/// too, which only leads on to the definition that the loader found: ours.
#[must_use]
pub fn is_malloc_bypassed() -> bool {
    // SAFETY: dlsym with a constant name.
    let first = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) } as usize;
    if is_same(first, is_malloc_bypassed as *const () as usize) {
        return false;
    }
    // SAFETY: as in `symbol_bytes`.
    unsafe { symbol_of(first).as_ref() }.is_none_or(|symbol| symbol.st_shndx != SECTION_UNDEFINED)
}
