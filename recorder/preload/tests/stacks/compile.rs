//! Builds the C and C++ programs of `tests/programs` into shared objects and loads them.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Compiles `source` with `options` into a shared object named `name` and returns its path.
pub(crate) fn shared_object(source: &str, name: &str, options: &[&str]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("stacks-{}-{unique}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the program");
    let path = folder.join(name);
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let compiler = if source.ends_with(".c") { "cc" } else { "c++" };
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O2", "-g0", "-fomit-frame-pointer"])
        .args(options)
        .arg("-o")
        .arg(&path)
        .arg(programs.join(source))
        .arg("-lpthread")
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

/// A loaded shared object.
pub(crate) struct Library(*mut libc::c_void);

impl Library {
    pub(crate) fn open(path: &Path) -> Self {
        let name = CString::new(path.to_str().expect("text")).expect("no NUL");
        // SAFETY: the object is one of ours; what its constructors do is harmless.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!handle.is_null(), "{}", last_error());
        Self(handle)
    }

    /// Loads with symbols bound at their first call.
    pub(crate) fn open_lazily(path: &Path) -> Self {
        let name = CString::new(path.to_str().expect("text")).expect("no NUL");
        // SAFETY: as in `open`.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY) };
        assert!(!handle.is_null(), "{}", last_error());
        Self(handle)
    }

    pub(crate) fn symbol(&self, name: &str) -> *mut libc::c_void {
        let text = CString::new(name).expect("no NUL");
        // SAFETY: the handle is open.
        let address = unsafe { libc::dlsym(self.0, text.as_ptr()) };
        assert!(!address.is_null(), "{name}: {}", last_error());
        address
    }

    pub(crate) fn close(self) {
        // SAFETY: the handle is open, and it is consumed here.
        let answer = unsafe { libc::dlclose(self.0) };
        assert_eq!(answer, 0, "{}", last_error());
    }
}

fn last_error() -> String {
    // SAFETY: dlerror returns a C string or null.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no error".to_owned();
    }
    // SAFETY: not null, so a C string of the loader's.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
