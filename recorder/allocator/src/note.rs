//! What the crate leaves in the image beside code: the note by which `heaptape` knows that it
//! records itself, and a function that runs before `main`.

use core::ffi::c_char;
use heaptape_preload::linked;

/// Kept in the image, and read in its file before it starts.
#[used]
#[unsafe(link_section = ".note.heaptape")]
static NOTE: [u32; heaptape_session::linked::note().len()] = heaptape_session::linked::note();

extern "C" fn construct() {
    linked::start();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

/// `heaptape_mark` of `heaptape.h`.
type Mark = unsafe extern "C" fn(*const c_char);

/// The function of the library that was preloaded into this process, if one was.
#[cfg(not(target_feature = "crt-static"))]
pub(crate) fn preloaded_mark() -> Option<Mark> {
    let address: usize;
    // SAFETY: reads an entry of the table that the linker fills in: 0 where nobody has it.
    unsafe {
        core::arch::asm!(
            ".weak heaptape_mark",
            "mov {}, qword ptr [rip + heaptape_mark@GOTPCREL]",
            out(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    // SAFETY: 0, or the address of the function, which has this type.
    unsafe { core::mem::transmute::<usize, Option<Mark>>(address) }
}

/// Nothing can be preloaded.
#[cfg(target_feature = "crt-static")]
pub(crate) fn preloaded_mark() -> Option<Mark> {
    None
}
