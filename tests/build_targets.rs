//! Builds target programs from `targets/`, once for each content: the result's folder is named by
//! the sources and where they are, the compiler and its options.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::repository;

/// The target folder of cargo, which this test program lies in.
#[must_use]
pub fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    deps.and_then(|folder| folder.ancestors().nth(2))
        .expect("cargo's layout: TARGET/PROFILE/deps/PROGRAM")
        .to_path_buf()
}

/// Where built targets are kept.
#[must_use]
pub fn cache_folder() -> PathBuf {
    target_folder().join("heaptape-tests")
}

/// The path of a file in `targets/`.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    repository().join("tests/targets").join(name)
}

/// A C program: `options` follow `-O2 -g -pthread`.
#[must_use]
pub fn c(name: &str, options: &[&str]) -> PathBuf {
    let stem = name.trim_end_matches(".c");
    build("cc", name, stem, &[&C_OPTIONS, options].concat())
}

/// A C program with the file name `output`.
#[must_use]
pub fn c_as(name: &str, output: &str, options: &[&str]) -> PathBuf {
    build("cc", name, output, &[&C_OPTIONS, options].concat())
}

/// A shared library from C, with the file name `output`.
#[must_use]
pub fn c_library(name: &str, output: &str, options: &[&str]) -> PathBuf {
    build(
        "cc",
        name,
        output,
        &[&C_OPTIONS, &["-shared", "-fPIC"][..], options].concat(),
    )
}

/// A C++ program.
#[must_use]
pub fn cpp(name: &str, options: &[&str]) -> PathBuf {
    build(
        "c++",
        name,
        name.trim_end_matches(".cpp"),
        &[&C_OPTIONS, options].concat(),
    )
}

/// A Rust program.
#[must_use]
pub fn rust(name: &str, options: &[&str]) -> PathBuf {
    let options = [&["--edition", "2024", "-g"], options].concat();
    build("rustc", name, name.trim_end_matches(".rs"), &options)
}

/// No built-ins: a compiler may remove a malloc whose block is only freed.
const C_OPTIONS: [&str; 5] = ["-O2", "-g", "-pthread", "-fno-builtin", "-Wall"];

/// How a program that is linked with the recorder is linked with the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// As usual.
    Dynamic,
    /// With glibc inside, at any address.
    StaticPie,
    /// With glibc inside, at a fixed address.
    Static,
    /// With musl inside.
    Musl,
}

impl Linkage {
    fn flags(self) -> &'static str {
        match self {
            Self::Dynamic | Self::Musl => "",
            Self::StaticPie => "-C target-feature=+crt-static",
            Self::Static => "-C target-feature=+crt-static -C relocation-model=static",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Musl => "x86_64-unknown-linux-musl",
            _ => "x86_64-unknown-linux-gnu",
        }
    }

    /// False, and says so, when Rust cannot build for it here.
    #[must_use]
    pub fn is_possible(self) -> bool {
        let output = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", self.target()])
            .output()
            .expect("rustc runs");
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_there = Path::new(&folder).is_dir();
        if !is_there {
            eprintln!("SKIPPED: rustup target add {}", self.target());
        }
        is_there
    }
}

/// A program that is linked with the recorder: an example of `heaptape_recorder`. All of them are
/// built together, once.
#[must_use]
pub fn linked(name: &str, linkage: Linkage) -> PathBuf {
    static BUILT: Mutex<Vec<Linkage>> = Mutex::new(Vec::new());
    let folder = cache_folder().join(format!("linked-{linkage:?}"));
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !built.contains(&linkage) {
        build_linked(linkage, &folder);
        built.push(linkage);
    }
    let folder = folder.join(linkage.target());
    folder.join("release/examples").join(name)
}

fn build_linked(linkage: Linkage, folder: &Path) {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--release", "--locked", "--quiet", "--examples"])
        .args(["--package", "heaptape-recorder"])
        .args(["--target", linkage.target(), "--target-dir"])
        .arg(folder)
        .current_dir(repository())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", linkage.flags())
        .env("CARGO_PROFILE_RELEASE_DEBUG", "true")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    let result = command.output().expect("cargo runs");
    let words = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{command:?}:\n{words}");
}

/// Compiles `targets/NAME` to a file called `output` by `compiler`; fails with its words.
#[must_use]
pub fn build(compiler: &str, name: &str, output: &str, options: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);

    let header = repository().join("recorder/include");
    let mut hasher = DefaultHasher::new();
    // Debug information has the path of the source.
    (source(name), compiler, output, options).hash(&mut hasher);
    let headers = [
        source("target.h"),
        source("known.h"),
        header.join("heaptape.h"),
    ];
    for file in [source(name)].into_iter().chain(headers) {
        fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    let folder = cache_folder().join(format!("{:016x}", hasher.finish()));
    let built = folder.join(output);
    if built.exists() {
        return built;
    }
    fs::create_dir_all(&folder).unwrap();
    let fresh = folder.join(format!("{output}.{}.new", std::process::id()));
    let mut command = Command::new(compiler);
    command.arg(source(name)).arg("-o").arg(&fresh);
    if compiler != "rustc" {
        command.arg("-I").arg(&header);
    }
    // Libraries come last: the linker resolves from left to right.
    command.args(options);
    let result = command
        .output()
        .unwrap_or_else(|error| panic!("{compiler} is needed by this test: {error}"));
    let words = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{command:?}:\n{words}");
    fs::rename(&fresh, &built).unwrap();
    built
}

/// The path of a program that a test needs; fails loudly when it is not installed.
pub fn needed_program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
        .unwrap_or_else(|| panic!("this test needs {name}: install the package {package}"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Copies a file with its mode, by a process of its own: a program that we had open for writing
/// when another test forks could not be started until that child has its own image.
///
/// # Errors
/// `cp` cannot be run, or fails.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> std::io::Result<()> {
    let mut cp = Command::new("cp");
    cp.args(["--preserve=mode", "--"]);
    let status = cp.args([from.as_ref(), to.as_ref()]).status()?;
    let error = || std::io::Error::other(format!("cp: {status}"));
    status.success().then_some(()).ok_or_else(error)
}
