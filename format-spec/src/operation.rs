//! Operations: which entry point was called, and what it does to blocks. SPEC.md §6.3.
//!
//! In: the code byte of an event. Out: its kind, name, implied domain and extra fields. A code that
//! this version does not name still has a kind, and with it a known set of columns.

/// What an operation does to blocks: the upper three bits of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationKind {
    /// A new block begins to live.
    Alloc = 0,
    /// A block dies.
    Free = 1,
    /// A block dies at `stamp`, another one begins to live at `end_stamp`.
    Realloc = 2,
    /// Address space is mapped.
    Map = 3,
    /// Address space is unmapped, perhaps a part of a mapping.
    Unmap = 4,
    /// A mapping is moved or resized.
    Remap = 5,
    /// A live block gets another stack: its memory was used again without being freed.
    Retag = 6,
    /// Reserved.
    Reserved = 7,
}

/// Which entry point was called. Codes that this version does not name keep their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation(pub u8);

macro_rules! operations {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        #[allow(missing_docs, reason = "the names are those of the entry points")]
        impl Operation {
            $(pub const $name: Self = Self($code);)*

            /// Every operation that this version names.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The entry point's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unknown",
                }
            }
        }
    };
}

operations! {
    MALLOC = 0, "malloc";
    CALLOC = 1, "calloc";
    REALLOC_NEW = 2, "realloc";
    REALLOCARRAY_NEW = 3, "reallocarray";
    POSIX_MEMALIGN = 4, "posix_memalign";
    ALIGNED_ALLOC = 5, "aligned_alloc";
    MEMALIGN = 6, "memalign";
    VALLOC = 7, "valloc";
    PVALLOC = 8, "pvalloc";
    CUSTOM_ALLOC = 9, "heaptape_report_alloc";
    RAW_MALLOC = 16, "PyMem_RawMalloc";
    RAW_CALLOC = 17, "PyMem_RawCalloc";
    RAW_REALLOC_NEW = 18, "PyMem_RawRealloc";
    MEM_MALLOC = 19, "PyMem_Malloc";
    MEM_CALLOC = 20, "PyMem_Calloc";
    MEM_REALLOC_NEW = 21, "PyMem_Realloc";
    OBJ_MALLOC = 22, "PyObject_Malloc";
    OBJ_CALLOC = 23, "PyObject_Calloc";
    OBJ_REALLOC_NEW = 24, "PyObject_Realloc";
    FREE = 32, "free";
    CFREE = 33, "cfree";
    FREE_SIZED = 34, "free_sized";
    FREE_ALIGNED_SIZED = 35, "free_aligned_sized";
    REALLOC_FREE = 36, "realloc";
    CUSTOM_FREE = 41, "heaptape_report_free";
    RAW_FREE = 48, "PyMem_RawFree";
    MEM_FREE = 51, "PyMem_Free";
    OBJ_FREE = 54, "PyObject_Free";
    REALLOC = 64, "realloc";
    REALLOCARRAY = 65, "reallocarray";
    CUSTOM_REALLOC = 73, "heaptape_report_realloc";
    RAW_REALLOC = 80, "PyMem_RawRealloc";
    MEM_REALLOC = 83, "PyMem_Realloc";
    OBJ_REALLOC = 86, "PyObject_Realloc";
    MMAP = 96, "mmap";
    SBRK_GROW = 97, "sbrk";
    MUNMAP = 128, "munmap";
    SBRK_SHRINK = 129, "sbrk";
    MREMAP = 160, "mremap";
    PYTHON_REUSE = 192, "PyRefTracer";
}

/// Number of a domain; user-defined ones begin at [`DomainId::FIRST_CUSTOM`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u16);

#[allow(missing_docs, reason = "the names are those of SPEC.md §6")]
impl DomainId {
    pub const NATIVE: Self = Self(0);
    pub const RAW: Self = Self(1);
    pub const MEM: Self = Self(2);
    pub const OBJ: Self = Self(3);
    pub const MMAP: Self = Self(4);
    pub const ARENA: Self = Self(5);
    pub const FIRST_CUSTOM: Self = Self(16);
}

impl Operation {
    /// What the operation does.
    #[must_use]
    #[inline]
    pub fn kind(self) -> OperationKind {
        match self.0 >> 5 {
            0 => OperationKind::Alloc,
            1 => OperationKind::Free,
            2 => OperationKind::Realloc,
            3 => OperationKind::Map,
            4 => OperationKind::Unmap,
            5 => OperationKind::Remap,
            6 => OperationKind::Retag,
            _ => OperationKind::Reserved,
        }
    }

    /// False for the kind that is reserved: its events have no defined fields.
    #[must_use]
    #[inline]
    pub fn has_layout(self) -> bool {
        self.kind() != OperationKind::Reserved
    }

    /// True when the event has an alignment.
    #[must_use]
    #[inline]
    pub fn is_aligned(self) -> bool {
        matches!(
            self,
            Self::POSIX_MEMALIGN | Self::ALIGNED_ALLOC | Self::MEMALIGN
        )
    }

    /// True when the event names a user-defined domain.
    #[must_use]
    #[inline]
    pub fn is_custom(self) -> bool {
        matches!(
            self,
            Self::CUSTOM_ALLOC | Self::CUSTOM_FREE | Self::CUSTOM_REALLOC
        )
    }

    /// The domain that the entry point implies; custom operations name theirs themselves.
    #[must_use]
    #[inline]
    pub fn implied_domain(self) -> DomainId {
        match self.0 {
            16..=18 | 48 | 80 => DomainId::RAW,
            19..=21 | 51 | 83 => DomainId::MEM,
            22..=24 | 54 | 86 | 192 => DomainId::OBJ,
            96..=191 => DomainId::MMAP,
            _ => DomainId::NATIVE,
        }
    }
}
