//! The launcher as a stand-in for the command: exit codes, signals, stop and continue, standard
//! input, terminals, command substitution.

use heaptape_tests::answers::text;
use heaptape_tests::{Room, Running, build, repeats, send, wait_for};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn exit_codes_pass_through() {
    let some = [
        0, 1, 2, 3, 42, 100, 124, 125, 126, 127, 128, 129, 137, 143, 254, 255,
    ];
    let all: Vec<u32> = if repeats(1) > 1 {
        (0..=255).collect()
    } else {
        some.to_vec()
    };
    for code in all {
        let room = Room::new();
        let script = format!("exit {code}");
        let outcome = room.record("t.tape", &[], &["sh", "-c", &script]);
        assert_eq!(outcome.code, code.cast_signed(), "{outcome:?}");
        assert_eq!(outcome.stderr, "");
        assert_eq!(
            text(&room.assert_clean("t.tape"), "ended_by"),
            format!("exit:{code}")
        );
    }
}

#[test]
fn signals_that_end_the_command_are_128_and_their_number() {
    for signal in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let room = Room::new();
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let outcome = room.record("t.tape", &[], &["sh", "-c", &script]);
        assert_eq!(outcome.code, 128 + signal, "{outcome:?}");
        assert_eq!(
            text(&room.assert_clean("t.tape"), "ended_by"),
            format!("signal:{signal}")
        );
    }
}

