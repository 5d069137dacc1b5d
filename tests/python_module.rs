//! `heaptape.mark` of the Python module: bare, recorded, with threads and children; and the same
//! without the module, through ctypes.

use heaptape_tests::answers::{array, number, text};
use heaptape_tests::pythons::pythons;
use heaptape_tests::{Outcome, Room, repository};
use serde_json::Value;

/// Marks by several threads, by a child, and with names of all kinds.
const SCRIPT: &str = r#"
import os, sys, threading
import heaptape
print("ctypes" in sys.modules)
heaptape.mark("begin")
def work(name):
    for _ in range(50):
        heaptape.mark(name)
threads = [threading.Thread(target=work, args=("thread%d" % i,)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if os.fork() == 0:
    keep = [bytearray(5000) for _ in range(10)]
    heaptape.mark("child")
    os._exit(0)
os.wait()
for name in ["", "\xe4 \u4e2d", "\udcff", "cut\0off", "end"]:
    print(heaptape.mark(name))
"#;
const SAID: &str = "False\nNone\nNone\nNone\nNone\nNone\n";

/// What the README says for scripts without the module.
const WITHOUT_MODULE: &str = r#"import ctypes
mark = getattr(ctypes.PyDLL(None), "heaptape_mark", lambda name: None)
mark(b"loaded")
"#;

/// The names of a tape's marks, in the order of time.
fn marks(info: &Value) -> Vec<&str> {
    let marks = array(info, "marks").iter();
    marks.map(|mark| text(mark, "name")).collect()
}

fn expect(outcome: &Outcome, said: &str) {
    let (code, stderr) = (outcome.code, outcome.stderr.as_str());
    assert_eq!((code, stderr), (0, ""), "{outcome:?}");
    assert_eq!(outcome.stdout, said);
}

#[test]
fn a_script_that_is_not_recorded_does_not_notice() {
    let room = Room::new();
    for python in pythons() {
        let mut command = room.command(&python);
        let module = repository().join("replay/python");
        command.args(["-B", "-c", SCRIPT]).env("PYTHONPATH", module);
        expect(&room.run(&mut command), SAID);
        expect(&room.bare(&[&python, "-c", WITHOUT_MODULE]), "");
        // Turned off, the module is there all the same.
        let argv = [&python, "-c", SCRIPT];
        let mut command = room.record_command("off.tape", &["--py-module"], &argv);
        expect(&room.run(command.env("HEAPTAPE", "0")), SAID);
    }
}

#[test]
fn marks_of_all_threads_and_of_children_are_in_their_tapes() {
    let room = Room::new();
    for python in pythons() {
        let argv = [&python, "-c", SCRIPT];
        expect(
            &room.record("t.tape", &["--py-module", "--force"], &argv),
            SAID,
        );
        let info = room.assert_clean("t.tape");
        let all = marks(&info);
        assert_eq!(all.len(), 1 + 4 * 50 + 5, "{all:?}");
        assert_eq!(all[0], "begin");
        for thread in ["thread0", "thread1", "thread2", "thread3"] {
            assert_eq!(all.iter().filter(|name| **name == thread).count(), 50);
        }
        assert_eq!(all[201..], ["", "ä 中", "\\udcff", "cut", "end"]);
        let child = info["children"][0].as_str().unwrap();
        assert_eq!(marks(&room.json(&["info", child])), ["child"]);
        std::fs::remove_file(room.path(child)).unwrap();
        // A mark is a moment: what was allocated behind it was not there at it.
        let at = |moment: &str| number(&room.json(&["stats", "t.tape", "--at", moment]), "at_ns");
        assert!(at("mark:begin") < at("mark:thread0:50"));
        assert!(at("mark:thread0:50") < at("mark:end"));
    }
}

#[test]
fn the_module_is_there_only_when_asked_for() {
    let room = Room::new();
    for python in pythons() {
        let import = "import os\nprint(os.environ.get('PYTHONPATH'))\nimport heaptape";
        let argv = [&python, "-c", import];
        let outcome = room.record("t.tape", &["--force"], &argv);
        assert_eq!((outcome.code, &*outcome.stdout), (1, "None\n"));
        assert!(outcome.stderr.contains("No module named"), "{outcome:?}");
        let options = ["--force", "--py-module"];
        let mut command = room.record_command("t.tape", &options, &argv);
        let outcome = room.run(command.env("PYTHONPATH", "/a:/b"));
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let path = outcome.stdout.trim_end().strip_suffix(":/a:/b").unwrap();
        let module = std::fs::read(format!("{path}/heaptape.py")).unwrap();
        let source = repository().join("replay/python/heaptape.py");
        assert_eq!(module, std::fs::read(source).unwrap());
    }
}

#[test]
fn a_script_without_the_module_sets_marks_through_ctypes() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains(WITHOUT_MODULE));
    let room = Room::new();
    for python in pythons() {
        let argv = [&python, "-c", WITHOUT_MODULE];
        expect(&room.record("t.tape", &["--force"], &argv), "");
        assert_eq!(marks(&room.json(&["info", "t.tape"])), ["loaded"]);
    }
}
