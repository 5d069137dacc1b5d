//! The launcher is killed: the target goes on, and what was published is recovered from the
//! session that is left. Sessions of crashes are listed and cleaned.

use heaptape_tests::answers::number;
use heaptape_tests::{Room, Running, build, repeats, send, wait_for};
use std::path::{Path, PathBuf};

/// Starts `targets/patient.c` under the launcher and waits until it made its first blocks.
fn start(room: &Room, rounds: u32) -> (Running, u32) {
    let program = build::c("patient.c", &[]);
    let argv = [program.to_str().unwrap(), &rounds.to_string()];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    let pid = wait_for("the program", || {
        let text = running.stdout_so_far();
        text.contains("round 3\n").then(|| {
            let line = text.lines().next().unwrap();
            line.strip_prefix("pid ").unwrap().parse().unwrap()
        })
    });
    (running, pid)
}

fn rounds_in(output: &str) -> u64 {
    output
        .lines()
        .filter(|line| line.starts_with("round "))
        .count() as u64
}

/// Recovers the only session of the room and checks that nothing up to `rounds` is missing.
fn recover(room: &Room, rounds: u64) {
    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let name = sessions[0].file_name().unwrap().to_str().unwrap();
    let listed = room.heaptape(&["recover"]).success();
    assert!(
        listed.stdout.contains(name),
        "{name} is not listed: {listed:?}"
    );
    let session: &Path = &sessions[0];
    let outcome = room.heaptape(&[
        &PathBuf::from("recover"),
        session,
        "-o".as_ref(),
        "r.tape".as_ref(),
    ]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(room.sessions().is_empty(), "the session was not removed");
    let listed = room.heaptape(&["recover"]).success();
    assert!(!listed.stdout.contains(name), "{listed:?}");

    // What the dead launcher had written and what was left make one history.
    let verified = room.json(&["verify", "r.tape"]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    let churn = room.json(&["churn", "r.tape", "--group-by", "function"]);
    let rows = churn["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "round_grabs");
    let row = row.unwrap_or_else(|| panic!("no round_grabs in {churn:#}"));
    let made = number(row, "allocations");
    assert!(
        made >= rounds * 100,
        "{made} blocks are there, {rounds} rounds were done"
    );
    assert_eq!(number(row, "bytes_allocated"), made * 48);
}

#[test]
fn the_target_survives_its_launcher() {
    for _ in 0..repeats(3) {
        let room = Room::new();
        let (running, _) = start(&room, 150);
        let done = rounds_in(&running.stdout_so_far());
        send(running.pid(), libc::SIGKILL);
        let output = wait_for("the target to end", || {
            let text = running.stdout_so_far();
            text.ends_with("end\n").then_some(text)
        });
        assert_eq!(rounds_in(&output), 150, "the target was harmed");
        assert_eq!(running.finish().code, 137);
        room.wait_for_processes();
        recover(&room, done);
    }
}

#[test]
fn launcher_and_target_die_together() {
    for _ in 0..repeats(3) {
        let room = Room::new();
        let (running, pid) = start(&room, 100_000);
        // The launcher first: it can no longer drain what the target publishes.
        send(running.pid(), libc::SIGSTOP);
        send(running.pid(), libc::SIGKILL);
        send(pid, libc::SIGKILL);
        wait_for("the target to end", || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
        let done = rounds_in(&running.stdout_so_far());
        assert_eq!(running.finish().code, 137);
        recover(&room, done);
    }
}

#[test]
fn a_run_leaves_no_session() {
    let room = Room::new();
    room.record("t.tape", &[], &["true"]).success();
    room.wait_for_processes();
    assert!(room.sessions().is_empty(), "{:?}", room.sessions());
    let listed = room.heaptape(&["recover"]).success();
    assert_eq!(listed.stdout.matches(".tape").count(), 0, "{listed:?}");
}
