//! The terminal: ours while a screen is shown, given back on every way out.
//!
//! In: a view and a worker. Out: how it ended. Signals that end programs give the terminal back
//! first, and so do faults and panics; at Ctrl-Z it is given back until we are continued. Keys are
//! read from standard input, or from the terminal itself where that is something else.

use super::keys::{Key, Keys};
use super::screen;
use super::view::{Answer, View};
use super::worker::Worker;
use crate::temporary;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use std::fs::File;
use std::io::{self, IsTerminal, Stdout, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

/// How long keys are waited for before shots are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Another screen in place of what the terminal shows, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// Nothing on it.
const CLEAR: &[u8] = b"\x1b[0m\x1b[2J";
/// What it showed before.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// Signals that ask to end: the loop sees them, and ends in order.
const ASKED: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// Signals that end at once.
const AT_ONCE: [libc::c_int; 16] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];
/// Seconds after which a signal that asked to end does so: the terminal may take no more letters.
const PATIENCE_SECONDS: libc::c_uint = 2;

/// How the terminal was; null before it was ours. Never freed: a handler may read it.
static BEFORE: AtomicPtr<libc::termios> = AtomicPtr::new(null_mut());
/// Where its keys come from. Relaxed here and below: each word is a fact of its own.
static INPUT: AtomicI32 = AtomicI32::new(0);
/// It is ours.
static IS_OURS: AtomicBool = AtomicBool::new(false);
/// The signal that asked to end; 0: none.
static ASKED_TO_END: AtomicI32 = AtomicI32::new(0);
static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);
static WAS_CONTINUED: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, when it is ours. It makes system calls alone: a signal handler may call
/// it.
pub fn give_back() {
    if !IS_OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    // SAFETY: valid for reads of that length.
    unsafe { libc::write(1, LEAVE.as_ptr().cast(), LEAVE.len()) };
    // Acquire: pairs with Release in `Terminal::take`.
    let before = BEFORE.load(Ordering::Acquire);
    if !before.is_null() {
        let input = INPUT.load(Ordering::Relaxed);
        // SAFETY: a valid structure that is never freed.
        unsafe { libc::tcsetattr(input, libc::TCSANOW, before) };
    }
}

extern "C" fn on_asked(signal: libc::c_int) {
    if ASKED_TO_END.swap(signal, Ordering::Relaxed) != 0 {
        return on_at_once(signal);
    }
    // SAFETY: a plain call.
    unsafe { libc::alarm(PATIENCE_SECONDS) };
}

extern "C" fn on_at_once(signal: libc::c_int) {
    give_back();
    end_by(signal);
}

extern "C" fn on_stop(_: libc::c_int) {
    ASKED_TO_STOP.store(true, Ordering::Relaxed);
}

extern "C" fn on_continue(_: libc::c_int) {
    WAS_CONTINUED.store(true, Ordering::Relaxed);
}

/// Does to us what `signal` does to any program.
fn end_by(signal: libc::c_int) {
    temporary::remove_all();
    set_handler(signal, libc::SIG_DFL);
    // In a handler it comes when that is left. SAFETY: a valid signal.
    unsafe { libc::raise(signal) };
}

fn set_handler(signal: libc::c_int, handler: libc::sighandler_t) {
    let action = libc::sigaction {
        sa_sigaction: handler,
        // SAFETY: all-zero bytes are an empty set.
        sa_mask: unsafe { std::mem::zeroed() },
        // What waits for keys wakes up.
        sa_flags: libc::SA_ONSTACK,
        sa_restorer: None,
    };
    // SAFETY: a valid structure; handlers make system calls alone.
    unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// Somebody asked for it.
    Quit,
    /// Nothing more can be shown, for this reason.
    Failed(String),
}

