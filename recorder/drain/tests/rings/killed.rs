//! The drainer is killed at a random moment, in a process of its own; another one goes on. The
//! tape holds every published event once.

use crate::history::History;
use crate::map;
use crate::producing::{Process, Thread};
use crate::tapes::Content;
use heaptape_drain::{DrainError, Drainer, LeftState, Names, Settings, left_sessions, recover};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The variable that makes [`drainer_process`] a drainer.
const OUTPUT: &str = "HEAPTAPE_TEST_DRAINER_OUTPUT";

/// Not a test of its own: the process that [`a_killed_drainer_can_be_followed`] kills.
#[test]
fn drainer_process() {
    let Some(output) = std::env::var_os(OUTPUT).map(PathBuf::from) else {
        return;
    };
    let mut drainer = Drainer::create(&Settings::default(), &output).unwrap();
    drainer.create_tape(Names::new(&output)).unwrap();
    drainer.adopt_first_process();
    let mut out = std::io::stderr();
    writeln!(out, "session {}", drainer.session_path().display()).unwrap();
    loop {
        let sleep = drainer.pass();
        drainer.wait(sleep, &[]);
    }
}

pub(crate) fn start(output: &Path) -> (Child, PathBuf) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::drainer_process", "--nocapture"])
        .env(OUTPUT, output)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let session = lines
        .map(|line| line.unwrap())
        .find_map(|line| line.strip_prefix("session ").map(PathBuf::from))
        .expect("the drainer names its session");
    (child, session)
}

/// Publishes the history, or as much as there is room for when nobody drains it any more; how many
/// of its records are published.
fn publish_until_stuck(thread: &mut Thread<'_>, history: &History) -> usize {
    let patience = Some(Duration::from_millis(300));
    let stuck = history
        .0
        .iter()
        .position(|item| !thread.publish_item(item, patience));
    stuck.unwrap_or(history.0.len())
}

fn kill_after(microseconds: u64, seed: u64, other_name: bool) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.tape");
    let (mut child, path) = start(&output);
    let session = map(&path);
    let process = Process::begin(&session);
    let history = History::random(seed, 300_000);
    let mut thread = Thread::begin(&session, &process, 0);
    let published = std::thread::scope(|scope| {
        let producer = scope.spawn(|| publish_until_stuck(&mut thread, &history));
        std::thread::sleep(Duration::from_micros(microseconds));
        assert!(matches!(
            recover(&path, None),
            Err(DrainError::SessionInUse { .. })
        ));
        child.kill().unwrap();
        child.wait().unwrap();
        producer.join().unwrap()
    });
    let left = left_sessions();
    let left = left
        .iter()
        .find(|left| left.path == path)
        .expect("the session is listed");
    let LeftState::Recoverable { output: told, .. } = &left.state else {
        panic!("{left:?}");
    };
    assert_eq!(*told, output);
    assert_eq!(left.live_processes, [std::process::id()]);

    let target = if other_name {
        folder.path().join("y.tape")
    } else {
        output.clone()
    };
    let outcome = recover(&path, Some(&target)).unwrap();
    assert!(!path.exists(), "the session is removed");
    assert_eq!(outcome.tapes.len(), 1);
    assert_eq!(outcome.tapes[0].path.as_ref(), Some(&target));
    let content = Content::read(&target);
    let expected = History(history.0[..published].to_vec());
    content.assert_histories(std::slice::from_ref(&expected));
    let counted = content.end.unwrap();
    let events = counted.allocs + counted.frees + counted.reallocs + counted.maps;
    assert_eq!(events, expected.events().count() as u64);
    assert_eq!(counted.lost, 0);
    assert!(published > 1000, "only {published}");
}

#[test]
fn a_killed_drainer_can_be_followed() {
    for (number, microseconds) in [0, 300, 900, 2000, 5000, 12_000, 30_000, 70_000]
        .iter()
        .enumerate()
    {
        kill_after(*microseconds, number as u64, number % 2 == 1);
    }
}
