//! Entry points that allocators bring beside the malloc family: `operator new` and `delete`, and
//! the names with a prefix (`je_`, `_rjem_`, `mi_`, `tc_`) or without one (`mallocx`).
//!
//! A name that we export is there for everybody: `if (je_malloc)` of a program without jemalloc
//! would find ours, and a C++ plugin of a C program would get our `operator new`, behind which no
//! other can be found. So these names stand in a second build of the library, made with the
//! feature `allocators`, and only programs that bring such an allocator get that one in place of
//! the usual one: by the libraries that the executable and `LD_PRELOAD` name (see
//! [`heaptape_session::allocators`]). A wrong choice is never a fault. A program with such an
//! allocator and the usual library runs as bare and is recorded without these entry points; one
//! with the second library finds the next definition behind each of ours, or, where there is none,
//! is served from `malloc` (see [`super::around`]).
//!
//! Not among them: what neither allocates nor frees single blocks. A heap that is destroyed as a
//! whole (`mi_heap_destroy`, `mallctl` of jemalloc) tells nobody of its blocks.

use super::around::{self, Entry};
use super::shapes::{
    alloc, alloc_aligned, alloc_at, alloc_many, free, realloc, realloc_at, realloc_many, resize,
    text, text_unless_at,
};

macro_rules! entry_points {
    ($($name:ident $shape:expr;)*) => {
        /// What the stubs lead to, by name.
        #[allow(non_upper_case_globals, reason = "the names are those of the entry points")]
        mod entries {
            use super::*;
            $(pub(super) static $name: Entry =
                Entry::new(concat!(stringify!($name), "\0"), $shape);)*
        }

        static ALL: &[&Entry] = &[$(&entries::$name),*];

        $(
            #[doc = concat!("Interposed `", stringify!($name), "`.")]
            ///
            /// # Safety
            /// As the function of this name; the type is not its own.
            #[allow(non_snake_case, reason = "the names are those of the entry points")]
            #[cfg_attr(feature = "allocators", unsafe(no_mangle))]
            #[unsafe(naked)]
            pub unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "lea r11, [rip + {}]",
                    "jmp {}",
                    ".cfi_endproc",
                    sym entries::$name,
                    sym around::around,
                )
            }
        )*
    };
}

/// Looks all of them up, while the process starts.
pub fn find_all() {
    for entry in ALL {
        entry.find();
    }
    around::find_exceptions();
}

