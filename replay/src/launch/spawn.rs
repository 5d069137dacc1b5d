//! Fork and exec, so that the command starts as if we were not there.
//!
//! In: a program, its arguments and environment. Out: a child that waits for our word before it
//! execs. The child gets the signal mask, the dispositions and the limits that we were started
//! with, and no descriptor of ours.

use super::signals::Inherited;
use super::started;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A child that has not yet exec'd.
#[derive(Debug)]
pub(crate) struct Prepared {
    pid: u32,
    go: OwnedFd,
    failure: OwnedFd,
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Start {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Start {
    /// `arguments` includes the first one, the command's name.
    pub(crate) fn new(
        program: &Path,
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
    ) -> io::Result<Self> {
        let text = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        };
        Ok(Self {
            program: text(program.as_os_str().as_bytes())?,
            arguments: arguments
                .iter()
                .map(|argument| text(argument.as_bytes()))
                .collect::<io::Result<_>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect::<io::Result<_>>()?,
        })
    }

    /// Starts it in the place of this process, of which nothing was changed since `main`. Returns
    /// when that failed: why.
    pub(crate) fn in_our_place(&self) -> io::Error {
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        started::restore();
        // SAFETY: both arrays end with null and point at zero-terminated texts.
        unsafe {
            libc::execve(
                self.program.as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        io::Error::last_os_error()
    }

    /// Forks. The child waits for [`Prepared::go`] and ends by itself when we die before.
    ///
    /// This process must have one thread.
    pub(crate) fn prepare(&self, inherited: &Inherited) -> io::Result<Prepared> {
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        let (go_read, go) = pipe()?;
        let (failure, failure_write) = pipe()?;
        // SAFETY: one thread, so the child may do what it likes; it only makes system calls.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // Else our own copy would keep the pipe open when the parent dies.
            drop(go);
            let mut word = [0u8; 1];
            // SAFETY: one valid byte.
            let count = unsafe { libc::read(go_read.as_raw_fd(), word.as_mut_ptr().cast(), 1) };
            if count == 1 {
                inherited.restore();
                // SAFETY: both arrays end with null and point at zero-terminated texts.
                unsafe {
                    libc::execve(
                        self.program.as_ptr(),
                        arguments.as_ptr(),
                        environment.as_ptr(),
                    )
                };
                let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
                let bytes = error.to_ne_bytes();
                // SAFETY: four valid bytes.
                unsafe { libc::write(failure_write.as_raw_fd(), bytes.as_ptr().cast(), 4) };
            }
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(127) };
        }
        Ok(Prepared {
            pid: pid as u32,
            go,
            failure,
        })
    }
}

impl Prepared {
    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it exec.
    ///
    /// # Errors
    /// What execve said; the child has ended then.
    pub(crate) fn go(self) -> io::Result<()> {
        // SAFETY: one valid byte.
        unsafe { libc::write(self.go.as_raw_fd(), b"!".as_ptr().cast(), 1) };
        drop(self.go);
        let mut word = [0; 4];
        // Ends with nothing when the exec closed the other end.
        loop {
            // SAFETY: four valid bytes.
            let count =
                unsafe { libc::read(self.failure.as_raw_fd(), word.as_mut_ptr().cast(), 4) };
            match count {
                4 => {
                    self::reap(self.pid);
                    return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(word)));
                }
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Ok(()),
            }
        }
    }

    /// Ends the child before it did anything.
    pub(crate) fn cancel(self) {
        drop(self.go);
        reap(self.pid);
    }
}

/// As `execve` takes them.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    let texts = texts.iter().map(|text| text.as_ptr());
    texts.chain([std::ptr::null()]).collect()
}

fn reap(pid: u32) {
    // SAFETY: a child of ours that ends at once; no status is asked for.
    unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) };
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors; both are close-on-exec.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened and ours alone.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((read, write))
}
