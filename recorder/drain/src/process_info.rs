//! What the kernel says about a process: identity, life, exit, memory.
//!
//! In: process ids. Out: facts, or `None` when the process is gone or hidden. A process id alone
//! is never trusted: it is compared with the start time, since ids are reused.

use heaptape_format::text;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The parts of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, …
    pub state: u8,
    /// Its parent.
    pub parent: u32,
    /// How many threads it has, the first one included even when that has ended.
    pub threads: u64,
    /// When it began, in clock ticks since boot: with the id, its identity.
    pub start_time: u64,
    /// Of a zombie: how it ended, as `waitpid` says it.
    pub exit_status: i32,
}

impl Stat {
    /// Of process `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        // One read: the file is made anew for each.
        let mut buffer = [0; 1024];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        let count = file.read(&mut buffer).ok()?;
        Self::parse(buffer.get(..count)?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name may hold anything, blanks and brackets too: the last bracket ends it.
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let text = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        // The first of these is field 3.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: number(4)? as u32,
            threads: number(20)?,
            start_time: number(22)?,
            exit_status: number(52).unwrap_or(0) as i32,
        })
    }

    /// True when it has ended and was not waited for yet. The state alone is that of the first
    /// thread, which others may outlive.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// True when process `pid` that began at `start_time` (0: any) lives.
#[must_use]
pub fn is_alive(pid: u32, start_time: u64) -> bool {
    Stat::of(pid)
        .is_some_and(|stat| !stat.is_zombie() && (start_time == 0 || stat.start_time == start_time))
}

/// True when process `pid` has a thread `thread_id` that was not joined by the kernel yet.
#[must_use]
pub fn thread_is_alive(pid: u32, thread_id: u32) -> bool {
    // SAFETY: signal 0 is only a check.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread_id, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Inode of the pid namespace of process `pid`.
#[must_use]
pub fn pid_namespace(pid: u32) -> Option<u64> {
    let link = std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?;
    Some(link.ino())
}

/// The id that we know the process by which calls itself `pid` in the namespace `namespace`.
#[must_use]
pub fn host_pid(pid: u32, namespace: u64) -> Option<u32> {
    if namespace == 0 || pid_namespace(std::process::id()) == Some(namespace) {
        return Some(pid);
    }
    all_processes().find(|&candidate| {
        pid_namespace(candidate) == Some(namespace)
            && std::fs::read_to_string(format!("/proc/{candidate}/status"))
                .ok()
                .and_then(|text| {
                    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
                    line.split_ascii_whitespace().last()?.parse::<u32>().ok()
                })
                == Some(pid)
    })
}

/// Every process id that `/proc` shows.
pub fn all_processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The processes that began at `start_time` or later, live, and have `entry` (`NAME=value`) in
/// their environment: those that were told of a session.
#[must_use]
pub fn processes_with_environment(entry: &[u8], start_time: u64) -> Vec<u32> {
    let ourselves = std::process::id();
    all_processes()
        .filter(|&pid| pid != ourselves)
        .filter(|&pid| {
            Stat::of(pid).is_some_and(|stat| !stat.is_zombie() && stat.start_time >= start_time)
        })
        .filter(|&pid| {
            environment(pid)
                .split(|&byte| byte == 0)
                .any(|found| found == entry)
        })
        .collect()
}

/// The environment that process `pid` was started with. In the middle of an exec it is empty for a
/// moment: an empty one is read again.
fn environment(pid: u32) -> Vec<u8> {
    for _ in 0..3 {
        let folder = folder(pid);
        let text = std::fs::read(folder.join("environ")).unwrap_or_default();
        // A thread of the kernel has no executable.
        if !text.is_empty() || std::fs::read_link(folder.join("exe")).is_err() {
            return text;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Vec::new()
}

/// The folder that tells what process `pid` has: the process's own, or that of a thread that has
/// outlived the first one.
fn folder(pid: u32) -> PathBuf {
    let own = PathBuf::from(format!("/proc/{pid}"));
    let is_left = |stat: Stat| matches!(stat.state, b'Z' | b'X') && stat.threads > 1;
    if !Stat::of(pid).is_some_and(is_left) {
        return own;
    }
    let first = pid.to_string();
    let threads = std::fs::read_dir(own.join("task")).into_iter().flatten();
    let mut others = threads.flatten().filter(|it| *it.file_name() != *first);
    others.next().map_or(own, |thread| thread.path())
}

/// The processes that use a file, as far as `/proc` shows them.
#[derive(Debug, Default)]
pub struct Users {
    /// They have it open.
    pub holders: Vec<u32>,
    /// They only have it in their memory.
    pub mappers: Vec<u32>,
}

impl Users {
    /// Of the file at `path`, which is `file`.
    #[must_use]
    pub fn of(path: &Path, file: &Metadata) -> Self {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let mut users = Self::default();
        for pid in all_processes() {
            if has_open(pid, file) {
                users.holders.push(pid);
            } else if maps(pid, file.ino(), name) {
                users.mappers.push(pid);
            }
        }
        users
    }
}

fn has_open(pid: u32, file: &Metadata) -> bool {
    let descriptors = std::fs::read_dir(folder(pid).join("fd"));
    descriptors.into_iter().flatten().flatten().any(|entry| {
        std::fs::metadata(entry.path())
            .is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    })
}

/// True when process `pid` maps the file of this inode and name. The device that is shown is not
/// always the file's own.
fn maps(pid: u32, inode: u64, name: &[u8]) -> bool {
    let maps = std::fs::read(folder(pid).join("maps")).unwrap_or_default();
    let inode = inode.to_string();
    maps.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        fields.nth(4) == Some(inode.as_bytes()) && line.ends_with(name)
    })
}

/// The command line of process `pid`, as the tape stores it.
#[must_use]
pub fn command_line(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments(&line)
}

/// Arguments ended by zero bytes.
#[must_use]
pub fn arguments(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|&byte| byte == 0).map(text::of_bytes).collect()
}

