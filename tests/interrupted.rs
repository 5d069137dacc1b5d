//! Signals to the launcher when the command has ended: it ends, says what is left to do, and leaves
//! nothing undone that nobody would do.

use heaptape_tests::answers::text;
use heaptape_tests::{Room, Running, build, send, wait_for};
use std::os::unix::process::CommandExt;

/// What `/proc/PID/status` says behind `name`: a set of signals, or 0.
fn set(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(u64::from_str_radix(value.trim(), 16).unwrap_or(0))
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Waits until the command has ended and the launcher only waits for the rest of the tree: then it
/// can be stopped by the terminal, and still holds back what would end it.
fn wait_until_command_ended(running: &Running) {
    wait_for("the command's end", || {
        let blocked = set(running.pid(), "SigBlk:")?;
        let waits = blocked & bit(libc::SIGTERM) != 0 && blocked & bit(libc::SIGTSTP) == 0;
        waits.then_some(())
    });
}

#[test]
fn waiting_for_the_tree_can_be_interrupted() {
    for (signal, quiet) in [
        (libc::SIGTERM, false),
        (libc::SIGINT, true),
        (libc::SIGHUP, false),
        (libc::SIGRTMIN(), false),
    ] {
        let room = Room::new();
        let script = "(until test -e go; do ls > list; sleep .02; done; echo > done) & exit 3";
        let options: &[&str] = if quiet { &["--quiet"] } else { &[] };
        let start = ["run", "--wait", "-o", "t.tape"];
        let arguments = [&start, options, &["--", "bash", "-c", script]].concat();
        let running = room.start(room.heaptape_command(&arguments).process_group(0));
        wait_until_command_ended(&running);
        send(running.pid(), signal);
        let outcome = running.finish();
        assert_eq!(outcome.code, 128 + signal, "{outcome:?}");
        let last = outcome.stderr.lines().last().unwrap_or_default();
        assert!(
            last.contains("interrupted") && last.contains("live on"),
            "{outcome:?}"
        );
        assert!(
            !room.sessions().is_empty(),
            "the tapes are not finished yet"
        );
        room.write("go", "");
        wait_for("the tree", || room.path("done").exists().then_some(()));
        wait_for("the tapes", || room.sessions().is_empty().then_some(()));
        room.wait_for_processes();
        let info = room.assert_clean("t.tape");
        assert_eq!(text(&info, "ended_by"), "exit:3");
        assert!(room.tapes().len() > 2, "{:?}", room.tapes());
        for tape in room.tapes() {
            room.assert_clean(&tape);
            // The symbols are there: a second look finds nothing to do.
            let stats = room.heaptape(&["stats", &tape, "--group-by", "function"]);
            assert!(!stats.success().stdout.contains("heaptape symbolize"));
        }
    }
}

/// Sends `signal` as soon as process `pid` catches it; or the process ends before.
fn send_when_caught(pid: u32, signal: i32) {
    while set(pid, "State:\tZ").is_none() {
        let caught = set(pid, "SigCgt:");
        if caught.is_none_or(|caught| caught & bit(signal) != 0) {
            return send(pid, signal);
        }
    }
}

/// Records `argv` to `t.tape` and interrupts the look-up of symbols: the room, and what was said.
/// It may be done before the signal comes, and then it is tried again.
fn interrupt_symbols(signal: i32, argv: &[&str]) -> (Room, String) {
    wait_for("an interrupted look-up", || {
        let room = Room::new();
        for step in ["1", "2", "3"] {
            room.write(step, "");
        }
        let running = room.start(&mut room.record_command("t.tape", &[], argv));
        send_when_caught(running.pid(), signal);
        let outcome = running.finish();
        let said = Some(outcome.stderr).filter(|said| said.contains("without symbols"))?;
        assert_eq!(outcome.code, 128 + signal, "{said}");
        room.assert_clean("t.tape");
        Some((room, said))
    })
}

/// The launcher catches what would end it when all that is left to do is to look for symbols.
#[test]
fn symbols_can_be_interrupted() {
    let program = build::c("steps.c", &[]);
    let by_people = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    let by_programs = [libc::SIGUSR1, libc::SIGALRM, libc::SIGPROF, libc::SIGXCPU];
    let others = [
        libc::SIGUSR2,
        libc::SIGVTALRM,
        libc::SIGIO,
        libc::SIGRTMIN(),
    ];
    for signal in by_people.into_iter().chain(by_programs).chain(others) {
        let (_room, said) = interrupt_symbols(signal, &[program.to_str().unwrap()]);
        assert_eq!(
            said,
            "heaptape: interrupted; recorded to t.tape, without symbols and summary; \
             later: heaptape symbolize t.tape, heaptape stats t.tape\n"
        );
    }
}

/// Of a process tree the command's own tape is named, though others are done before.
#[test]
fn symbols_of_a_tree_can_be_interrupted() {
    let program = build::c("steps.c", &[]);
    let script = format!("'{0}'; '{0}'; true", program.display());
    let (room, said) = interrupt_symbols(libc::SIGINT, &["bash", "-c", &script]);
    let more = room.tapes().len() - 1;
    assert!(more >= 2, "{:?}", room.tapes());
    assert_eq!(
        said,
        format!(
            "heaptape: interrupted; recorded to t.tape and {more} more tapes of its process tree, \
             without symbols and summary; later: heaptape symbolize t.tape (the others likewise), \
             heaptape stats t.tape\n"
        )
    );
}
