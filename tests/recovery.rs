//! The launcher is killed: the target goes on, and what was published is recovered from the
//! session that is left. Sessions of crashes are listed and cleaned.

use crate::wait_for_zombie;
use heaptape_tests::answers::number;
use heaptape_tests::{Room, Running, build, is_root, repeats, send, wait_for};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Starts `targets/patient.c` under the launcher and waits until it made its first blocks.
fn start(room: &Room, rounds: u32) -> (Running, u32) {
    start_with(room, rounds, &[])
}

/// As [`start`], with more in the launcher's environment.
fn start_with(room: &Room, rounds: u32, environment: &[(&str, &Path)]) -> (Running, u32) {
    let program = build::c("patient.c", &[]);
    let argv = [program.to_str().unwrap(), &rounds.to_string()];
    let mut command = room.record_command("t.tape", &[], &argv);
    command.envs(environment.iter().copied());
    let running = room.start(&mut command);
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

/// A fault in the launcher itself: the command runs to its end, the exit code is its own, and one
/// line tells how to get at what was recorded.
#[test]
fn a_launcher_that_faults() {
    let room = Room::new();
    let faulty = build::c_library("faulty.c", "faulty.so", &[]);
    let (running, _) = start_with(&room, 150, &[("LD_PRELOAD", &faulty)]);
    let done = rounds_in(&running.stdout_so_far());
    room.write("fault", "");
    let outcome = running.finish();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(rounds_in(&outcome.stdout), 150, "{outcome:?}");
    assert!(outcome.stdout.ends_with("end\n"), "{outcome:?}");
    let said: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(said.len(), 1, "{outcome:?}");
    for words in ["internal error (signal 11)", "heaptape recover "] {
        assert!(said[0].contains(words), "{outcome:?}");
    }
    recover(&room, done);
}

/// A launcher that was killed before its session was one leaves a file that says nothing.
#[test]
fn files_that_never_became_sessions_are_removed() {
    let room = Room::new();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    let dead = 999_999_999;
    let own = std::process::id();
    let place = |user: u32, pid: u32, bytes: &[u8], is_old: bool| {
        let name = format!("heaptape-{user}-{pid}-{:016x}.session", bytes.len());
        let path = room.runtime().join(name);
        std::fs::write(&path, bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if is_old {
            file.set_modified(old).unwrap();
        }
        path
    };
    let unborn = [
        place(user, dead, &[], true),
        place(user, dead, &[0; 4096], true),
    ];
    let others = [
        place(user, dead, &[0; 8], false),
        place(user, own, &[0; 9], true),
        place(user + 1, dead, &[0; 10], true),
        place(user, dead, b"HTsession of another version", true),
    ];
    room.heaptape(&["recover"]).success();
    for path in unborn {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in others {
        assert!(path.exists(), "{}", path.display());
        std::fs::remove_file(path).unwrap();
    }
}

/// A file with a session's name, made by user `user` and process `pid` as its name has it, that
/// begins with the words of a session of the version `version`.
fn other_session(room: &Room, user: u32, pid: u32, version: u32, bytes: usize) -> PathBuf {
    let mut content = b"heaptape".to_vec();
    content.extend(version.to_le_bytes());
    content.resize(bytes, 0);
    let name = format!("heaptape-{user}-{pid}-{version:08x}{bytes:08x}.session");
    let path = room.runtime().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// What `heaptape recover` lists of the file at `path`, as text and as JSON.
fn listed(room: &Room, path: &Path) -> Option<(String, Value)> {
    let text = room.heaptape(&["recover"]).success().stdout;
    let json = room.json(&["recover"]);
    let name = path.to_str().unwrap();
    let mut lines = text.lines().skip_while(|line| *line != name);
    let mut sessions = json["sessions"].as_array().unwrap().iter();
    let session = sessions.find(|session| session["session"] == name);
    let line = lines.next().and_then(|_| lines.next());
    assert_eq!(line.is_some(), session.is_some(), "{text}\n{json:#}");
    assert!(
        line.is_none() || !text.contains("no session is left"),
        "{text}"
    );
    Some((line?.trim().to_owned(), session?.clone()))
}

/// Sessions that this version cannot recover are told of, with what to do; those of others and
/// those that are drained are not.
#[test]
fn sessions_that_cannot_be_recovered_are_listed() {
    const OTHER: u32 = 1_000_001;
    let room = Room::new();
    // SAFETY: a plain call without arguments.
    let user = unsafe { libc::geteuid() };
    let dead = 999_999_999;
    let own = std::process::id();

    let path = other_session(&room, user, dead, OTHER, 8192);
    let (text, json) = listed(&room, &path).unwrap();
    let words = "of another version of heaptape: read it with that version, or remove it";
    assert_eq!(text, words);
    assert_eq!(json["state"], "other_version", "{json}");
    assert_eq!(json["live_processes"], json!([]), "{json}");
    let refused = room.heaptape(&["recover", path.to_str().unwrap(), "-o", "r.tape"]);
    assert_eq!(
        (refused.code, refused.stderr.lines().count()),
        (2, 1),
        "{refused:?}"
    );
    for words in [path.to_str().unwrap(), "of another version", "or remove it"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    assert!(path.exists() && !room.path("r.tape").exists());
    // Somebody has it open, as a drainer has.
    let held = std::fs::File::open(&path).unwrap();
    assert_eq!(listed(&room, &path), None);
    drop(held);
    assert!(listed(&room, &path).is_some());
    std::fs::remove_file(path).unwrap();

    // Whoever made it lives.
    let path = other_session(&room, user, own, OTHER, 8192);
    let (text, json) = listed(&room, &path).unwrap();
    assert!(text.contains(&format!("may be in use by {own};")), "{text}");
    assert!(!text.contains("remove"), "{text}");
    assert_eq!(json["live_processes"], json!([own]), "{json}");
    std::fs::remove_file(path).unwrap();

    if is_root() {
        let path = other_session(&room, user, dead, OTHER, 8192);
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert_eq!(listed(&room, &path), None);
        std::fs::remove_file(path).unwrap();
    }
}

/// A program that is recorded only maps the session: one of another version may be in use by it.
#[test]
fn a_session_of_another_version_under_a_running_program() {
    let room = Room::new();
    let (running, pid) = start(&room, 100_000);
    send(running.pid(), libc::SIGKILL);
    let path = room.sessions().remove(0);
    assert_eq!(running.finish().code, 137);
    // Whoever has it open could be its drainer: not for long.
    let open = || {
        let both = std::fs::File::options().read(true).write(true).open(&path);
        both.unwrap()
    };
    let mut version = [0; 4];
    open().read_exact_at(&mut version, 8).unwrap();
    open().write_all_at(&9999_u32.to_le_bytes(), 8).unwrap();
    let (text, json) = listed(&room, &path).unwrap();
    assert!(text.contains(&format!("may be in use by {pid};")), "{text}");
    assert_eq!(json["live_processes"], json!([pid]), "{json}");
    send(pid, libc::SIGKILL);
    room.wait_for_processes();
    let (text, _) = listed(&room, &path).unwrap();
    assert!(text.ends_with("or remove it"), "{text}");

    // Of this version again, and cut.
    open().write_all_at(&version, 8).unwrap();
    let text = room.heaptape(&["recover"]).success().stdout;
    assert!(text.contains("its processes are gone"), "{text}");
    for (bytes, reason) in [
        (8192, "it is damaged"),
        (12, "it is not a session of heaptape"),
    ] {
        open().set_len(bytes).unwrap();
        let (text, json) = listed(&room, &path).unwrap();
        assert_eq!(text, format!("not readable: {reason}"));
        assert_eq!(json["state"], "unreadable", "{json}");
        assert_eq!(json["reason"], reason, "{json}");
    }
    std::fs::remove_file(path).unwrap();
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

/// Threads that wait for room notice that nobody will make any: not by his long silence alone.
#[test]
fn waiting_threads_notice_that_the_launcher_is_gone() {
    let room = Room::new();
    let program = build::c("flood.c", &[]);
    let argv = [program.to_str().unwrap(), "24"];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    wait_for("the program", || {
        running.stdout_so_far().starts_with("pid ").then_some(())
    });
    send(running.pid(), libc::SIGKILL);
    let longest: u64 = wait_for("the target to end", || {
        let text = running.stdout_so_far();
        let longest = text.strip_suffix("\nend\n")?.rsplit(' ').next()?;
        longest.parse().ok()
    });
    assert_eq!(running.finish().code, 137);
    room.wait_for_processes();
    assert!(longest >= 50, "nobody waited: {longest} naps");
    // Silence alone would take 2000 naps.
    assert!(longest < 1000, "a call lasted {longest} naps");

    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session: &Path = &sessions[0];
    let arguments: [&Path; 4] = [
        "recover".as_ref(),
        session,
        "-o".as_ref(),
        "r.tape".as_ref(),
    ];
    assert_eq!(room.heaptape(&arguments).code, 0);
    let verified = room.json(&["verify", "r.tape"]);
    assert_eq!(verified["damaged"], 0, "{verified}");
    let info = room.json(&["info", "r.tape"]);
    assert_eq!(info["complete"], false, "{info:#}");
    assert!(number(&info, "lost_events") > 0, "{info:#}");
    assert!(number(&info["events"], "alloc") > 100_000, "{info:#}");
    assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
}

/// The recording ends where it is recovered, and says so; the program does not notice.
#[test]
fn recovering_under_a_running_program() {
    let room = Room::new();
    let (running, pid) = start(&room, 1600);
    send(running.pid(), libc::SIGKILL);
    let done = wait_for("the launcher's end", || {
        let done = rounds_in(&running.stdout_so_far());
        (done >= 20).then_some(done)
    });
    recover(&room, done);
    let after = rounds_in(&running.stdout_so_far());
    assert!(after < 1600, "the program ended before its tape was cut");
    let info = room.json(&["info", "r.tape"]);
    assert_eq!(info["complete"], false, "{info:#}");
    assert_eq!(info["ended_by"], "unknown", "{info:#}");
    assert_eq!(number(&info, "pid"), u64::from(pid));
    let text = room.heaptape(&["info", "r.tape"]).success();
    let cut = "the recording was ended while the program was running";
    assert!(text.stdout.contains(cut), "{text:?}");
    let output = wait_for("the target to end", || {
        let text = running.stdout_so_far();
        text.ends_with("end\n").then_some(text)
    });
    assert_eq!(rounds_in(&output), 1600, "the target was harmed");
    assert_eq!(running.finish().code, 137);
    room.wait_for_processes();
    assert!(room.sessions().is_empty(), "{:?}", room.sessions());
}

/// The same of a program whose first thread has left before: it is not taken for one that ended.
#[test]
fn recovering_under_a_program_without_its_first_thread() {
    let room = Room::new();
    let program = build::c("steps.c", &[]);
    let argv = [program.to_str().unwrap(), "outlived"];
    let running = room.start(&mut room.record_command("t.tape", &[], &argv));
    room.write("1", "");
    let pid: u32 = wait_for("the first step", || {
        let text = running.stdout_so_far();
        let pid = text.strip_prefix("pid ")?.strip_suffix("\n1\n")?;
        pid.parse().ok()
    });
    wait_for_zombie(pid);
    send(running.pid(), libc::SIGKILL);
    wait_for_zombie(running.pid());
    let session = room.sessions().remove(0);
    let (text, json) = listed(&room, &session).unwrap();
    assert!(text.contains(&pid.to_string()), "{text}");
    assert_eq!(json["live_processes"], json!([pid]), "{json}");
    let arguments = ["recover", session.to_str().unwrap(), "-o", "r.tape"];
    room.heaptape(&arguments).success();
    let info = room.json(&["info", "r.tape"]);
    assert_eq!(info["ended_by"], "unknown", "{info:#}");
    let text = room.heaptape(&["info", "r.tape"]).success();
    let cut = "the recording was ended while the program was running";
    assert!(text.stdout.contains(cut), "{text:?}");
    for step in ["2", "3"] {
        room.write(step, "");
    }
    room.wait_for_processes();
    assert_eq!(running.stdout_so_far(), format!("pid {pid}\n1\n2\n"));
    assert_eq!(running.finish().code, 137);
}

/// A pipe that nobody writes to keeps whoever opens it waiting: beside the tapes and among the
/// sessions it is passed by.
#[test]
fn pipes_are_passed_by() {
    let room = Room::new();
    for name in ["pipe", "pipe.tape"] {
        room.bare(&["mkfifo", name]).success();
    }
    let (running, pid) = start(&room, 100_000);
    send(running.pid(), libc::SIGKILL);
    send(pid, libc::SIGKILL);
    let done = rounds_in(&running.stdout_so_far());
    assert_eq!(running.finish().code, 137);
    room.wait_for_processes();

    let sessions = room.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let pipe = sessions[0].with_file_name("heaptape-0-1-1.session");
    room.bare(&["mkfifo", pipe.to_str().unwrap()]).success();
    let listed = room.heaptape(&["recover"]).success();
    let name = sessions[0].to_str().unwrap();
    assert!(listed.stdout.contains(name), "{listed:?}");
    assert!(!listed.stdout.contains("heaptape-0-1-1"), "{listed:?}");
    let refused = room.heaptape(&["recover", pipe.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    std::fs::remove_file(pipe).unwrap();

    recover(&room, done);
    for name in ["pipe", "pipe.tape"] {
        assert!(room.path(name).exists(), "{name} was removed");
    }
}

/// Nothing was recorded when the launcher was killed: the name that it had reserved is free again.
#[test]
fn nothing_to_recover_leaves_nothing() {
    for renamed in [true, false] {
        let room = Room::new();
        let program = build::build(
            "cc",
            "patient.c",
            "patient-static",
            &["-O2", "-static", "-pthread"],
        );
        let argv = [program.to_str().unwrap(), "400"];
        let running = room.start(&mut room.record_command("t.tape", &[], &argv));
        wait_for("the program", || {
            running.stdout_so_far().contains("round 1\n").then_some(())
        });
        send(running.pid(), libc::SIGKILL);
        assert_eq!(running.finish().code, 137);
        room.wait_for_processes();
        assert_eq!(room.tapes(), ["t.tape"]);
        let session = room.sessions().remove(0);
        let mut arguments = vec![PathBuf::from("recover"), session];
        if renamed {
            arguments.extend(["-o".into(), "r.tape".into()]);
        }
        let outcome = room.heaptape(&arguments);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains("nothing was left"), "{outcome:?}");
        assert_eq!(room.tapes(), [""; 0]);
        assert!(room.sessions().is_empty());
    }
}

#[test]
fn a_run_leaves_no_session() {
    let room = Room::new();
    room.record("t.tape", &[], &["true"]).success();
    room.wait_for_processes();
    assert!(room.sessions().is_empty(), "{:?}", room.sessions());
    // Others may have left some.
    let listed = room.heaptape(&["recover"]).success();
    let ours = room.path("t.tape").display().to_string();
    assert!(!listed.stdout.contains(&ours), "{listed:?}");
}
