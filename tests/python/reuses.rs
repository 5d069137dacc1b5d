//! Memory that the interpreter uses again (`run --py-reuse`): then each block is whose
//! `tracemalloc` says it is.

use super::against::{assert_equal, compared_with_options};
use super::{Interpreter, interpreters, script, usual_interpreter};
use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Room, repeats};
use std::process::Command;

/// The part of the bytes that must be under the same line, and under the same traceback.
const LEAST: f64 = 0.9997;

/// Interpreters that tell of their objects.
fn telling() -> Vec<Interpreter> {
    let is_telling = |interpreter: &Interpreter| {
        let minor = interpreter.version.strip_prefix("3.").unwrap();
        minor.parse::<u32>().unwrap() >= 13
    };
    let all = interpreters().into_iter();
    let telling: Vec<Interpreter> = all.filter(is_telling).collect();
    if telling.is_empty() {
        eprintln!("SKIPPED: no interpreter here tells of memory that it uses again (3.13 does)");
    }
    telling
}

/// Those, and those that tell their `tracemalloc`: 3.9, where that is a function of a library.
fn telling_while_traced() -> Vec<Interpreter> {
    let is_shared = |interpreter: &Interpreter| {
        let asks = "import sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED'))";
        let mut command = Command::new(&interpreter.program);
        let said = command.args(["-c", asks]).output().unwrap();
        said.stdout == b"1\n"
    };
    let all = interpreters().into_iter();
    let old = all.filter(|interpreter| interpreter.version == "3.9" && is_shared(interpreter));
    telling().into_iter().chain(old).collect()
}

#[test]
fn objects() {
    for interpreter in telling_while_traced() {
        let room = Room::new();
        let both = compared_with_options(&room, &interpreter, &["--py-reuse"], &["objects.py"]);
        let what = format!("objects.py, {}", interpreter.program.display());
        assert_equal(&what, &both, LEAST);
        let info = room.assert_clean("t.tape");
        assert!(number(&info, "reuses") > 1000, "{info:#}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
    }
}

#[test]
fn random_programs() {
    let room = Room::new();
    for interpreter in telling_while_traced() {
        for seed in 0..repeats(2) {
            let seed = seed.to_string();
            let program = ["random_program.py", &seed];
            let both = compared_with_options(&room, &interpreter, &["--py-reuse"], &program);
            let what = format!("seed {seed}, {}", interpreter.program.display());
            // One block of the harness's is as much as the rest of what so small a one may differ.
            assert_equal(&what, &both, LEAST - 0.0006);
        }
    }
}

/// Memory is one object's after the other's: `object` names each of them in its time, and the block
/// dies once.
#[test]
fn each_user_has_its_time() {
    for interpreter in telling() {
        let room = Room::new();
        let script = script("used_again.py");
        let argv = [interpreter.program.as_path(), script.as_path()];
        let options = ["--py-module", "--py-reuse"];
        let said = room.record("t.tape", &options, &argv).success();
        let block = said.stdout.trim_end();
        let mut users = Vec::new();
        for mark in ["mark:first", "mark:second"] {
            let found = room.json(&["object", "t.tape", block, "--at", mark]);
            let [owner] = array(&found, "owners") else {
                panic!("{mark}: {found:#}");
            };
            let frames = array(&owner["allocated"], "frames").iter();
            let mut python = frames.filter(|frame| frame["language"] == "python");
            users.push(
                python.next().unwrap()["function"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        assert_eq!(users, ["first_user", "second_user"]);
    }
}

/// An interpreter that tells nothing is recorded all the same, and the tape says so.
#[test]
fn an_interpreter_that_does_not_tell() {
    let room = Room::new();
    let interpreter = usual_interpreter();
    let argv = [interpreter.to_str().unwrap(), "-c", "print([])"];
    let said = room.record("t.tape", &["--py-reuse"], &argv).success();
    assert_eq!(said.stdout, "[]\n");
    let info = room.assert_clean("t.tape");
    let telling = telling().iter().any(|one| one.program == interpreter);
    assert_eq!(number(&info, "reuses") > 0, telling, "{info:#}");
    let told = array(&info, "not_recorded").iter();
    let told = told.filter(|one| text(one, "reason").contains("from 3.13 on"));
    assert_eq!(told.count(), usize::from(!telling), "{info:#}");
}

/// Whose memory it is, frames of Python tell: without them there is nothing to record.
#[test]
fn frames_of_python_are_needed() {
    for without in [&["--no-python"][..], &["--stacks", "native"]] {
        let room = Room::new();
        let options = [&["--py-reuse"], without].concat();
        let said = room.record("t.tape", &options, &["true"]);
        assert_eq!(said.code, 125, "{said:?}");
        assert!(said.stderr.contains("--py-reuse"), "{said:?}");
        assert!(room.tapes().is_empty(), "{without:?}");
    }
}
