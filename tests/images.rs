//! Which images get tapes, under which names, and who names them as its children.

use heaptape_tests::answers::{array, number, text};
use heaptape_tests::{Room, Running, build, repeats, send, wait_for};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The facts of every tape of the room.
fn facts(room: &Room) -> BTreeMap<String, Value> {
    let tapes = room.tapes().into_iter();
    tapes
        .map(|tape| (tape.clone(), room.json(&["info", "--no-index", &tape])))
        .collect()
}

fn words(info: &Value) -> usize {
    array(info, "command").len()
}

fn events(info: &Value) -> u64 {
    let of = |key| number(&info["events"], key);
    of("alloc") + of("free") + of("realloc")
}

fn children(info: &Value) -> BTreeSet<String> {
    let names = array(info, "children").iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Every tape is named by exactly one other, the root's excepted, and every name is a tape's.
fn assert_related(facts: &BTreeMap<String, Value>, root: &str) {
    let mut named: Vec<String> = facts.values().flat_map(children).collect();
    named.sort();
    let others: Vec<String> = facts.keys().filter(|tape| *tape != root).cloned().collect();
    assert_eq!(named, others, "{facts:#?}");
}

/// Programs that replace each other faster than the launcher looks: the first has the plain name,
/// and the numbers are in order of time.
#[test]
fn images_of_a_process_are_numbered_in_order_of_time() {
    for _ in 0..repeats(6) {
        let room = Room::new();
        let chain = "exec env env env env env true";
        let script = format!("({chain}) & ({chain}) & wait");
        let argv = ["sh", "-c", &script];
        room.record("t.tape", &["--no-symbolize"], &argv).success();
        room.wait_for_processes();
        let facts = facts(&room);
        assert_related(&facts, "t.tape");
        let pids: BTreeSet<u64> = facts.values().map(|info| number(info, "pid")).collect();
        let root = number(&facts["t.tape"], "pid");
        assert_eq!(pids.len(), 3, "{:?}", room.tapes());
        for pid in pids.into_iter().filter(|pid| *pid != root) {
            let first = &facts[&format!("t.{pid}.tape")];
            assert_eq!(first["command"][0], "sh", "{first:#}");
            for image in 1..=5 {
                let info = &facts[&format!("t.{pid}.{image}.tape")];
                assert_eq!((words(info), text(info, "ended_by")), (7 - image, "exec"));
            }
            // The last one allocates nothing.
            assert!(!room.path(&format!("t.{pid}.6.tape")).exists());
        }
    }
}

/// As above, for the process whose last image has the name that was asked for.
#[test]
fn images_of_the_first_process_are_numbered_in_order_of_time() {
    for _ in 0..repeats(6) {
        let room = Room::new();
        let argv = [&["env"; 12][..], &["true"]].concat();
        room.record("t.tape", &["--no-symbolize"], &argv).success();
        let facts = facts(&room);
        assert_eq!(facts.len(), 13, "{:?}", room.tapes());
        let root = &facts["t.tape"];
        assert_eq!((words(root), text(root, "ended_by")), (1, "exit:0"));
        let pid = number(root, "pid");
        for image in 1..=12 {
            let info = &facts[&format!("t.{pid}.{image}.tape")];
            assert_eq!((words(info), text(info, "ended_by")), (14 - image, "exec"));
            let next = match image {
                12 => "t.tape".to_owned(),
                image => format!("t.{pid}.{}.tape", image + 1),
            };
            assert_eq!(children(info), BTreeSet::from([next]), "{image}");
        }
    }
}

#[test]
fn images_without_events_have_no_tape() {
    let room = Room::new();
    let script = "true & for i in 1 2 3 4 5 6 7 8; do /bin/true; done; /bin/echo a; wait";
    let argv = ["sh", "-c", script];
    room.record("t.tape", &["--no-symbolize"], &argv).success();
    room.wait_for_processes();
    let facts = facts(&room);
    assert_related(&facts, "t.tape");
    assert!(facts.len() > 1, "{:?}", room.tapes());
    assert!(facts.values().all(|info| events(info) > 0), "{facts:#?}");
    // The command's own is always there.
    let room = Room::new();
    room.record("t.tape", &["--no-symbolize"], &["true"])
        .success();
    assert_eq!(room.tapes(), ["t.tape"]);
    assert_eq!(text(&room.json(&["info", "t.tape"]), "ended_by"), "exit:0");
}

/// A program without events whose child makes some after its end: the child has its parent.
#[test]
fn a_program_without_events_has_a_tape_when_its_child_has() {
    for ending in ["exit", "exec"] {
        let room = Room::new();
        let program = build::c("quiet.c", &[]);
        let program = program.to_str().unwrap();
        let script = format!("'{program}' {ending}; exit 4");
        let argv = ["sh", "-c", &script];
        let outcome = room.record("t.tape", &["--wait", "--no-symbolize"], &argv);
        assert_eq!(outcome.code, 4, "{outcome:?}");
        let facts = facts(&room);
        assert_related(&facts, "t.tape");
        let is_child = |info: &&Value| number(&info["events"], "alloc") == 7;
        let child = facts.values().find(is_child).unwrap();
        assert_eq!(text(child, "ended_by"), "exit:3", "{child:#}");
        let of_quiet = |info: &&Value| events(info) == 0;
        assert_eq!(facts.values().filter(of_quiet).count(), 1, "{facts:#?}");
    }
}

/// The tape of the last image begins late: what is said of it at the end tells when, since the
/// moments are those of the recording.
#[test]
fn the_summary_of_a_late_image_says_when_it_began() {
    let room = Room::new();
    let script = "sleep 0.3; exec env true";
    let arguments = ["run", "--report", "-o", "t.tape", "--", "sh", "-c", script];
    let said = room.heaptape(&arguments).success().stderr;
    let info = room.heaptape(&["info", "t.tape"]).success().stdout;
    assert_eq!(text(&room.json(&["info", "t.tape"]), "ended_by"), "exit:0");
    let [in_summary, in_info] = [&said, &info].map(|text| {
        let mut lines = text.lines().map(str::trim_start);
        let line = lines.find_map(|line| line.strip_prefix("duration"));
        line.unwrap_or_else(|| panic!("{text}")).trim()
    });
    assert!(in_summary.contains(" (from "), "{said}");
    assert!(in_summary.ends_with(" of the recording on)"), "{said}");
    assert_eq!(in_summary, in_info);
}

/// Runs a shell with children before and after the launcher is killed, and recovers.
fn recover_family(output: &str) {
    let room = Room::new();
    room.bare(&["mkfifo", "go"]).success();
    let script = "/bin/echo a; /bin/echo b; read x < go; /bin/echo c; exit 5";
    let argv = ["env", "sh", "-c", script];
    let running: Running = room.start(&mut room.record_command("k.tape", &[], &argv));
    // Both children's tapes and the first image's are finished, and the shell's is begun.
    wait_for("the first tapes", || {
        let is_finished = |tape: &String| {
            let verified = room.heaptape(&["info", "--no-index", "--format", "json", tape]);
            verified.stdout.contains("\"complete\": true")
                || verified.stdout.contains("\"complete\":true")
        };
        let tapes = room.tapes();
        let others = tapes.iter().filter(|tape| *tape != "k.tape");
        (others.filter(|tape| is_finished(tape)).count() == 3).then_some(())
    });
    send(running.pid(), libc::SIGKILL);
    running.finish();
    room.write("line", "x\n");
    room.bare(&["sh", "-c", "cat line > go"]).success();
    room.wait_for_processes();
    let session = room.sessions().remove(0);
    let mut arguments: Vec<&Path> = vec!["recover".as_ref(), &session];
    if output != "k.tape" {
        arguments.extend([Path::new("-o"), output.as_ref()]);
    }
    assert_eq!(room.heaptape(&arguments).code, 0);
    let facts = facts(&room);
    let root = &facts[output];
    let pid = number(root, "pid");
    let before = format!("k.{pid}.1.tape");
    assert_eq!(facts.len(), 5, "{:?}", room.tapes());
    assert_related(&facts, &before);
    assert_eq!(
        children(&facts[&before]),
        BTreeSet::from([output.to_owned()])
    );
    assert_eq!(children(root).len(), 3, "{root:#}");
    for tape in facts.keys() {
        assert_eq!(room.json(&["verify", tape])["damaged"], 0, "{tape}");
    }
}

#[test]
fn a_recovered_parent_names_children_that_were_finished_before() {
    recover_family("k.tape");
}

#[test]
fn a_recovered_tape_with_another_name_is_known_by_it() {
    recover_family("other.tape");
}

/// Processes of another pid namespace are hidden behind other ids; when all are gone, the tapes are
/// finished before the launcher returns.
#[test]
fn processes_of_a_pid_namespace_are_known_to_be_gone() {
    let room = Room::new();
    if room.bare(&["unshare", "-pf", "true"]).code != 0 {
        // Not allowed here.
        return;
    }
    let program = build::c("family.c", &[]);
    let script = format!("'{}' work 0; ls / | wc -l; exit 3", program.display());
    let argv = ["unshare", "-pf", "sh", "-c", &script];
    let arguments = [&["run", "-o", "t.tape", "--no-symbolize", "--"][..], &argv].concat();
    let outcome = room.heaptape(&arguments);
    let facts = facts(&room);
    assert_eq!(outcome.code, 3, "{outcome:?}");
    assert!(!outcome.stderr.contains("live on"), "{outcome:?}");
    let more = format!("and {} more tapes", facts.len() - 1);
    assert!(outcome.stderr.contains(&more), "{more}: {outcome:?}");
    assert!(room.sessions().is_empty(), "{:?}", room.sessions());
    for (tape, info) in &facts {
        assert_eq!(info["complete"], true, "{tape}: {info:#}");
    }
    let ended = text(&facts["t.1.tape"], "ended_by");
    assert_eq!(ended, "exit:3", "{:#}", facts["t.1.tape"]);
}

/// Names beside the name of a device are not ours, also when it leads to a file.
#[test]
fn devices_are_refused_as_tapes() {
    let room = Room::new();
    room.bare(&["ln", "-s", "/dev/stdout", "link"]).success();
    let heaptape = heaptape_tests::heaptape_path().display();
    for output in ["/dev/stdout", "/proc/self/fd/1", "link"] {
        let script = format!("'{heaptape}' run -o {output} -- echo no > file");
        let outcome = room.bare(&["sh", "-c", &script]);
        assert_eq!(outcome.code, 125, "{output}: {outcome:?}");
        let advice = format!("{output} is a device or a pipe, not a tape: name a file");
        assert!(outcome.stderr.contains(&advice), "{outcome:?}");
        assert_eq!(std::fs::read(room.path("file")).unwrap(), b"", "{output}");
    }
}

/// A long name leaves no room for a process's number: it is shortened.
#[test]
fn a_tape_with_the_longest_name_has_its_children_beside_it() {
    let room = Room::new();
    let name = format!("{}.tape", "n".repeat(250));
    let argv = ["env", "sh", "-c", "/bin/echo a; exit 0"];
    room.record(&name, &["--no-symbolize"], &argv).success();
    let facts = facts(&room);
    assert_eq!(facts.len(), 3, "{:?}", room.tapes());
    for info in facts.values() {
        assert!(events(info) > 0 && info["complete"] == true, "{info:#}");
    }
}

#[test]
fn a_missing_interpreter_is_named() {
    let room = Room::new();
    room.write("script", "#!/no/such/interpreter -x\n");
    room.bare(&["chmod", "+x", "script"]).success();
    let outcome = room.heaptape(&["run", "-o", "t.tape", "--", "./script"]);
    assert_eq!(outcome.code, 127, "{outcome:?}");
    let words = "./script: bad interpreter /no/such/interpreter";
    assert!(outcome.stderr.contains(words), "{outcome:?}");
    assert_eq!(room.tapes(), [""; 0]);
}