/// Where a link of process `pid` (`exe`, `cwd`) leads.
#[must_use]
pub fn link(pid: u32, name: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/{name}")).ok()
}

/// A path as the tape stores it.
#[must_use]
pub fn path_text(path: &Path) -> String {
    text::of_bytes(path.as_os_str().as_bytes())
}

/// A handle on a process that no reuse of its id can move to another one.
#[derive(Debug)]
pub struct ProcessHandle {
    descriptor: OwnedFd,
    pid: u32,
}

/// `struct pidfd_info` of <linux/pidfd.h>, its first published version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = 0xc000_ff0b | (size_of::<PidfdInfo>() as libc::c_ulong) << 16;
const _: () = assert!(size_of::<PidfdInfo>() == 64);

impl ProcessHandle {
    /// A handle on process `pid`, when it began at `start_time` (0: any).
    #[must_use]
    pub fn open(pid: u32, start_time: u64) -> Option<Self> {
        // SAFETY: a plain call; the new descriptor is close-on-exec.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let raw = RawFd::try_from(descriptor).ok().filter(|&fd| fd >= 0)?;
        // SAFETY: the descriptor was just opened and is ours alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        // Compared after opening: whoever has the id now is the one that the handle means.
        let same =
            start_time == 0 || Stat::of(pid).is_some_and(|stat| stat.start_time == start_time);
        same.then_some(Self { descriptor, pid })
    }

    /// The descriptor; readable when the process has ended.
    #[must_use]
    pub fn raw(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// True when the process has ended (it may be a zombie).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.raw(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry, no waiting.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// How it ended, as `waitpid` would say it: from the kernel's record of the handle, or from
    /// the zombie. `None` while it lives and where the kernel does not tell.
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the structure has the size that the request names.
        let result = unsafe { libc::ioctl(self.raw(), PIDFD_GET_INFO, &raw mut info) };
        if result == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
            return Some(info.exit_code);
        }
        // Until the parent has waited, the id cannot be reused: the zombie is this process.
        let stat = Stat::of(self.pid)?;
        (self.has_ended() && stat.is_zombie()).then_some(stat.exit_status)
    }
}

/// The memory of a process image, which outlives the process while a child of `vfork` or
/// `posix_spawn` works on it.
#[derive(Debug)]
pub struct MemoryProbe {
    /// Open, it means the memory that the process had then, whatever becomes of the process.
    environment: File,
}

impl MemoryProbe {
    /// For what process `pid` runs now; `None` where that is hidden. Not to be asked while it
    /// executes another image: that has no environment at first.
    #[must_use]
    pub fn open(pid: u32) -> Option<Self> {
        let environment = File::open(format!("/proc/{pid}/environ")).ok()?;
        Some(Self { environment })
    }

    /// True while any process uses the memory. False also when its environment was unmapped.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        // The kernel reads from memory that somebody uses, and nothing otherwise.
        self.environment
            .read_at(&mut [0], 0)
            .is_ok_and(|count| count == 1)
    }
}

/// The resident size of a process, from a kept descriptor.
#[derive(Debug)]
pub struct ResidentProbe {
    pid: u32,
    start_time: u64,
    statm: File,
    page_bytes: u64,
}

