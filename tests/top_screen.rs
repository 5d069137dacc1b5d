//! `heaptape top` on a terminal: what stands there, what keys do, and that the terminal is given
//! back on every way out.

use heaptape_tests::{Room, build, wait_for};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};

/// Where the program leaves its screen.
const LEAVE: &str = "\x1b[?1049l";

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    terminal: File,
    /// The other end, open so that its settings can be asked for.
    own: OwnedFd,
    said: Vec<u8>,
    size: (u16, u16),
}

impl OnTerminal {
    /// Starts `heaptape top ARGUMENTS…` on a terminal of `size` columns and rows.
    fn start(room: &Room, arguments: &[&str], size: (u16, u16), settings: &[(&str, &str)]) -> Self {
        let (mut terminal, mut own) = (0, 0);
        let null = std::ptr::null_mut();
        // SAFETY: both numbers are filled in.
        let made = unsafe {
            libc::openpty(
                &raw mut terminal,
                &raw mut own,
                null,
                null.cast(),
                null.cast(),
            )
        };
        assert_eq!(made, 0, "a pseudo-terminal");
        // SAFETY: just opened, and ours alone.
        let terminal = unsafe { File::from_raw_fd(terminal) };
        // SAFETY: as before.
        let own = unsafe { OwnedFd::from_raw_fd(own) };
        // Ours alone: it goes away when we close it.
        for descriptor in [terminal.as_raw_fd(), own.as_raw_fd()] {
            // SAFETY: a plain call on an open descriptor.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY: as before.
        unsafe { libc::fcntl(terminal.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        resize(&own, size);
        let mut command = room.heaptape_command(&[&["top"], arguments].concat());
        let end = || Stdio::from(own.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        command
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR");
        command.envs(settings.iter().copied());
        let lead = || {
            // SAFETY: plain calls that may be made between fork and exec.
            unsafe { libc::setsid() };
            // SAFETY: as before.
            unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
                // SAFETY: as before.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: the closure only makes calls that may be made between fork and exec.
        unsafe { command.pre_exec(lead) };
        let child = command.spawn().unwrap();
        Self {
            child,
            terminal,
            own,
            said: Vec::new(),
            size,
        }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.terminal.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => self.said.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// The lines of the screen.
    fn screen(&mut self) -> Vec<String> {
        self.listen();
        let said = String::from_utf8_lossy(&self.said).into_owned();
        let shown = said
            .rsplit_once(LEAVE)
            .map_or(said.as_str(), |(shown, _)| shown);
        emulate(shown, self.size)
    }

    /// Waits until a line of the screen has `words`; the screen then.
    fn wait_for(&mut self, words: &str) -> Vec<String> {
        let mut last = Vec::new();
        for _ in 0..3000 {
            last = self.screen();
            if last.iter().any(|line| line.contains(words)) {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no {words:?} on the screen: {last:#?}");
    }

    fn send(&self, signal: i32) {
        heaptape_tests::send(self.child.id(), signal);
    }

    /// Waits for the end; the terminal is as it was before.
    fn finish(mut self) -> ExitStatus {
        let status = wait_for("the end of top", || {
            self.listen();
            self.child.try_wait().unwrap()
        });
        self.listen();
        let said = String::from_utf8_lossy(&self.said).into_owned();
        let (_, behind) = said
            .rsplit_once(LEAVE)
            .unwrap_or_else(|| panic!("{said:?}"));
        assert!(!behind.contains("\x1b[?1049h"), "{behind:?}");
        assert!(said.contains("\x1b[?25h"), "no cursor: {said:?}");
        assert!(is_as_usual(&self.own), "the terminal is still raw");
        status
    }
}

fn resize(terminal: &OwnedFd, (columns, rows): (u16, u16)) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: a valid structure.
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
}

/// True when lines are edited and letters echoed, as on a terminal that nobody has changed.
fn is_as_usual(terminal: &OwnedFd) -> bool {
    // SAFETY: all-zero bytes are valid.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: filled in by the call.
    unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) };
    let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
    settings.c_lflag & wanted == wanted
}

/// What a terminal shows that got `said`: as much of it as `top` uses.
fn emulate(said: &str, (columns, rows): (u16, u16)) -> Vec<String> {
    let blank = || vec![vec![' '; usize::from(columns)]; usize::from(rows)];
    let mut cells = blank();
    let (mut row, mut column) = (0, 0);
    let mut rest = said.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\x1b' => {
                let mut numbers = String::new();
                let last = rest.by_ref().skip_while(|&c| c == '[').find(|&c| {
                    numbers.push(c);
                    c.is_ascii_alphabetic()
                });
                let mut places = numbers
                    .split([';', 'H'])
                    .map(|place| place.parse().unwrap_or(1));
                match last {
                    Some('H') => {
                        row = places.next().unwrap_or(1usize) - 1;
                        column = places.next().unwrap_or(1usize) - 1;
                    }
                    Some('J') if numbers.starts_with('2') => cells = blank(),
                    Some('J') => {
                        cells[row][column..].fill(' ');
                        cells[row + 1..].iter_mut().for_each(|line| line.fill(' '));
                    }
                    Some('K') => cells[row][column..].fill(' '),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row = (row + 1).min(usize::from(rows) - 1),
            letter => {
                if let Some(cell) = cells.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *cell = letter;
                }
                column += 1;
            }
        }
    }
    let lines = cells.iter().map(|line| line.iter().collect::<String>());
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// A room with the tape of a program that is over.
fn finished() -> Room {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    for step in ["1", "2", "3"] {
        room.write(step, "");
    }
    room.record("t.tape", &[], &[program]).success();
    room
}

#[test]
fn keys_change_what_is_shown() {
    let room = finished();
    let mut top = OnTerminal::start(&room, &["t.tape"], (160, 24), &[]);
    top.wait_for("ended (exit:0)");
    let lines = top.wait_for("third_grabs");
    let row = lines
        .iter()
        .find(|line| line.contains("third_grabs"))
        .unwrap();
    assert!(row.trim_start().starts_with("3000 B"), "{lines:#?}");
    assert!(row.contains("steps.c:"), "{lines:#?}");
    top.press("5");
    top.wait_for("third_grabs (");
    top.press("2");
    top.wait_for("q quit  g function");
    top.press("s");
    top.wait_for("s count");
    top.press("/*/nothing.c\r");
    top.wait_for("no block fits");
    top.press("/\r");
    top.wait_for("second_grabs");
    top.press("/x\x1b");
    top.press("?");
    top.wait_for("next grouping");
    top.press("?");
    top.press(" ");
    top.wait_for("HELD");
    top.press("r");
    top.wait_for("q quit  g line");
    top.press("q");
    assert_eq!(top.finish().code(), Some(0));
}

#[test]
fn a_running_program_is_shown_until_it_ends() {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    let running = room.start(&mut room.record_command("t.tape", &[], &[program]));
    let pid = wait_for("the program", || {
        let said = running.stdout_so_far();
        said.strip_prefix("pid ")
            .and_then(|pid| pid.strip_suffix('\n'))
            .map(str::to_owned)
    });
    room.write("1", "");
    let mut top = OnTerminal::start(&room, &[&pid, "--interval", "0.1"], (160, 24), &[]);
    top.wait_for("first_grabs");
    let lines = top.wait_for("recording");
    assert!(lines[0].contains(&pid), "{lines:#?}");
    top.press("b");
    top.wait_for("± baseline at");
    room.write("2", "");
    let lines = top.wait_for("second_grabs");
    let row = lines
        .iter()
        .find(|line| line.contains("second_grabs"))
        .unwrap();
    assert!(row.contains("+2000 B"), "{lines:#?}");
    room.write("3", "");
    running.finish().success();
    top.wait_for("ended (exit:0)");
    top.wait_for("third_grabs");
    top.press("\x03");
    assert_eq!(top.finish().code(), Some(0));
}

#[test]
fn signals_that_end_it_give_the_terminal_back() {
    let room = finished();
    let all = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGBUS,
    ];
    for signal in all {
        let mut top = OnTerminal::start(&room, &["t.tape"], (160, 24), &[]);
        top.wait_for("third_grabs");
        assert!(!is_as_usual(&top.own));
        top.send(signal);
        assert_eq!(top.finish().signal(), Some(signal));
    }
}

#[test]
fn it_stops_and_goes_on() {
    let room = finished();
    let mut top = OnTerminal::start(&room, &["t.tape"], (160, 24), &[]);
    top.wait_for("third_grabs");
    // Its group is an orphan's, which the kernel does not stop by this: it goes on at once.
    top.press("\x1a");
    wait_for("another screen", || {
        top.listen();
        let said = String::from_utf8_lossy(&top.said).into_owned();
        (said.matches("\x1b[?1049h").count() == 2).then_some(())
    });
    top.wait_for("third_grabs");
    top.send(libc::SIGSTOP);
    top.send(libc::SIGCONT);
    wait_for("a third screen", || {
        top.listen();
        let said = String::from_utf8_lossy(&top.said).into_owned();
        (said.matches("\x1b[?1049h").count() == 3).then_some(())
    });
    top.wait_for("third_grabs");
    top.press("q");
    assert_eq!(top.finish().code(), Some(0));
}

#[test]
fn any_size_and_any_terminal_will_do() {
    let room = finished();
    let settings: &[(&str, &str)] = &[("LC_ALL", "C"), ("NO_COLOR", "1"), ("TERM", "vt100")];
    let mut top = OnTerminal::start(&room, &["t.tape"], (160, 24), settings);
    top.wait_for("third_grabs");
    for (columns, rows) in [(20, 5), (1, 1), (3, 2), (200, 60), (160, 24)] {
        top.size = (columns, rows);
        top.said.clear();
        resize(&top.own, (columns, rows));
        wait_for("a new picture", || {
            top.listen();
            (!top.said.is_empty()).then_some(())
        });
    }
    top.wait_for("third_grabs");
    assert!(top.said.is_ascii());
    let colours = String::from_utf8_lossy(&top.said).contains("\x1b[38;5");
    assert!(!colours);
    top.press("q");
    assert_eq!(top.finish().code(), Some(0));
}

/// Nobody can see it any more, and it does not go on in the dark.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    let room = finished();
    let mut top = OnTerminal::start(&room, &["t.tape"], (160, 24), &[]);
    top.wait_for("third_grabs");
    let OnTerminal {
        mut child,
        terminal,
        own,
        ..
    } = top;
    drop((terminal, own));
    wait_for("the end of top", || child.try_wait().unwrap());
}
