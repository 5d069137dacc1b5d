//! What every end-to-end test stands on: rooms, target programs, the executable, and its answers.
//!
//! A [`Room`] is one test's own world: a folder to work in and a runtime folder for sessions. All
//! commands run in it with a time limit. When it is dropped, nothing may be left: no process, no
//! session. Target programs are built from `targets/` when a test asks for them (see [`build`]),
//! and the executable `heaptape` once (see [`heaptape_path`]). Nothing here ever ends a process
//! that it did not start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

pub mod answers;
#[path = "build_targets.rs"]
pub mod build;
pub mod pythons;

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The variable by which the processes of a room are known.
const MARKER: &str = "HEAPTAPE_TEST_ROOM";
/// How long one command may run.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// How long what a test left behind may take to end by itself.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(20);

/// The executable under test: `HEAPTAPE_BIN`, else built once in release mode.
#[must_use]
pub fn heaptape_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("HEAPTAPE_BIN") {
            return fs::canonicalize(path).expect("HEAPTAPE_BIN names no file");
        }
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["-p", "heaptape"])
            .current_dir(repository())
            .status()
            .expect("cargo runs");
        assert!(status.success(), "heaptape does not build");
        build::target_folder().join("release/heaptape")
    })
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a parent folder")
}

/// How often a test repeats what is random: `normal` times, or `HEAPTAPE_TEST_REPEAT`.
#[must_use]
pub fn repeats(normal: u64) -> u64 {
    std::env::var("HEAPTAPE_TEST_REPEAT")
        .ok()
        .map_or(normal, |text| {
            text.parse().expect("HEAPTAPE_TEST_REPEAT is a number")
        })
}