#[test]
fn commands_that_cannot_start() {
    let room = Room::new();
    let missing = room.record("t.tape", &[], &["./no-such-program"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
    let not_executable = room.write("plain-file", "text");
    let refused = room.record("t.tape", &[], &[not_executable]);
    assert_eq!(refused.code, 126, "{refused:?}");
    assert!(refused.stderr.contains("plain-file"), "{refused:?}");
    let nowhere = room.record("no/such/folder/t.tape", &[], &["true"]);
    assert_eq!(nowhere.code, 125, "{nowhere:?}");
    assert!(nowhere.stderr.contains("no/such/folder"), "{nowhere:?}");
    assert_eq!(nowhere.stderr.lines().count(), 1, "{nowhere:?}");
    assert!(
        room.tapes().is_empty(),
        "a command that never ran left a tape"
    );
}

#[test]
fn standard_input_is_the_commands() {
    let room = Room::new();
    let input = room.write("input", "hello, input");
    let program = build::c("tty.c", &[]);
    let mut command = room.record_command("t.tape", &[], &[program]);
    command.stdin(std::fs::File::open(input).unwrap());
    let outcome = room.run(&mut command).success();
    assert_eq!(outcome.stdout, "terminals 000\ninput <hello, input>\n");
}

/// `script` gives the command a terminal of its own.
/// What was closed is closed for the command too.
#[test]
fn closed_descriptors_are_the_commands() {
    let room = Room::new();
    let heaptape = heaptape_tests::heaptape_path().display();
    for (command, closed, code) in [
        ("sh -c 'echo lost'", ">&-", 1),
        ("cat", "<&-", 1),
        ("sh -c 'echo lost >&2'", "2>&-", 2),
        ("sh -c 'test -e /proc/self/fd/1 || exit 9'", ">&-", 9),
    ] {
        let bare = room.bare(&["sh", "-c", &format!("exec {command} {closed}")]);
        let run = format!("exec '{heaptape}' run --quiet -- {command} {closed}");
        let recorded = room.bare(&["sh", "-c", &run]);
        assert_eq!(
            (bare.code, recorded.code),
            (code, code),
            "{run}: {recorded:?}"
        );
    }
}

#[test]
fn the_terminal_is_the_commands() {
    let script = build::needed_program("script", "bsdutils");
    let program = build::c("tty.c", &[]);
    let room = Room::new();
    let on_terminal = |line: &str| {
        let mut command = room.command(&script);
        command.args(["-q", "-e", "-c", line, "/dev/null"]);
        room.run(&mut command)
    };
    let bare = on_terminal(&format!("'{}'", program.display()));
    assert_eq!(
        bare.stdout.replace('\r', ""),
        "terminals 111\nforeground 1\ninput <>\n"
    );
    let heaptape = heaptape_tests::heaptape_path().display();
    let line = format!(
        "'{heaptape}' run --quiet -o t.tape -- '{}'",
        program.display()
    );
    assert_eq!(on_terminal(&line), bare);
    room.assert_clean("t.tape");
}

/// Starts `targets/signals.c` under the launcher; the launcher leads a process group.
fn start_signals(room: &Room, arguments: &[&str]) -> (Running, u32) {
    let program = build::c("signals.c", &[]);
    let argv = [&[program.to_str().unwrap()], arguments].concat();
    let mut command = room.record_command("t.tape", &[], &argv);
    command.process_group(0).stdin(Stdio::null());
    let running = room.start(&mut command);
    let pid = wait_for("the program", || {
        let text = running.stdout_so_far();
        let line = text.lines().next()?.strip_prefix("ready ")?.to_owned();
        text.contains('.').then(|| line.parse().unwrap())
    });
    (running, pid)
}

#[test]
fn signals_to_the_launcher_reach_the_command() {
    // All but those that stop, those that nobody can catch, and SIGCHLD.
    let left_out = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    let all = (1..32).chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    for signal in all.filter(|signal| !left_out.contains(signal)) {
        let room = Room::new();
        let (running, _) = start_signals(&room, &[&signal.to_string()]);
        send(running.pid(), signal);
        let outcome = running.finish();
        assert_eq!(outcome.code, 42, "{outcome:?}");
        assert!(
            outcome.stdout.ends_with(&format!("got {signal}\n")),
            "{outcome:?}"
        );
        assert_eq!(text(&room.assert_clean("t.tape"), "ended_by"), "exit:42");
    }
}

/// The only child of a process, when it has one.
fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.ok()?.trim().parse().ok()
}

/// The kernel keeps nothing of a signal's sender beyond a limit, and whoever sends from outside of
/// our pid namespace (what stops a container) has no number in it.
#[test]
fn signals_of_nobody_reach_the_command() {
    let program = build::c("signals.c", &[]);
    let is_allowed = Room::new()
        .bare(&["unshare", "-pf", "--mount-proc", "true"])
        .code
        == 0;
    let in_namespace = vec!["unshare", "-pf", "--mount-proc"];
    let without_memory = vec!["prlimit", "--sigpending=0"];
    let ways = [(without_memory, true), (in_namespace, is_allowed)];
    for (before, _) in ways.into_iter().filter(|(_, is_possible)| *is_possible) {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGRTMIN() + 6] {
            let room = Room::new();
            let argv = [program.to_str().unwrap(), &signal.to_string()];
            let recording = room.record_command("t.tape", &[], &argv);
            let mut command = room.command(before[0]);
            command.args(&before[1..]).arg(recording.get_program());
            command.args(recording.get_args()).stdin(Stdio::null());
            let running = room.start(&mut command);
            wait_for("the program", || {
                running.stdout_so_far().contains('.').then_some(())
            });
            // `prlimit` has become the launcher, `unshare` is its parent.
            let launcher = match before[0] {
                "unshare" => child_of(running.pid()).unwrap(),
                _ => running.pid(),
            };
            send(launcher, signal);
            let outcome = running.finish();
            assert_eq!(outcome.code, 42, "{before:?} {signal}: {outcome:?}");
            room.assert_clean("t.tape");
        }
    }
}

