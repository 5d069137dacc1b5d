//! The names of domains.

use super::Tape;
use heaptape_format::event::DomainId;

/// The domains that every tape has, by number, with their names.
pub(crate) const BUILT_IN: [(DomainId, &str); 6] = [
    (DomainId::NATIVE, "native"),
    (DomainId::RAW, "raw"),
    (DomainId::MEM, "mem"),
    (DomainId::OBJ, "obj"),
    (DomainId::MMAP, "mmap"),
    (DomainId::ARENA, "arena"),
];

/// Behind the name of a program's own domain that is called like one of them.
pub(crate) const CUSTOM: &str = " (custom)";

/// Stands for every domain where one can be chosen.
pub(crate) const ALL: &str = "all";

impl Tape {
    /// The name of a domain: `native`, `raw`, `mem`, `obj`, `mmap`, `arena` or the user's. One of
    /// the user's that is called like one of these has ` (custom)` behind its name.
    #[must_use]
    pub fn domain_name(&self, domain: DomainId) -> &str {
        if let Some((_, name)) = BUILT_IN.iter().find(|(id, _)| *id == domain) {
            return name;
        }
        let found = self.domains.binary_search_by_key(&domain.0, |d| d.id);
        let found = found.ok().and_then(|place| self.domains.get(place));
        found.map_or("unknown", |domain| domain.name.as_str())
    }
}
