//! Answers about blocks: who lives at a moment, who lived in a window, who owned an address.
