//! Images that cannot be recorded run as if bare, and are named.

use crate::drainer::{Recording, Session, Setup};
use crate::target::{compile, run};
use heaptape_session::record::blob;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What the tape of the starter says: reason and command.
fn not_recorded(recording: &Recording) -> Vec<(String, String)> {
    let blobs = recording.blobs_of(&recording.processes[0], blob::NOT_RECORDED);
    let texts = blobs.iter().map(|bytes| {
        let (reason, command) = bytes[1..].split_at(usize::from(bytes[0]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(reason), text(command))
    });
    texts.collect()
}

fn check(name: &str, reason: &str, make: impl Fn(&Path) -> std::path::PathBuf) {
    for how in ["exec", "spawn"] {
        let session = Session::new(name, Setup::default());
        let program = make(session.folder());
        let starter = session.compile("start.c", "start");
        let bare = run(Command::new(&program).env("PATH", "/usr/bin:/bin"));
        let mut command = session.command(starter);
        command.arg(how).arg(&program);
        let recording = session.record(&mut command);
        assert_eq!(recording.output, bare, "{name} by {how}");
        let expected = (reason.to_owned(), program.display().to_string());
        assert_eq!(not_recorded(&recording), [expected], "{name} by {how}");
        assert_eq!(recording.processes.len(), 1);
    }
}

#[test]
fn static_programs() {
    check("static", "static executable", |folder| {
        compile(folder, "plain.c", "plain", &["-static"])
    });
    check("static-pie", "static executable", |folder| {
        compile(folder, "plain.c", "plain", &["-static-pie", "-fPIE"])
    });
}

#[test]
fn scripts_of_static_programs() {
    check("script", "static executable", |folder| {
        let program = compile(folder, "plain.c", "plain", &["-static"]);
        let script = folder.join("script");
        let text = format!("#! {} argument\n", program.display());
        std::fs::write(&script, text).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("an executable script");
        script
    });
}

#[test]
fn programs_of_another_loader() {
    check("musl", "musl executable", |folder| {
        // The loader need not be there: a program that is its own loader's name will do.
        let loader = folder.join("ld-musl-x86_64.so.1");
        std::fs::copy("/lib64/ld-linux-x86-64.so.2", &loader).expect("a loader");
        let argument = format!("-Wl,--dynamic-linker={}", loader.display());
        compile(folder, "plain.c", "plain", &[&argument])
    });
}

#[test]
fn programs_with_a_sanitizer() {
    check("asan", "ASan-linked executable", |folder| {
        compile(folder, "plain.c", "plain", &["-fsanitize=address"])
    });
    check("static-asan", "sanitizer-linked executable", |folder| {
        compile(
            folder,
            "plain.c",
            "plain",
            &["-fsanitize=address", "-static-libasan"],
        )
    });
}

#[test]
fn ordinary_programs_and_scripts_are_recorded() {
    let session = Session::new("plain", Setup::default());
    let starter = session.compile("start.c", "start");
    let plain = session.compile("plain.c", "plain");
    let script = session.folder().join("script");
    let text = format!("{} \"$@\"\n", plain.display());
    std::fs::write(&script, text).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("an executable script");
    // No first line: the C library gives it to a shell.
    let recording = session.record(session.command(starter).arg("exec").arg(&script));
    assert_eq!(recording.text(), "hello\n");
    assert_eq!(recording.output.stderr, b"");
    assert_eq!(not_recorded(&recording), []);
    let plain = recording.process_named("plain");
    assert!(
        recording
            .events_of(plain)
            .iter()
            .any(|event| event.size == 60)
    );
}