/// A screen on the terminal of standard output. See the module.
#[derive(Debug)]
pub struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<Stdout>>,
    /// Keeps the terminal open that keys come from.
    _input: Option<File>,
    input: RawFd,
    size: Rect,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is none.
    pub fn take() -> io::Result<Self> {
        let (input, own) = match io::stdin().is_terminal() {
            true => (io::stdin().as_raw_fd(), None),
            false => {
                let own = File::open("/dev/tty")?;
                (own.as_raw_fd(), Some(own))
            }
        };
        let mut before = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: valid for the call to fill in.
        if unsafe { libc::tcgetattr(input, before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: filled in by the call.
        let before = Box::new(unsafe { before.assume_init() });
        INPUT.store(input, Ordering::Relaxed);
        // Release: pairs with Acquire in `give_back`.
        BEFORE.store(Box::into_raw(before), Ordering::Release);
        let size = size();
        let screen = blank(size)?;
        watch_signals();
        let terminal = Self {
            screen,
            _input: own,
            input,
            size,
        };
        terminal.enter()?;
        Ok(terminal)
    }

    /// Makes the terminal ours.
    fn enter(&self) -> io::Result<()> {
        // Acquire: as in `give_back`.
        let before = BEFORE.load(Ordering::Acquire);
        // SAFETY: set in `take`, and never freed.
        let Some(before) = (unsafe { before.as_ref() }) else {
            return Ok(());
        };
        let mut raw = *before;
        // SAFETY: a valid structure.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        IS_OURS.store(true, Ordering::SeqCst);
        // SAFETY: a valid structure.
        if unsafe { libc::tcsetattr(self.input, libc::TCSADRAIN, &raw const raw) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: valid for reads of that length.
        unsafe { libc::write(1, ENTER.as_ptr().cast(), ENTER.len()) };
        Ok(())
    }

    /// Shows `view` with what `worker` sends, until somebody asks to end.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn run(&mut self, view: &mut View, worker: &Worker) -> io::Result<Ended> {
        let mut keys = Keys::default();
        let mut is_changed = true;
        loop {
            if let signal @ 1.. = ASKED_TO_END.load(Ordering::Relaxed) {
                give_back();
                end_by(signal);
            }
            if ASKED_TO_STOP.swap(false, Ordering::Relaxed) {
                self.stop(false)?;
            }
            is_changed |= self.fit()?;
            match worker.latest() {
                Ok(None) => {}
                Ok(Some(shot)) => {
                    view.show(*shot);
                    is_changed = true;
                }
                Err(reason) => return Ok(Ended::Failed(reason)),
            }
            if std::mem::take(&mut is_changed) {
                self.screen.draw(|frame| screen::draw(view, frame))?;
            }
            let Some(pressed) = self.read(&mut keys)? else {
                return Ok(Ended::Quit);
            };
            for key in pressed {
                is_changed = true;
                match view.press(key) {
                    Answer::Drawn => {}
                    Answer::Wishes(wishes) => wishes.into_iter().for_each(|wish| worker.wish(wish)),
                    Answer::Quit => return Ok(Ended::Quit),
                    Answer::Suspend => self.stop(true)?,
                    Answer::Renew => self.renew()?,
                }
            }
        }
    }

    /// The keys that came; None: the terminal is gone.
    fn read(&self, keys: &mut Keys) -> io::Result<Option<Vec<Key>>> {
        let mut wanted = libc::pollfd {
            fd: self.input,
            events: libc::POLLIN,
            revents: 0,
        };
        let tick = TICK.as_millis() as libc::c_int;
        // SAFETY: one valid structure.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, tick) };
        if ready <= 0 {
            let settled = (ready == 0 && keys.are_begun()).then(|| keys.settle());
            return Ok(Some(settled.flatten().into_iter().collect()));
        }
        let mut bytes = [0u8; 256];
        // SAFETY: valid for writes of that length.
        let count = unsafe { libc::read(self.input, bytes.as_mut_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(keys.take(bytes.get(..count).unwrap_or_default()))),
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(Some(Vec::new())),
                    _ => Ok(None),
                }
            }
        }
    }

    /// Takes the size that the terminal has now; true when everything must be drawn again.
    fn fit(&mut self) -> io::Result<bool> {
        let was_continued = WAS_CONTINUED.swap(false, Ordering::Relaxed);
        if was_continued {
            self.enter()?;
        }
        let size = size();
        if size == self.size && !was_continued {
            return Ok(false);
        }
        self.size = size;
        self.renew()?;
        Ok(true)
    }

    /// Draws everything again: what stands there is not known.
    fn renew(&mut self) -> io::Result<()> {
        // Not the library's way, which asks the terminal for the cursor and waits for the answer.
        self.screen = blank(self.size)?;
        let mut stdout = io::stdout();
        stdout.write_all(CLEAR)?;
        stdout.flush()
    }

    /// Stops as any program does, with its whole group when that was asked for by a key.
    fn stop(&mut self, with_group: bool) -> io::Result<()> {
        give_back();
        set_handler(libc::SIGTSTP, libc::SIG_DFL);
        match with_group {
            // SAFETY: a plain call.
            true => unsafe { libc::kill(0, libc::SIGTSTP) },
            // SAFETY: a plain call.
            false => unsafe { libc::raise(libc::SIGTSTP) },
        };
        set_handler(
            libc::SIGTSTP,
            on_stop as extern "C" fn(_) as libc::sighandler_t,
        );
        WAS_CONTINUED.store(true, Ordering::Relaxed);
        self.fit().map(|_| ())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// A screen with nothing on it.
fn blank(size: Rect) -> io::Result<ratatui::Terminal<CrosstermBackend<Stdout>>> {
    let viewport = Viewport::Fixed(size);
    let backend = CrosstermBackend::new(io::stdout());
    ratatui::Terminal::with_options(backend, TerminalOptions { viewport })
}

/// From now on what ends us gives the terminal back first.
fn watch_signals() {
    let handlers: [(&[libc::c_int], extern "C" fn(libc::c_int)); 4] = [
        (&ASKED, on_asked),
        (&AT_ONCE, on_at_once),
        (&[libc::SIGTSTP], on_stop),
        (&[libc::SIGCONT], on_continue),
    ];
    for (signals, handler) in handlers {
        for &signal in signals {
            set_handler(signal, handler as libc::sighandler_t);
        }
    }
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        set_handler(signal, on_at_once as extern "C" fn(_) as libc::sighandler_t);
    }
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        told(panic);
    }));
}

/// The size of the terminal; where it tells none, that of the first ones.
fn size() -> Rect {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for that.
    let answer = unsafe { libc::ioctl(1, libc::TIOCGWINSZ, &raw mut size) };
    match (answer, size.ws_col, size.ws_row) {
        (0, 1.., 1..) => Rect::new(0, 0, size.ws_col.min(1000), size.ws_row.min(1000)),
        _ => Rect::new(0, 0, 80, 24),
    }
}
