//! The command stops: the launcher stops too, as a shell's job does, and goes on with it. Nothing
//! is lost meanwhile.

use crate::terminals::state_of;
use heaptape_tests::answers::number;
use heaptape_tests::{Outcome, Room, Running, build, heaptape_path, send, wait_for};
use std::os::unix::process::CommandExt;

/// Runs `script` by bash on a terminal of its own, with `input` typed, bare and recorded: `$RUN`
/// stands in front of the command.
fn on_terminal(script: &str, input: &str) -> [Outcome; 2] {
    let heaptape = heaptape_path().display();
    let run = format!("{heaptape} run --quiet -o t.tape --");
    ["", &run].map(|run| {
        let room = Room::new();
        let script = room.write("script", script);
        let line = format!("exec bash --norc {}", script.display());
        let mut command = room.command(build::needed_program("script", "bsdutils"));
        command.args(["-q", "-e", "-c", &line, "/dev/null"]);
        command.env("RUN", run);
        let typed = room.write("input", input);
        if !input.is_empty() {
            command.stdin(std::fs::File::open(typed).unwrap());
        }
        let outcome = room.run(&mut command);
        if !run.is_empty() {
            room.assert_clean("t.tape");
        }
        outcome
    })
}

#[test]
fn the_shell_has_its_terminal_back_when_the_command_stops() {
    for (signal, code) in [("STOP", 147), ("TSTP", 148), ("TTIN", 149), ("TTOU", 150)] {
        let script = format!(
            "set -m\n\
             $RUN bash -c 'kill -{signal} $$; echo back; exit 3'\n\
             echo stopped $?\n\
             fg\n\
             echo ended $?\n"
        );
        let [bare, recorded] = on_terminal(&script, "");
        assert_eq!(recorded, bare, "recorded is on the left");
        for line in [&format!("stopped {code}"), "back", "ended 3"] {
            assert!(bare.stdout.contains(line), "{signal}: {bare:?}");
        }
    }
}

/// An interactive shell has a process group of its own, which must have the terminal again.
#[test]
fn a_shell_that_was_suspended_has_its_terminal_again() {
    let script = "set -m\n\
                  $RUN bash --norc --noediting -i\n\
                  echo stopped $?\n\
                  fg\n\
                  echo ended $?\n";
    // The terminal shows what is typed at any moment, so not all is alike.
    for seen in on_terminal(script, "suspend\necho h''ere\nexit 7\n") {
        for line in ["stopped 147", "here", "ended 7"] {
            assert!(seen.stdout.contains(line), "{seen:?}");
        }
    }
}

/// Starts `targets/stops.c` as `prepare` says; its process id, when it has stopped.
fn start_stops(room: &Room, arguments: &[&str], prepare: fn() -> i32) -> (Running, u32) {
    let program = build::c("stops.c", &[]);
    let argv = [&[program.to_str().unwrap()], arguments].concat();
    let mut command = room.record_command("t.tape", &[], &argv);
    let prepare = move || match prepare() {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(prepare) };
    let running = room.start(&mut command);
    let pid = wait_for("the command to stop", || {
        let text = running.stdout_so_far();
        let pid = text.lines().next()?.strip_prefix("ready ")?.parse().ok()?;
        (state_of(pid) == 'T').then_some(pid)
    });
    (running, pid)
}

fn in_a_group() -> i32 {
    // SAFETY: a plain call.
    unsafe { libc::setpgid(0, 0) }
}

fn in_a_session() -> i32 {
    // SAFETY: a plain call.
    unsafe { libc::setsid() }
}

fn assert_ended(room: &Room, running: Running) {
    let outcome = running.finish();
    assert_eq!(outcome.code, 42, "{outcome:?}");
    assert!(outcome.stdout.ends_with("back\n"), "{outcome:?}");
    room.assert_clean("t.tape");
}

#[test]
fn whoever_continues_either_continues_both() {
    for own_group in [&[][..], &["own"]] {
        for continues_launcher in [false, true] {
            let room = Room::new();
            let stop = libc::SIGTSTP.to_string();
            let arguments = [&[stop.as_str()], own_group].concat();
            let (running, pid) = start_stops(&room, &arguments, in_a_group);
            wait_for("the launcher to stop", || {
                (state_of(running.pid()) == 'T').then_some(())
            });
            send(
                if continues_launcher {
                    running.pid()
                } else {
                    pid
                },
                libc::SIGCONT,
            );
            assert_ended(&room, running);
        }
    }
}

/// A stopped command can be killed: the launcher must notice.
#[test]
fn a_command_that_ends_while_it_is_stopped() {
    let room = Room::new();
    let (running, pid) = start_stops(&room, &[&libc::SIGSTOP.to_string()], in_a_group);
    wait_for("the launcher to stop", || {
        (state_of(running.pid()) == 'T').then_some(())
    });
    send(pid, libc::SIGKILL);
    assert_eq!(running.finish().code, 137);
    room.assert_clean("t.tape");
}

/// Where no shell looks after the launcher's group the kernel does not let it stop.
#[test]
fn a_launcher_that_cannot_stop_goes_on() {
    let room = Room::new();
    let stop = libc::SIGTSTP.to_string();
    let (running, _) = start_stops(&room, &[&stop, "own"], in_a_session);
    send(running.pid(), libc::SIGCONT);
    assert_ended(&room, running);
}

/// What the stopped command has started goes on, and has room for what it records.
#[test]
fn children_of_a_stopped_command_are_recorded() {
    let room = Room::new();
    let program = build::c("churn.c", &[]);
    let blocks = 20_000_000;
    let script = format!(
        "('{}' {blocks}; echo > done) & echo ready $$; kill -STOP $$; wait; exit 42",
        program.display()
    );
    let mut command = room.record_command("t.tape", &[], &["bash", "-c", &script]);
    let running = room.start(command.process_group(0));
    wait_for("the launcher to stop", || {
        (state_of(running.pid()) == 'T').then_some(())
    });
    wait_for("the child's end", || {
        room.path("done").exists().then_some(())
    });
    send(running.pid(), libc::SIGCONT);
    assert_eq!(running.finish().code, 42);
    let of_child = room
        .tapes()
        .into_iter()
        .map(|tape| room.assert_clean(&tape));
    let most = of_child.map(|info| number(&info["events"], "alloc")).max();
    assert!(most >= Some(blocks), "{most:?}");
}
