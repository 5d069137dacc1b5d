//! What a forked child inherits is what its memory has, however its parent's threads went on
//! while it was forked.

use heaptape_tests::answers::{number, rows};
use heaptape_tests::{Room, build, wait_for};

/// Nothing tells when a fork happened that the C library did not make: the first that is seen of
/// the child is its first call, and here its parent has other blocks at the same addresses then.
#[test]
fn a_parent_that_went_on_after_an_unseen_fork() {
    let program = build::c("went_on.c", &[]);
    for (how, first) in [
        ("raw", "first_takes"),
        ("twice", "first_takes"),
        ("ended", "thread_takes"),
    ] {
        let room = Room::new();
        room.record_as_bare("t.tape", &[program.to_str().unwrap(), how]);
        let tapes = room.tapes();
        let [child] = tapes
            .iter()
            .filter(|tape| *tape != "t.tape")
            .collect::<Vec<_>>()[..]
        else {
            panic!("{how}: {tapes:?}");
        };
        let info = room.assert_clean(child);
        assert_eq!(number(&info, "inherited_frees"), 200, "{how}: {info:#}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{how}: {info:#}");
        assert_eq!(info["inherited_known"], true, "{how}: {info:#}");
        let blocks = |tape: &str, moment: &str| {
            let stats = [
                "stats",
                tape,
                "--inherited",
                "--group-by",
                "function",
                "--at",
                moment,
            ];
            rows(&room.json(&stats))
        };
        let inherited = blocks(child, "start");
        assert_eq!(
            inherited.get(first),
            Some(&(20_000, 200)),
            "{how}: {inherited:#?}"
        );
        assert_eq!(inherited.get("later_takes"), None, "{how}: {inherited:#?}");
        // Its time begins when it was seen, and not with what it inherited.
        let start = format!("{}ns", number(&info, "start_ns"));
        let parents = blocks("t.tape", &start);
        assert_eq!(
            parents.get("later_takes"),
            Some(&(20_000, 200)),
            "{how}: {parents:#?}"
        );
    }
}

/// A kernel copies the memory while another thread frees and allocates: what the child frees was
/// there, whatever the copy caught of it.
#[test]
fn a_thread_that_goes_on_while_its_process_forks() {
    let room = Room::new();
    let program = build::c("went_on.c", &[]);
    let command = [program.to_str().unwrap(), "threads", "40"];
    let said = room.record("t.tape", &["--wait"], &command);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let mut children = 0;
    for line in said.stdout.lines() {
        let (pid, freed) = line.split_once(' ').unwrap();
        children += 1;
        let freed: u64 = freed.parse().unwrap();
        if freed == 0 {
            // It was forked before the thread began, and made no event: it has no tape.
            continue;
        }
        let info = room.assert_clean(&format!("t.{pid}.tape"));
        assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
        assert_eq!(number(&info, "inherited_frees"), freed, "{info:#}");
        let inherited = number(&info["inherited"], "count");
        // Those that the copy caught in the middle are told.
        let is_known = info["inherited_known"] == true;
        assert!(!is_known || inherited >= freed, "{info:#}");
    }
    assert_eq!(children, 40);
}

/// What is inherited was there, recorded or not: a parent that was paused, or small blocks that are
/// left out.
#[test]
fn blocks_that_a_parent_did_not_record() {
    let program = build::c("left_out.c", &[]);
    for options in [&["--min-size", "1000"][..], &["--start-paused"]] {
        let room = Room::new();
        let mut command = room.record_command("t.tape", options, &[program.as_path()]);
        let running = room.start(&mut command);
        let pid = wait_for("the program", || {
            let text = running.stdout_so_far();
            let line = text.strip_suffix('\n')?;
            Some(line.strip_prefix("pid ").unwrap().to_owned())
        });
        if options == ["--start-paused"] {
            room.heaptape(&["resume", &pid]).success();
        }
        room.write("1", "");
        running.finish().success();
        let tapes = room.tapes();
        let child = tapes.iter().find(|tape| *tape != "t.tape").unwrap();
        let info = room.assert_clean(child);
        assert_eq!(number(&info, "inherited_frees"), 200, "{info:#}");
        assert_eq!(number(&info, "unknown_frees"), 0, "{info:#}");
        assert_eq!(info["events"]["free"], 1, "{info:#}");
        assert_eq!(info["inherited_known"], false, "{info:#}");
    }
}
