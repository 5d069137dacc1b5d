//! Programs whose load segments lie apart: linkers leave holes between them for pages that are
//! larger than the machine's.

use heaptape_tests::answers::{array, functions, number, rows};
use heaptape_tests::{Room, build};

/// The linker's options for pages of such sizes.
pub(crate) const PAGE_SIZES: [&str; 2] = [
    "-Wl,-z,max-page-size=0x10000",
    "-Wl,-z,max-page-size=0x200000",
];

#[test]
fn stacks_through_a_program_with_holes_are_whole_and_named() {
    for page_size in PAGE_SIZES {
        for kind in ["-pie", "-no-pie"] {
            let room = Room::new();
            let program = build::c("holes.c", &[page_size, kind]);
            room.record_as_bare("t.tape", &[program]);
            let info = room.assert_clean("t.tape");
            assert_eq!(info["cut_stacks"]["unknown"], 0, "{page_size} {kind}");
            let stats = |group| room.json(&["stats", "t.tape", "--at", "end", "--group-by", group]);
            let modules = rows(&stats("module"));
            assert_eq!(modules.get("holes"), Some(&(50_000, 30)), "{modules:?}");
            let tracebacks = stats("traceback");
            for (name, bytes, blocks) in [("alpha", 10_000, 10), ("beta", 40_000, 20)] {
                let row = array(&tracebacks, "rows")
                    .iter()
                    .find(|row| functions(row).first() == Some(&name));
                let row = row.unwrap_or_else(|| panic!("no {name} in {tracebacks:#}"));
                let names = functions(row);
                assert_eq!(names[..3], [name, "outer", "main"], "{page_size} {kind}");
                assert_eq!(names.last(), Some(&"_start"), "{page_size} {kind}");
                assert_eq!(
                    (number(row, "bytes"), number(row, "count")),
                    (bytes, blocks)
                );
            }
        }
    }
}
