//! Options of a recording, and what a program may say itself.

use crate::drainer::{Session, Setup};
use heaptape_session::layout::options;
use heaptape_session::record::{RingEvent, blob};
use std::os::unix::fs::PermissionsExt;

#[test]
fn address_space_is_recorded_when_asked_for() {
    for is_asked in [true, false] {
        let session = Session::new(
            "maps",
            Setup {
                options: if is_asked { options::MMAP } else { 0 },
                ..Setup::default()
            },
        );
        let program = session.compile("maps.c", "maps");
        let recording = session.record(&mut session.command(program));
        let text = recording.text();
        assert_eq!(recording.output.status.code(), Some(0), "{text}");
        let lines = text.lines().filter_map(|line| line.strip_prefix("map "));
        let expected: Vec<[u64; 5]> = lines
            .map(|line| {
                let mut numbers = line.split(' ').map(|word| word.parse().expect("a number"));
                std::array::from_fn(|_| numbers.next().expect("five numbers"))
            })
            .collect();
        let events = recording.events_of(&recording.processes[0]);
        let maps = events.iter().filter(|event| event.operation >= 96);
        let got: Vec<[u64; 5]> = maps
            .map(|event| {
                let operation = u64::from(event.operation);
                [
                    operation,
                    event.old_address,
                    event.old_size,
                    event.address,
                    event.size,
                ]
            })
            .collect();
        assert_eq!(expected.len(), 12);
        assert_eq!(got, if is_asked { expected } else { Vec::new() });
    }
}

#[test]
fn small_allocations_can_be_left_out_and_frees_stay() {
    let session = Session::new(
        "small",
        Setup {
            size_min: 25,
            ..Setup::default()
        },
    );
    let program = session.compile("calls.c", "calls");
    let recording = session.record(&mut session.command(program));
    let events = recording.events_of(&recording.processes[0]);
    let born = events.iter().filter(|event| event.address != 0);
    let sizes: Vec<u64> = born.map(|event| event.size).collect();
    assert_eq!(sizes, [100, 5000, 81, 128, 33, 5 << 30]);
    // A block that becomes too small by realloc dies, for the tape: twice here, and the frees of
    // blocks that were never recorded stand.
    let ended = events.iter().filter(|event| event.operation == 36).count();
    assert_eq!(ended, 3);
    assert!(events.iter().filter(|event| event.operation == 32).count() > 8);
}

#[test]
fn a_paused_recording_sees_frees_only() {
    let session = Session::new(
        "paused",
        Setup {
            options: options::START_PAUSED,
            ..Setup::default()
        },
    );
    let program = session.compile("calls.c", "calls");
    let recording = session.record(&mut session.command(program));
    let events = recording.events_of(&recording.processes[0]);
    assert!(events.iter().all(|event| event.operation >> 5 == 1));
    assert!(events.iter().filter(|event| event.operation == 32).count() > 8);
}

#[test]
fn frees_carry_stacks_when_asked_for() {
    for chosen in [0, options::FREE_STACKS, options::NO_NATIVE_STACKS] {
        let session = Session::new(
            "free",
            Setup {
                options: chosen,
                ..Setup::default()
            },
        );
        let program = session.compile("calls.c", "calls");
        let recording = session.record(&mut session.command(program));
        let events = recording.events_of(&recording.processes[0]);
        for event in events {
            let is_free = event.operation >> 5 == 1;
            let expected = chosen == options::FREE_STACKS || (chosen == 0 && !is_free);
            assert_eq!(event.stack != 0, expected, "{chosen}: {event:?}");
        }
    }
}

#[test]
fn marks_and_domains_of_the_program() {
    let session = Session::new("api", Setup::default());
    let program = session.compile("api.c", "api");
    let bare = crate::target::run(&mut std::process::Command::new(&program));
    assert_eq!(
        bare.stdout,
        b"failed: heaptape_domain(\"pool\") == pool && pool != other\n"
    );
    let recording = session.record(&mut session.command(program));
    assert_eq!(recording.text(), "domains 16 17\n");
    let [process, child] = &recording.processes[..] else {
        panic!("{:?}", recording.processes)
    };
    let marks = recording.blobs_of(process, blob::MARK);
    assert_eq!(marks, [&b"first"[..], b"second"]);
    let names = [&b"\x10\0pool"[..], b"\x11\0other"];
    assert_eq!(recording.blobs_of(process, blob::DOMAIN), names);
    assert_eq!(recording.blobs_of(child, blob::DOMAIN), names);
    let events = recording.events_of(process);
    let custom = events.iter().filter(|event| event.domain != 0);
    let got: Vec<RingEvent> = custom
        .map(|event| RingEvent {
            ticks: 0,
            end_ticks: 0,
            stack: 0,
            ..*event
        })
        .collect();
    let event = |operation, domain, old_address, address, size| RingEvent {
        operation,
        domain,
        old_address,
        address,
        size,
        ..RingEvent::default()
    };
    assert_eq!(
        got,
        [
            event(9, 16, 0, 4096, 100),
            event(73, 16, 4096, 8192, 6_000_000_000),
            event(9, 17, 0, 12288, 5),
            event(41, 16, 8192, 0, 0),
            event(41, 17, 12288, 0, 0),
        ]
    );
    assert_eq!(recording.events_of(child).len(), 1);
}

#[test]
fn without_a_launcher_a_drainer_is_started() {
    let session = Session::new("alone", Setup::default());
    let program = session.compile("many.c", "many");
    let drainer = session.folder().join("drainer");
    let folder = session.folder().display();
    // Stands for `heaptape drain`: says what it was given, and where the session is.
    let script = format!(
        "#!/bin/sh\n{{ echo \"$@ ${{LD_PRELOAD-none}}\"; test -e /proc/$$/fd/7 && echo open; }} \
         > {folder}/said\necho {folder}/session >&3\n"
    );
    std::fs::write(&drainer, script).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&drainer, mode).expect("rights");
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "exec 7</dev/null; LD_PRELOAD=$0 exec \"$1\" 10"])
        .args([crate::target::library(), &program])
        .env("HEAPTAPE_OUT", "some.tape")
        .env("HEAPTAPE_DRAINER", &drainer);
    let recording = session.record(&mut command);
    assert_eq!(recording.text(), "done 10\n");
    assert_eq!(recording.events_of(&recording.processes[0]).len(), 20);
    let said = std::fs::read_to_string(session.folder().join("said")).expect("it ran");
    assert_eq!(said, "drain --out some.tape --ready-fd 3 none\n");
    // One that cannot be started, or does not answer, is no harm.
    for (name, text) in [
        ("silent", "#!/bin/sh\nexit 1\n"),
        ("broken", "#!/nonexistent\n"),
    ] {
        let path = session.folder().join(name);
        std::fs::write(&path, text).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("rights");
        command.env("HEAPTAPE_DRAINER", &path);
        let output = crate::target::run(&mut command);
        assert_eq!(
            (output.stdout, output.stderr),
            (b"done 10\n".to_vec(), Vec::new())
        );
    }
}
