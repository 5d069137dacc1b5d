//! Builds what a test runs: the library, once, and small C programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The folder of this package.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// The library as it is shipped, built into a target folder of its own (the usual one is locked
/// by the cargo that runs the tests).
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| built("interpose", "libheaptape.so"))
}

/// Its twin, for programs that bring an allocator of their own.
pub(crate) fn library_with_allocators() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| built("allocators", "libheaptape-allocators.so"))
}

fn built(features: &str, name: &str) -> PathBuf {
    // A folder for each: they are built under one name.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preload-test-{features}"));
    let status = Command::new(env!("CARGO"))
        .args(["rustc", "--quiet", "--locked", "--profile=library"])
        .args(["--package", "heaptape-preload", "--features", features])
        .args(["--lib", "--crate-type", "cdylib", "--target-dir"])
        .arg(&folder)
        .current_dir(PACKAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the library does not build");
    let named = folder.join("library").join(name);
    std::fs::copy(folder.join("library/libheaptape_preload.so"), &named)
        .expect("the library is there");
    named
}

/// A folder of one test, removed at its end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A fresh folder on tmpfs, where sessions live.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() {
            shm.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let path = base.join(format!(
            "heaptape-test-{}-{count}-{name}",
            std::process::id()
        ));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover folder is no reason to fail.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles `tests/programs/SOURCE` with `arguments` behind it into `folder`, as `output`.
pub(crate) fn compile(folder: &Path, source: &str, output: &str, arguments: &[&str]) -> PathBuf {
    let program = folder.join(output);
    let status = Command::new("cc")
        .args([
            "-g",
            "-O1",
            "-fno-builtin",
            "-w",
            "-Werror=implicit",
            "-D_GNU_SOURCE",
            "-I",
        ])
        .arg(Path::new(PACKAGE).join("../include"))
        .arg(Path::new(PACKAGE).join("tests/programs").join(source))
        .arg("-o")
        .arg(&program)
        .args(arguments)
        .arg("-pthread")
        .status()
        .expect("a C compiler");
    assert!(status.success(), "{source} does not compile");
    program
}

/// Runs a command to its end, with what it wrote.
pub(crate) fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
        .wait_with_output()
        .expect("the program ends")
}
