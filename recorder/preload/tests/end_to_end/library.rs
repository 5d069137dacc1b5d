//! The library file itself: what it needs, what it shows, what it cannot do.

use crate::target::library;
use std::collections::BTreeSet;
use std::process::Command;

fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(library())
        .output();
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
    let symbols = tool("nm", &["--dynamic", "--defined-only", "--format=posix"]);
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .collect();
    let interposed = "malloc calloc realloc free reallocarray cfree posix_memalign aligned_alloc \
        memalign valloc pvalloc free_sized free_aligned_sized \
        mmap mmap64 munmap mremap sbrk brk dlopen dlmopen dlclose prctl pthread_setname_np \
        execve execv execvp execvpe execl execlp execle execveat fexecve posix_spawn \
        posix_spawnp _exit _Exit quick_exit \
        heaptape_mark heaptape_domain heaptape_report_alloc heaptape_report_realloc \
        heaptape_report_free";
    assert_eq!(exported, interposed.split_whitespace().collect());
}

#[test]
fn it_has_no_way_to_panic() {
    let symbols = tool("nm", &["--defined-only"]);
    let panics: Vec<&str> = symbols
        .lines()
        .filter(|line| line.contains("panic"))
        .collect();
    assert_eq!(panics, [] as [&str; 0]);
}