/// A new terminal: the side of whoever shows it, and the program's.
fn terminal() -> [OwnedFd; 2] {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let open = |name: &CStr| {
        // SAFETY: the name is a C string.
        let descriptor = unsafe { libc::open(name.as_ptr(), flags) };
        assert!(descriptor >= 0, "{name:?}");
        // SAFETY: just opened, and nobody else's.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    };
    let shown = open(c"/dev/ptmx");
    let mut name = [0; 64];
    // SAFETY: a terminal's descriptor.
    assert_eq!(unsafe { libc::unlockpt(shown.as_raw_fd()) }, 0);
    let bytes = name.len();
    // SAFETY: as above, and room for the name.
    let failed = unsafe { libc::ptsname_r(shown.as_raw_fd(), name.as_mut_ptr(), bytes) };
    assert_eq!(failed, 0);
    // SAFETY: the name ends with zero.
    let programs = open(unsafe { CStr::from_ptr(name.as_ptr()) });
    [shown, programs]
}

/// `ssh -t`, a terminal's window: when it goes, the kernel tells the leader of the session alone.
#[test]
fn the_end_of_the_terminal_reaches_the_command() {
    let room = Room::new();
    let program = build::c("signals.c", &[]);
    let hang_up = libc::SIGHUP.to_string();
    let mut command = room.record_command("t.tape", &[], &[program.to_str().unwrap(), &hang_up]);
    let [shown, programs] = terminal();
    let leads = || {
        // SAFETY: a plain call that may be made between fork and exec.
        let session = unsafe { libc::setsid() };
        // SAFETY: as before; 0 is the terminal by then.
        let failed = session < 0 || unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0;
        match failed {
            true => Err(std::io::Error::last_os_error()),
            false => Ok(()),
        }
    };
    // SAFETY: the closure only makes calls that may be made between fork and exec.
    unsafe { command.pre_exec(leads) };
    let running = room.start(command.stdin(programs));
    wait_for("the program", || {
        running.stdout_so_far().contains('.').then_some(())
    });
    drop(command);
    drop(shown);
    let outcome = running.finish();
    assert_eq!(outcome.code, 42, "{outcome:?}");
    assert!(outcome.stdout.ends_with("got 1\n"), "{outcome:?}");
    room.assert_clean("t.tape");
}

/// `alarm 5; exec @ARGV`: an alarm outlives the exec, and is the program's.
#[test]
fn an_alarm_from_before_reaches_the_command() {
    let room = Room::new();
    let program = build::c("signals.c", &[]);
    let number = libc::SIGALRM.to_string();
    let mut command = room.record_command("t.tape", &[], &[program.to_str().unwrap(), &number]);
    let alarm = || {
        // SAFETY: a plain call that may be made between fork and exec.
        unsafe { libc::alarm(2) };
        Ok(())
    };
    // SAFETY: the closure only makes a call that may be made between fork and exec.
    unsafe { command.pre_exec(alarm) };
    let outcome = room.run(&mut command);
    assert_eq!(outcome.code, 42, "{outcome:?}");
    assert!(outcome.stdout.ends_with("got 14\n"), "{outcome:?}");
    room.assert_clean("t.tape");
}

/// What is sent to the process group reaches the command by itself: once, as bare.
#[test]
fn signals_to_the_group_reach_the_command_once() {
    let fence = libc::SIGRTMAX();
    let sends_itself = libc::SIGRTMIN() + 1;
    let signals = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGTSTP,
        libc::SIGCONT,
        libc::SIGWINCH,
        libc::SIGRTMIN(),
    ];
    let program = build::c("signal_counts.c", &[]);
    let mut argv = vec![program.to_str().unwrap().to_owned()];
    argv.extend(
        signals
            .iter()
            .chain([&fence, &sends_itself])
            .map(i32::to_string),
    );
    let room = Room::new();
    let mut command = room.record_command("t.tape", &[], &argv);
    command.process_group(0).stdin(Stdio::null());
    let running = room.start(&mut command);
    let count = |signal: i32| {
        let text = running.stdout_so_far();
        let line = text.lines().last().unwrap_or_default();
        let mut counts = line.split(' ').filter_map(|count| count.split_once(':'));
        let number = signal.to_string();
        counts
            .find(|(of, _)| *of == number)
            .map_or(0, |(_, count)| count.parse().unwrap())
    };
    let is_there = || running.stdout_so_far().contains("ready").then_some(());
    wait_for("the program", is_there);
    let group = running.pid().cast_signed();
    let launcher = running.pid();
    // The launcher takes signals in the order of their numbers: after this one it has seen all.
    let pass_fence = || {
        let before = count(fence);
        send(launcher, fence);
        wait_for("the last signal", || (count(fence) > before).then_some(()));
    };
    let mut expected = 0;
    for _ in 0..3 {
        for signal in signals {
            // SAFETY: kill touches no memory.
            unsafe { libc::kill(-group, signal) };
            pass_fence();
            send(launcher, signal);
            pass_fence();
        }
        expected += 2;
        for signal in signals {
            assert_eq!(count(signal), expected, "signal {signal}");
        }
    }
    // One from the command to its own group, and then one for the command alone.
    for count_after in [expected + 1, expected + 2] {
        let signal = if count_after == expected + 1 {
            sends_itself
        } else {
            libc::SIGUSR1
        };
        send(launcher, signal);
        pass_fence();
        assert_eq!(count(libc::SIGUSR1), count_after);
    }
    room.write("end", "");
    assert_eq!(running.finish().code, 0);
    room.assert_clean("t.tape");
}