impl ResidentProbe {
    /// For process `pid`.
    #[must_use]
    pub fn open(pid: u32) -> Option<Self> {
        // SAFETY: a plain call.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(Self {
            pid,
            start_time: Stat::of(pid)?.start_time,
            statm: File::open(folder(pid).join("statm")).ok()?,
            page_bytes: u64::try_from(page_bytes).unwrap_or(4096),
        })
    }

    /// Resident and shared bytes; `None` when the process is gone.
    #[must_use]
    pub fn read(&mut self) -> Option<(u64, u64)> {
        self.read_thread().or_else(|| {
            // The thread that it was opened for may have left the others behind.
            let again = Self::open(self.pid)?;
            if again.start_time == self.start_time {
                *self = again;
            }
            self.read_thread()
        })
    }

    fn read_thread(&self) -> Option<(u64, u64)> {
        let mut buffer = [0; 128];
        let count = self.statm.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(buffer.get(..count)?).ok()?;
        let mut fields = text.split_ascii_whitespace().skip(1);
        let mut pages = || fields.next()?.parse::<u64>().ok();
        let (resident, shared) = (pages()?, pages()?);
        (resident > 0).then_some((resident * self.page_bytes, shared * self.page_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse() {
        let mut text = b"12 (a) R (b) Z 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0".to_vec();
        for _ in 0..27 {
            text.extend_from_slice(b" 0");
        }
        text.extend_from_slice(b" 9\n");
        let stat = Stat::parse(&text).unwrap();
        assert_eq!((stat.state, stat.parent), (b'Z', 7));
        assert_eq!((stat.start_time, stat.exit_status), (4242, 9));
        assert!(stat.is_zombie());
        let text = String::from_utf8(text)
            .unwrap()
            .replace(" 1 0 4242", " 3 0 4242");
        let outlived = Stat::parse(text.as_bytes()).unwrap();
        assert_eq!((outlived.threads, outlived.is_zombie()), (3, false));
    }

    #[test]
    fn a_handle_tells_how_its_process_ended() {
        for (command, expected) in [("exit 7", 7 << 8), ("kill -9 $$", 9)] {
            let mut child = Command::new("sh")
                .args(["-c", "read x; eval \"$0\"", command])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let stat = Stat::of(child.id()).unwrap();
            assert!(ProcessHandle::open(child.id(), stat.start_time + 1).is_none());
            let handle = ProcessHandle::open(child.id(), stat.start_time).unwrap();
            assert_eq!(handle.exit_status(), None);
            assert!(!handle.has_ended());
            drop(child.stdin.take());
            while !handle.has_ended() {
                std::thread::yield_now();
            }
            assert_eq!(handle.exit_status(), Some(expected), "as a zombie");
            assert!(!is_alive(child.id(), stat.start_time));
            child.wait().unwrap();
            // Kernels before 6.15 do not tell once the parent has waited.
            assert!([Some(expected), None].contains(&handle.exit_status()));
        }
    }

    #[test]
    fn processes_are_found_by_their_environment() {
        let mut child = Command::new("sleep")
            .arg("60")
            .env("HEAPTAPE_TEST_MARKER", "this one")
            .spawn()
            .unwrap();
        let since = Stat::of(child.id()).unwrap().start_time;
        // The environment is the new image's once the exec is done, which spawn waits for.
        let entry = b"HEAPTAPE_TEST_MARKER=this one";
        assert_eq!(processes_with_environment(entry, since), [child.id()]);
        assert!(processes_with_environment(entry, since + 1).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes_with_environment(entry, since).is_empty());
    }

    #[test]
    fn memory_is_in_use_until_its_process_has_ended() {
        for is_waited_for in [false, true] {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let probe = in_use(child.id());
            let other = MemoryProbe::open(std::process::id()).unwrap();
            child.kill().unwrap();
            if is_waited_for {
                child.wait().unwrap();
            } else {
                while !is_zombie(child.id()) {
                    std::thread::yield_now();
                }
            }
            assert!(!probe.is_in_use());
            assert!(other.is_in_use());
            let _ = child.wait();
        }
    }

    /// A probe of the child's new memory, which has no environment yet when `spawn` returns.
    fn in_use(pid: u32) -> MemoryProbe {
        loop {
            let probe = MemoryProbe::open(pid).unwrap();
            if probe.is_in_use() {
                return probe;
            }
            std::thread::yield_now();
        }
    }

    fn is_zombie(pid: u32) -> bool {
        Stat::of(pid).is_some_and(|stat| stat.is_zombie())
    }

    #[test]
    fn our_own_memory_is_seen() {
        let mut probe = ResidentProbe::open(std::process::id()).unwrap();
        let (resident, shared) = probe.read().unwrap();
        assert!(resident >= 4096 && shared <= resident);
        assert!(thread_is_alive(std::process::id(), std::process::id()));
    }
}
