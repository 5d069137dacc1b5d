//! Builds `libheaptape.so`, the library that is preloaded into recorded programs, so that the
//! executable can carry it.
//!
//! In: the sources of the recorder. Out: `libheaptape.so` and, for programs that bring an allocator
//! of their own, `libheaptape-allocators.so` under OUT_DIR; as environment entries for the
//! compiler, a hash of their content and one of the Python module's. It is a nested cargo with a
//! target folder of its own: in a shared one it would wait for the lock that the outer cargo holds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What scripts import.
const PYTHON_MODULE: &str = "python/heaptape.py";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let variable = |name: &str| std::env::var_os(name).ok_or(format!("{name} is not set"));
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = manifest.parent().ok_or("the package has no workspace")?;
    for part in ["recorder/preload", "recorder/session"] {
        for changed in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed=../{part}/{changed}");
        }
    }
    for file in ["build.rs", "../Cargo.toml", PYTHON_MODULE] {
        println!("cargo::rerun-if-changed={file}");
    }
    let target = out.join("preload");
    let mut all = Vec::new();
    for (features, name) in [
        ("interpose", "libheaptape.so"),
        ("allocators", "libheaptape-allocators.so"),
    ] {
        run_cargo(variable("CARGO")?, root, &target, features)?;
        let made = target.join("library/libheaptape_preload.so");
        let content =
            std::fs::read(&made).map_err(|error| format!("{}: {error}", made.display()))?;
        let library = out.join(name);
        // Left as it is when it did not change, so that nothing is compiled again for it.
        if std::fs::read(&library).ok().as_deref() != Some(&content) {
            std::fs::write(&library, &content)
                .map_err(|error| format!("{}: {error}", library.display()))?;
        }
        all.extend(content);
    }
    println!("cargo::rustc-env=HEAPTAPE_LIBRARY_HASH={:016x}", hash(&all));
    let module = std::fs::read(manifest.join(PYTHON_MODULE))
        .map_err(|error| format!("{PYTHON_MODULE}: {error}"))?;
    println!(
        "cargo::rustc-env=HEAPTAPE_MODULE_HASH={:016x}",
        hash(&module)
    );
    Ok(())
}

fn run_cargo(cargo: OsString, root: &Path, target: &Path, features: &str) -> Result<(), String> {
    let mut command = Command::new(cargo);
    command.current_dir(root).args([
        "rustc",
        "--quiet",
        "--locked",
        "--profile=library",
        "--package=heaptape-preload",
        "--crate-type=cdylib",
        "--features",
        features,
    ]);
    // What the outer cargo was told (flags, wrappers, targets, profiles) is not meant for this
    // build; where it finds its registry and whether it may use the network is.
    let kept = ["CARGO", "CARGO_HOME", "CARGO_NET_OFFLINE"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo = text.starts_with("CARGO") || text.starts_with("RUSTC");
        let of_flags = matches!(&*text, "RUSTFLAGS" | "RUSTDOCFLAGS");
        if (of_cargo && !kept.contains(&&*text)) || of_flags {
            command.env_remove(&name);
        }
    }
    if std::env::var("CARGO_NET_OFFLINE").is_ok_and(|value| value == "true" || value == "1") {
        command.arg("--offline");
    }
    command.env("CARGO_TARGET_DIR", target);
    let status = command
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("libheaptape.so does not build ({status})"))
    }
}

/// FNV-1a, 64 bits: names the library's content, nothing depends on its strength.
fn hash(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
