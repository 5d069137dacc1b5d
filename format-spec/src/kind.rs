//! Kinds of chunks: codes, names and limits. SPEC.md §4.3.

use crate::{PAYLOAD_BYTES_MAX, TABLE_BYTES_MAX};

/// What a chunk holds. Unknown kinds are skipped unless flagged
/// [`crate::chunk::FLAG_MUST_UNDERSTAND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkKind(pub u16);

macro_rules! kinds {
    ($($(#[$docs:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        #[allow(missing_docs, reason = "each constant is documented by the table in SPEC.md §4.3")]
        impl ChunkKind {
            $($(#[$docs])* pub const $name: Self = Self($code);)*

            /// Every kind that this version names, with the reserved ones.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The kind's name in messages.
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

kinds! {
    EVENTS = 1, "events";
    STACK_NODES = 2, "stack nodes";
    DOMAINS = 3, "domains";
    MODULES = 4, "modules";
    CODE_OBJECTS = 5, "code objects";
    STREAMS = 6, "streams";
    PROCESS = 7, "process";
    CLOCK_PAIRS = 8, "clock pairs";
    RESIDENT = 9, "resident samples";
    MARKS = 10, "marks";
    LOST = 11, "lost events";
    EPOCHS = 12, "epochs";
    CHILDREN = 13, "children";
    /// Reserved for an optional directory of chunks at the end of a tape.
    DIRECTORY = 14, "directory";
    SYMBOLS = 15, "symbols";
    END = 16, "end";
    TOTALS = 18, "totals";
    FORK_CUTS = 19, "fork cuts";
    FOLDED = 20, "folded";
    LEFT = 21, "left";
}

impl ChunkKind {
    /// False for kinds that this version does not decode: a reader skips them.
    #[must_use]
    pub fn is_known(self) -> bool {
        Self::ALL.contains(&self) && self != Self::DIRECTORY
    }

    /// The most bytes that a payload of this kind has before compression.
    #[must_use]
    pub fn payload_bytes_max(self) -> u32 {
        if self == Self::EVENTS || !self.is_known() {
            PAYLOAD_BYTES_MAX
        } else {
            TABLE_BYTES_MAX
        }
    }
}