entry_points! {
    _Znwm alloc().operator().throwing();
    _Znam alloc().operator().throwing();
    _ZnwmRKSt9nothrow_t alloc().operator();
    _ZnamRKSt9nothrow_t alloc().operator();
    _ZnwmSt11align_val_t alloc().aligned(1).operator().throwing();
    _ZnamSt11align_val_t alloc().aligned(1).operator().throwing();
    _ZnwmSt11align_val_tRKSt9nothrow_t alloc().aligned(1).operator();
    _ZnamSt11align_val_tRKSt9nothrow_t alloc().aligned(1).operator();
    _ZdlPv free().operator();
    _ZdaPv free().operator();
    _ZdlPvm free().operator();
    _ZdaPvm free().operator();
    _ZdlPvRKSt9nothrow_t free().operator();
    _ZdaPvRKSt9nothrow_t free().operator();
    _ZdlPvSt11align_val_t free().operator();
    _ZdaPvSt11align_val_t free().operator();
    _ZdlPvmSt11align_val_t free().operator();
    _ZdaPvmSt11align_val_t free().operator();
    _ZdlPvSt11align_val_tRKSt9nothrow_t free().operator();
    _ZdaPvSt11align_val_tRKSt9nothrow_t free().operator();

    mallocx alloc().flagged(1);
    rallocx realloc().flagged(2);
    xallocx resize().flagged(3);
    dallocx free();
    sdallocx free();

    je_malloc alloc();
    je_calloc alloc_many().zeroed();
    je_realloc realloc();
    je_free free();
    je_aligned_alloc alloc_aligned();
    je_posix_memalign alloc_at();
    je_memalign alloc_aligned();
    je_valloc alloc();
    je_pvalloc alloc();
    je_free_sized free();
    je_free_aligned_sized free();
    je_mallocx alloc().flagged(1);
    je_rallocx realloc().flagged(2);
    je_xallocx resize().flagged(3);
    je_dallocx free();
    je_sdallocx free();

    _rjem_malloc alloc();
    _rjem_calloc alloc_many().zeroed();
    _rjem_realloc realloc();
    _rjem_free free();
    _rjem_aligned_alloc alloc_aligned();
    _rjem_posix_memalign alloc_at();
    _rjem_memalign alloc_aligned();
    _rjem_valloc alloc();
    _rjem_pvalloc alloc();
    _rjem_free_sized free();
    _rjem_free_aligned_sized free();
    _rjem_mallocx alloc().flagged(1);
    _rjem_rallocx realloc().flagged(2);
    _rjem_xallocx resize().flagged(3);
    _rjem_dallocx free();
    _rjem_sdallocx free();

    tc_malloc alloc();
    tc_malloc_skip_new_handler alloc();
    tc_calloc alloc_many().zeroed();
    tc_realloc realloc();
    tc_free free();
    tc_cfree free();
    tc_free_sized free();
    tc_memalign alloc_aligned();
    tc_posix_memalign alloc_at();
    tc_valloc alloc();
    tc_pvalloc alloc();
    tc_new alloc().throwing();
    tc_new_nothrow alloc();
    tc_new_aligned alloc().aligned(1).throwing();
    tc_new_aligned_nothrow alloc().aligned(1);
    tc_newarray alloc().throwing();
    tc_newarray_nothrow alloc();
    tc_newarray_aligned alloc().aligned(1).throwing();
    tc_newarray_aligned_nothrow alloc().aligned(1);
    tc_delete free();
    tc_delete_sized free();
    tc_delete_nothrow free();
    tc_delete_aligned free();
    tc_delete_sized_aligned free();
    tc_delete_aligned_nothrow free();
    tc_deletearray free();
    tc_deletearray_sized free();
    tc_deletearray_nothrow free();
    tc_deletearray_aligned free();
    tc_deletearray_sized_aligned free();
    tc_deletearray_aligned_nothrow free();

    reallocf realloc().freeing_on_failure();
    reallocarr realloc_at();
    vfree free();
    _aligned_malloc alloc_aligned();
    mi_malloc alloc();
    mi_malloc_small alloc();
    mi_zalloc alloc().zeroed();
    mi_zalloc_small alloc().zeroed();
    mi_calloc alloc_many().zeroed();
    mi_mallocn alloc_many();
    mi_realloc realloc().keeping_empty();
    mi_reallocn realloc_many().keeping_empty();
    mi_reallocf realloc().freeing_on_failure();
    mi_reallocarray realloc_many().keeping_empty();
    mi_reallocarr realloc_at().keeping_empty();
    mi_rezalloc realloc().zeroed().keeping_empty();
    mi_recalloc realloc_many().zeroed().keeping_empty();
    mi_expand realloc().keeping_empty();
    mi__expand realloc().keeping_empty();
    mi_free free();
    mi_cfree free();
    mi_free_size free();
    mi_free_size_aligned free();
    mi_free_aligned free();
    mi_strdup text();
    mi_strndup text();
    mi_mbsdup text();
    mi_realpath text_unless_at(1);
    mi_posix_memalign alloc_at();
    mi_memalign alloc_aligned();
    mi_aligned_alloc alloc_aligned();
    mi_valloc alloc();
    mi_pvalloc alloc();
    mi_malloc_aligned alloc().aligned(1);
    mi_malloc_aligned_at alloc().aligned(1);
    mi_zalloc_aligned alloc().aligned(1).zeroed();
    mi_zalloc_aligned_at alloc().aligned(1).zeroed();
    mi_calloc_aligned alloc_many().aligned(2).zeroed();
    mi_calloc_aligned_at alloc_many().aligned(2).zeroed();
    mi_realloc_aligned realloc().aligned(2).keeping_empty();
    mi_realloc_aligned_at realloc().aligned(2).keeping_empty();
    mi_rezalloc_aligned realloc().aligned(2).zeroed().keeping_empty();
    mi_rezalloc_aligned_at realloc().aligned(2).zeroed().keeping_empty();
    mi_recalloc_aligned realloc_many().aligned(3).zeroed().keeping_empty();
    mi_recalloc_aligned_at realloc_many().aligned(3).zeroed().keeping_empty();
    mi_aligned_recalloc realloc_many().aligned(3).zeroed().keeping_empty();
    mi_aligned_offset_recalloc realloc_many().aligned(3).zeroed().keeping_empty();
    mi_new alloc().throwing();
    mi_new_n alloc_many().throwing();
    mi_new_nothrow alloc();
    mi_new_aligned alloc().aligned(1).throwing();
    mi_new_aligned_nothrow alloc().aligned(1);
    mi_new_realloc realloc().throwing();
    mi_new_reallocn realloc_many().throwing();
    mi_heap_malloc alloc().of_heap();
    mi_heap_malloc_small alloc().of_heap();
    mi_heap_zalloc alloc().zeroed().of_heap();
    mi_heap_calloc alloc_many().zeroed().of_heap();
    mi_heap_mallocn alloc_many().of_heap();
    mi_heap_realloc realloc().keeping_empty().of_heap();
    mi_heap_reallocn realloc_many().keeping_empty().of_heap();
    mi_heap_reallocf realloc().freeing_on_failure().of_heap();
    mi_heap_rezalloc realloc().zeroed().keeping_empty().of_heap();
    mi_heap_recalloc realloc_many().zeroed().keeping_empty().of_heap();
    mi_heap_strdup text().of_heap();
    mi_heap_strndup text().of_heap();
    mi_heap_realpath text_unless_at(1).of_heap();
    mi_heap_malloc_aligned alloc().aligned(1).of_heap();
    mi_heap_malloc_aligned_at alloc().aligned(1).of_heap();
    mi_heap_zalloc_aligned alloc().aligned(1).zeroed().of_heap();
    mi_heap_zalloc_aligned_at alloc().aligned(1).zeroed().of_heap();
    mi_heap_calloc_aligned alloc_many().aligned(2).zeroed().of_heap();
    mi_heap_calloc_aligned_at alloc_many().aligned(2).zeroed().of_heap();
    mi_heap_realloc_aligned realloc().aligned(2).keeping_empty().of_heap();
    mi_heap_realloc_aligned_at realloc().aligned(2).keeping_empty().of_heap();
    mi_heap_rezalloc_aligned realloc().aligned(2).zeroed().keeping_empty().of_heap();
    mi_heap_rezalloc_aligned_at realloc().aligned(2).zeroed().keeping_empty().of_heap();
    mi_heap_recalloc_aligned realloc_many().aligned(3).zeroed().keeping_empty().of_heap();
    mi_heap_recalloc_aligned_at realloc_many().aligned(3).zeroed().keeping_empty().of_heap();
    mi_heap_alloc_new alloc().throwing().of_heap();
    mi_heap_alloc_new_n alloc_many().throwing().of_heap();
}
