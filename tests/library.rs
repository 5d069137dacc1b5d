//! The recorder's library as a file: what it needs, what it exports, and which C library it is
//! content with.

use heaptape_tests::{Room, build};
use std::path::{Path, PathBuf};

/// The library that the executable carries, as it unpacked it.
fn library(room: &Room) -> PathBuf {
    let cache = room.path("cache");
    let mut command = room.record_command("t.tape", &[], &["true"]);
    command.env("XDG_CACHE_HOME", &cache);
    room.run(&mut command).success();
    let mut folders = vec![cache];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(".so") {
                found.push(entry.path());
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn readelf(room: &Room, option: &str, file: &Path) -> String {
    let readelf = build::needed_program("readelf", "binutils");
    room.run(room.command(readelf).args(["-W", option]).arg(file))
        .success()
        .stdout
}

#[test]
fn it_needs_the_c_library_alone() {
    let room = Room::new();
    let dynamic = readelf(&room, "-d", &library(&room));
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split('[').nth(1)?.split(']').next())
        .collect();
    assert_eq!(needed, ["libc.so.6"]);
    assert!(!dynamic.contains("TEXTREL"), "{dynamic}");
}

#[test]
fn it_is_content_with_glibc_2_28() {
    let room = Room::new();
    let versions = readelf(&room, "-V", &library(&room));
    let mut checked = 0;
    for name in versions
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_"))
    {
        let mut parts = name
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse::<u32>());
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            panic!("an unknown version: {name}");
        };
        assert!((major, minor) <= (2, 28), "GLIBC_{name} is too new");
        checked += 1;
    }
    assert!(checked > 0, "no version was found in {versions}");
}

#[test]
fn it_exports_what_it_interposes_and_nothing_else() {
    const INTERPOSED: &str = "malloc calloc realloc reallocarray free cfree posix_memalign \
        aligned_alloc memalign valloc pvalloc free_sized free_aligned_sized mmap mmap64 munmap \
        mremap sbrk brk dlopen dlmopen dlclose fork _Fork vfork clone execve execv execvp execvpe \
        execl execlp execle execveat fexecve posix_spawn posix_spawnp _exit _Exit quick_exit \
        pthread_create pthread_setname_np prctl daemon system popen";
    let room = Room::new();
    let symbols = readelf(&room, "--dyn-syms", &library(&room));
    let mut exported = Vec::new();
    for line in symbols.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns.len() >= 8
            && columns[4] != "LOCAL"
            && columns[6] != "UND"
            && columns[3] != "Type"
        {
            exported.push(columns[7].split('@').next().unwrap());
        }
    }
    let allocators = ["je_", "_rjem_", "mi_", "tc_"];
    let is_known = |name: &&str| {
        name.starts_with("heaptape_")
            || INTERPOSED.split_whitespace().any(|known| known == *name)
            || allocators.iter().any(|start| name.starts_with(start))
    };
    let unknown: Vec<&&str> = exported.iter().filter(|name| !is_known(name)).collect();
    assert!(
        unknown.is_empty(),
        "exported, but not interposed: {unknown:?}"
    );
    for needed in [
        "malloc",
        "calloc",
        "realloc",
        "free",
        "posix_memalign",
        "heaptape_mark",
    ] {
        assert!(exported.contains(&needed), "{needed} is not exported");
    }
}
