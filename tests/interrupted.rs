//! Signals to the launcher when the command has ended: it ends, says what is left to do, and leaves
//! nothing undone that nobody would do.

use heaptape_tests::answers::text;
use heaptape_tests::{Room, Running, build, send, wait_for};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;

/// The set of blocked signals of a process.
fn blocked(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    u64::from_str_radix(line.unwrap_or_default().trim(), 16).unwrap_or(0)
}

/// Waits until the command has ended and the launcher only waits for the rest of the tree: then it
/// can be stopped by the terminal, and still holds back what would end it.
fn wait_until_command_ended(running: &Running) {
    let bit = |signal: i32| 1u64 << (signal - 1);
    wait_for("the command's end", || {
        let blocked = blocked(running.pid());
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

/// Symbols are put in when nobody else writes to the tape: who holds its lock holds that up.
#[test]
fn symbols_can_be_interrupted() {
    let program = build::c("steps.c", &[]);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // The launcher may be faster at taking its own tape's lock, and is then done.
        let said = wait_for("an interrupted look-up", || {
            let room = Room::new();
            let argv = [program.to_str().unwrap()];
            let running = room.start(&mut room.record_command("t.tape", &[], &argv));
            for step in ["1", "2", "3"] {
                wait_for("the tape", || room.path("t.tape").exists().then_some(()));
                room.write(step, "");
            }
            let tape = File::open(room.path("t.tape")).unwrap();
            // SAFETY: a plain call on an open descriptor.
            assert_eq!(unsafe { libc::flock(tape.as_raw_fd(), libc::LOCK_EX) }, 0);
            send(running.pid(), signal);
            let outcome = running.finish();
            drop(tape);
            room.assert_clean("t.tape");
            (outcome.code == 128 + signal && !outcome.stderr.is_empty()).then_some(outcome.stderr)
        });
        assert_eq!(
            said,
            "heaptape: interrupted; recorded to t.tape, without symbols and summary; \
             later: heaptape symbolize t.tape, heaptape stats t.tape\n"
        );
    }
}