#[test]
fn deadly_signals_to_the_launcher_end_the_command() {
    let of_faults = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS];
    let others = [libc::SIGINT, libc::SIGTERM, libc::SIGXCPU, libc::SIGRTMIN()];
    for signal in of_faults.into_iter().chain(others) {
        let room = Room::new();
        let (running, _) = start_signals(&room, &[]);
        send(running.pid(), signal);
        let outcome = running.finish();
        assert_eq!(outcome.code, 128 + signal, "{outcome:?}");
        let info = room.assert_clean("t.tape");
        assert_eq!(text(&info, "ended_by"), format!("signal:{signal}"));
    }
}

/// Ctrl-C at a terminal reaches the whole group: the command decides, once.
#[test]
fn an_interrupt_of_the_group_leaves_the_choice_to_the_command() {
    let room = Room::new();
    let (running, _) = start_signals(&room, &["2"]);
    send_group(running.pid(), libc::SIGINT);
    let outcome = running.finish();
    assert_eq!(outcome.code, 42, "{outcome:?}");
    assert_eq!(outcome.stdout.matches("got 2").count(), 1, "{outcome:?}");
    room.assert_clean("t.tape");
}

#[test]
fn stop_and_continue_reach_the_command() {
    let room = Room::new();
    let (running, pid) = start_signals(&room, &["15"]);
    send_group(running.pid(), libc::SIGTSTP);
    wait_for("the command to stop", || {
        (state_of(pid) == 'T').then_some(())
    });
    wait_for("the launcher to stop", || {
        (state_of(running.pid()) == 'T').then_some(())
    });
    let before = running.stdout_so_far().len();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        running.stdout_so_far().len(),
        before,
        "the stopped command went on"
    );
    send_group(running.pid(), libc::SIGCONT);
    wait_for("the command to go on", || {
        (running.stdout_so_far().len() > before).then_some(())
    });
    send(running.pid(), libc::SIGTERM);
    assert_eq!(running.finish().code, 42);
    room.assert_clean("t.tape");
}

fn send_group(leader: u32, signal: i32) {
    // SAFETY: kill touches no memory; the group was made by this test.
    unsafe { libc::kill(-leader.cast_signed(), signal) };
}

/// The state letter of a process: behind the name in parentheses.
pub(crate) fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next())
        .unwrap_or('?')
}

/// A daemon that lives on does not hold the pipe of `$(heaptape run …)` open through us.
#[test]
fn command_substitution_ends_with_the_command() {
    let room = Room::new();
    let family = build::c("family.c", &[]);
    let heaptape = heaptape_tests::heaptape_path().display();
    let script = format!(
        "x=$('{heaptape}' run --quiet -o t.tape -- '{}' daemon done.txt 1500 2>&1); echo \"<$x>\"; \
         test -e done.txt && echo too late",
        family.display()
    );
    let outcome = room.bare(&["sh", "-c", &script]);
    assert_eq!(outcome.stdout, "<child 0>\n", "{outcome:?}");
    wait_for("the daemon", || {
        room.path("done.txt").exists().then_some(())
    });
    room.wait_for_processes();
    room.assert_clean("t.tape");
}

/// Without `--quiet`, the program's streams are its own: ours comes after, on stderr alone.
#[test]
fn the_summary_is_apart_from_the_programs_output() {
    let room = Room::new();
    let argv = ["sh", "-c", "echo out; echo err >&2"];
    let arguments = [&["run", "-o", "t.tape", "--report", "--"], &argv[..]].concat();
    let outcome = room.heaptape(&arguments).success();
    assert_eq!(outcome.stdout, "out\n");
    let summary = outcome
        .stderr
        .strip_prefix("err\n")
        .unwrap_or_else(|| panic!("{outcome:?}"));
    for fact in ["t.tape", "peak", "heaptape stats", "leak"] {
        assert!(
            summary.to_lowercase().contains(fact),
            "no {fact} in {summary}"
        );
    }
}