/// Pseudo-random numbers (splitmix64); the same seed gives the same numbers.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// True when the tests run as root: some mount file systems.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sends `signal` to a process that the test started.
pub fn send(pid: u32, signal: i32) {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// Waits until `ready` gives something; fails after a while.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, as a shell has it: 128 + N when signal N ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The same, when it succeeded; fails with what was written when not.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    room: String,
    what: String,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait works").is_none()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// Waits for its end. A command that does not end in time fails the test.
    pub fn finish(self) -> Outcome {
        self.finish_within(COMMAND_LIMIT)
    }

    /// As [`Running::finish`], for what may take another time than most commands.
    pub fn finish_within(mut self, limit: Duration) -> Outcome {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait works") {
                break status;
            }
            if start.elapsed() > limit {
                end_processes(&self.room);
                let _ = self.child.wait();
                panic!("{} did not end within {limit:?}", self.what);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Outcome {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

/// One test's own world.
#[derive(Debug)]
pub struct Room {
    folder: tempfile::TempDir,
    runtime: PathBuf,
    id: String,
    mounts: Vec<PathBuf>,
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// A new room.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("heaptape-test-{}-{number}", std::process::id());
        let runtime = Path::new("/dev/shm").join(&id);
        fs::create_dir(&runtime).expect("/dev/shm is writable");
        Self {
            folder: tempfile::Builder::new()
                .prefix(&id)
                .tempdir()
                .expect("a folder"),
            runtime,
            id,
            mounts: Vec::new(),
        }
    }

    /// A path in the room's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the room's sessions live.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Writes a file into the room's folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A command that runs in the room: its folder, its sessions, no settings from outside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEAPTAPE") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.folder.path())
            .env(MARKER, &self.id)
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .env("XDG_CACHE_HOME", build::cache_folder().join("user-cache"))
            .env_remove("LD_PRELOAD")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null());
        command
    }

    /// Starts a command; its output goes to files, so that a descendant that lives on holds
    /// nothing up.
    pub fn start(&self, command: &mut Command) -> Running {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [stdout, stderr] = ["out", "err"].map(|n| self.path(&format!(".{number}.{n}")));
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        // Whoever started the tests in the background had these ignored, and so would the program.
        let as_usual = || {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
                // SAFETY: a plain call that may be made between fork and exec.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: the closure only makes calls that may be made between fork and exec.
        unsafe { command.pre_exec(as_usual) };
        // Written by us just now: a child that another test forked meanwhile may hold it open.
        let child = wait_for("a program that nobody writes", || match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            result => Some(result),
        });
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running {
            child,
            stdout,
            stderr,
            room: self.id.clone(),
            what: format!("{command:?}"),
        }
    }

    /// Runs a command to its end.
    pub fn run(&self, command: &mut Command) -> Outcome {
        self.start(command).finish()
    }

    /// Runs `argv` without us.
    pub fn bare<S: AsRef<OsStr>>(&self, argv: &[S]) -> Outcome {
        let (program, arguments) = argv.split_first().expect("a command");
        self.run(self.command(program).args(arguments))
    }

    /// `heaptape ARGUMENTS…`, as a command.
    pub fn heaptape_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.command(heaptape_path());
        command.args(arguments);
        command
    }

    /// Runs `heaptape ARGUMENTS…`.
    pub fn heaptape<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        self.run(&mut self.heaptape_command(arguments))
    }

    /// `heaptape run --quiet -o TAPE OPTIONS… -- ARGV…`, as a command.
    pub fn record_command<S: AsRef<OsStr>>(
        &self,
        tape: &str,
        options: &[&str],
        argv: &[S],
    ) -> Command {
        let mut arguments: Vec<OsString> = ["run", "--quiet", "-o", tape].map(Into::into).into();
        arguments.extend(options.iter().map(Into::into));
        arguments.push("--".into());
        arguments.extend(argv.iter().map(|a| a.as_ref().to_owned()));
        self.heaptape_command(&arguments)
    }

    /// Records `argv`.
    pub fn record<S: AsRef<OsStr>>(&self, tape: &str, options: &[&str], argv: &[S]) -> Outcome {
        self.run(&mut self.record_command(tape, options, argv))
    }

    /// Runs `argv` bare and recorded: the same output and exit code, and a clean tape.
    pub fn record_as_bare<S: AsRef<OsStr>>(&self, tape: &str, argv: &[S]) -> Outcome {
        let bare = self.bare(argv);
        let recorded = self.record(tape, &[], argv);
        assert_eq!(recorded, bare, "recorded (left) differs from bare");
        self.assert_clean(tape);
        recorded
    }

    /// As [`Room::record_as_bare`], for a program that writes addresses; what it wrote.
    pub fn record_as_bare_but_addresses<S: AsRef<OsStr>>(&self, tape: &str, argv: &[S]) -> String {
        let bare = self.bare(argv);
        let recorded = self.record(tape, &[], argv);
        assert_eq!((recorded.code, recorded.stderr), (bare.code, bare.stderr));
        self.assert_clean(tape);
        recorded.stdout
    }

    /// The answer of a verb in JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--format", "json"]].concat();
        let outcome = self.heaptape(&arguments).success();
        serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", outcome.stdout))
    }

    /// Fails unless every chunk of the tape is sound and nothing was lost; the tape's facts.
    pub fn assert_clean(&self, tape: &str) -> Value {
        let verified = self.json(&["verify", tape]);
        assert_eq!(verified["damaged"], 0, "{tape}: {verified}");
        assert_eq!(verified["lost_events"], 0, "{tape}: {verified}");
        assert_eq!(verified["unreadable_events"], 0, "{tape}: {verified}");
        let info = self.json(&["info", tape]);
        assert_eq!(info["lost_events"], 0, "{tape}: {info:#}");
        assert_eq!(info["complete"], true, "{tape}: {info:#}");
        info
    }

    /// Names of the tapes in the room's folder, sorted.
    #[must_use]
    pub fn tapes(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".tape"))
            .collect();
        names.sort();
        names
    }

    /// A file system of `bytes` in the room, when the tests run as root; else says so.
    pub fn mount_small_disk(&mut self, name: &str, bytes: u64) -> Option<PathBuf> {
        if !is_root() {
            eprintln!("SKIPPED: not root, so no file system of {bytes} bytes can be mounted");
            return None;
        }
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        assert!(mount.status().expect("mount runs").success(), "{mount:?}");
        self.mounts.push(path.clone());
        Some(path)
    }

    /// Session files that are there now.
    #[must_use]
    pub fn sessions(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.runtime.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// Waits until no process of the room is left.
    pub fn wait_for_processes(&self) {
        wait_for("the room's processes to end", || {
            processes_of(&self.id).is_empty().then_some(())
        });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let start = Instant::now();
        let left = loop {
            let left = (processes_of(&self.id), self.sessions());
            if left.0.is_empty() && left.1.is_empty() || start.elapsed() > LEFTOVER_LIMIT {
                break left;
            }
            if std::thread::panicking() {
                break left;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let names: Vec<String> = left.0.iter().map(|pid| describe(*pid)).collect();
        end_processes(&self.id);
        for mount in &self.mounts {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
        let _ = fs::remove_dir_all(&self.runtime);
        if !std::thread::panicking() {
            assert!(names.is_empty(), "processes are left: {names:?}");
            assert!(left.1.is_empty(), "sessions are left: {:?}", left.1);
        }
    }
}

/// Ids of the processes that carry the room's marker in their environment.
fn processes_of(room: &str) -> Vec<u32> {
    let wanted = format!("{MARKER}={room}").into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let variables = environment(&entry.path());
        if variables.split(|byte| *byte == 0).any(|v| v == wanted) {
            found.push(pid);
        }
    }
    found
}

/// Of the process whose folder is `process`. A first thread that has left shows none.
fn environment(process: &Path) -> Vec<u8> {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten();
    let tasks = tasks.flatten().map(|task| task.path());
    let mut texts = tasks.map(|task| fs::read(task.join("environ")).unwrap_or_default());
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

fn describe(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!(
        "{pid} {}",
        String::from_utf8_lossy(&command).replace('\0', " ")
    )
}

fn end_processes(room: &str) {
    for pid in processes_of(room) {
        send(pid, libc::SIGKILL);
    }
}
