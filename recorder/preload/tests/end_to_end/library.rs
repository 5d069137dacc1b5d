//! The library file itself: what it needs, what it shows, what it cannot do.

use crate::target::{library, library_with_allocators};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn tool(program: &str, arguments: &[&str]) -> String {
    tool_on(library(), program, arguments)
}

fn tool_on(library: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg(library).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_needs_the_c_library_alone_and_not_a_new_one() {
    let dynamic = tool("readelf", &["--dynamic", "--wide"]);
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .collect();
    assert_eq!(needed.len(), 1, "{needed:?}");
    assert!(needed[0].contains("[libc.so.6]"));
    assert!(
        dynamic.contains("STATIC_TLS"),
        "thread-local storage is not initial-exec"
    );
    let symbols = tool("nm", &["--dynamic", "--undefined-only"]);
    for line in symbols.lines() {
        let version = line.split("@GLIBC_").nth(1).unwrap_or("2.0");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        assert!(
            version <= (2, 34),
            "{line} needs a newer C library than Debian 12's"
        );
        assert!(!line.contains("__tls_get_addr"));
    }
}

#[test]
fn it_exports_what_it_interposes_and_nothing_else() {
    let usual = exported(library());
    let interposed = "malloc calloc realloc free reallocarray cfree posix_memalign aligned_alloc \
        memalign valloc pvalloc free_sized free_aligned_sized \
        mmap mmap64 munmap mremap sbrk brk dlopen dlmopen dlclose prctl syscall pthread_setname_np \
        _PyTraceMalloc_NewReference \
        execve execv execvp execvpe execl execlp execle execveat fexecve posix_spawn \
        posix_spawnp system popen wordexp vfork clone _exit _Exit quick_exit \
        heaptape_mark heaptape_domain heaptape_report_alloc heaptape_report_realloc \
        heaptape_report_free";
    let interposed: BTreeSet<String> = interposed.split_whitespace().map(Into::into).collect();
    assert_eq!(usual, interposed);

    // The twin has the same, and the allocators' own names.
    let twin = exported(library_with_allocators());
    assert!(twin.is_superset(&usual));
    let starts = [
        "_Znw", "_Zna", "_Zdl", "_Zda", "je_", "_rjem_", "mi_", "tc_",
    ];
    let bare = [
        "mallocx",
        "rallocx",
        "xallocx",
        "dallocx",
        "sdallocx",
        "reallocf",
        "reallocarr",
        "vfree",
        "_aligned_malloc",
    ];
    for name in twin.difference(&usual) {
        let is_known = starts.iter().any(|start| name.starts_with(start));
        assert!(is_known || bare.contains(&name.as_str()), "{name}");
    }
    // All twenty forms of operator new and delete.
    assert_eq!(
        twin.iter().filter(|name| name.starts_with("_Z")).count(),
        20
    );
}

fn exported(library: &Path) -> BTreeSet<String> {
    let arguments = ["--dynamic", "--defined-only", "--format=posix"];
    tool_on(library, "nm", &arguments)
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .map(Into::into)
        .collect()
}

#[test]
fn it_has_no_way_to_panic() {
    for library in [library(), library_with_allocators()] {
        let symbols = tool_on(library, "nm", &["--defined-only"]);
        let panics: Vec<&str> = symbols
            .lines()
            .filter(|line| line.contains("panic"))
            .collect();
        assert_eq!(panics, [] as [&str; 0]);
    }
}
