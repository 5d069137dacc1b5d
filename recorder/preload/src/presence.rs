//! How we came into this process: preloaded in front of the C library, or linked into the program.
//!
//! A preloaded library must find the real functions behind its own, and itself. A linked recorder
//! is called by the program's allocator and hooks nothing; it records where nothing can be
//! preloaded, in a static program, and leaves every other to the preloaded library: so no block is
//! recorded twice.

use core::ffi::c_char;

/// What is known of the real allocator.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// It may call our hooks: it is not the C library's.
    pub is_foreign: bool,
    /// C string with the path of the object that holds it; null: unknown.
    pub path: *const c_char,
    /// The executable has a malloc of its own, which comes before ours.
    pub is_bypassed: bool,
}

#[cfg(not(feature = "interpose"))]
pub use linked::{find_allocator, find_library, is_ready, may_record, start};
#[cfg(feature = "interpose")]
pub use preloaded::{find_allocator, find_library, is_ready, may_record, start};

#[cfg(feature = "interpose")]
mod preloaded {
    use super::Allocator;
    use crate::{identity, modules, next, objects};

    /// True once the real functions are known. False: too early, the next event asks again.
    pub fn is_ready() -> bool {
        next::malloc_address() != 0 || next::resolve()
    }

    /// True when this process is one to record.
    pub fn may_record() -> bool {
        true
    }

    /// Finds our own library.
    pub fn find_library() {
        identity::find_library();
    }

    /// Finds out which object holds the real allocator, and whether calls come through us at all.
    pub fn find_allocator() -> Allocator {
        let allocator = objects::object_of(next::malloc_address());
        let library = libc::getauxval as *const () as usize;
        Allocator {
            // Functions around the allocator mark what they call in any case.
            is_foreign: cfg!(feature = "allocators")
                || !objects::is_same(next::malloc_address(), library),
            path: allocator.dli_fname,
            is_bypassed: objects::is_malloc_bypassed(),
        }
    }

    /// Prepares what events need.
    pub fn start() {
        next::find_early();
        modules::start();
        // The end of a load is never told: see `hooks::loader`.
        modules::load_started();
    }
}

#[cfg(not(feature = "interpose"))]
mod linked {
    use super::Allocator;
    use crate::modules::{self, program};
    use core::ptr;

    /// True once what recording takes is there: always.
    #[must_use]
    pub fn is_ready() -> bool {
        true
    }

    /// True when this process is one to record. A program with more rights than its starter must
    /// not do what the environment says.
    #[must_use]
    pub fn may_record() -> bool {
        program::auxiliary(libc::AT_SECURE) == 0 && program::is_static()
    }

    /// There is no library.
    pub fn find_library() {}

    /// The allocator is part of the program, and calls nothing of ours.
    #[must_use]
    pub fn find_allocator() -> Allocator {
        Allocator {
            is_foreign: false,
            path: ptr::null(),
            is_bypassed: false,
        }
    }

    /// Prepares what events need.
    pub fn start() {
        modules::start_static();
    }
}
