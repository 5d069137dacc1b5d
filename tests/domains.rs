//! Heaps beside malloc's: a program's own pools, and mapped memory.

use heaptape_tests::answers::{number, rows};
use heaptape_tests::{Room, build};
use std::collections::BTreeMap;

fn functions(room: &Room, options: &[&str]) -> BTreeMap<String, (u64, u64)> {
    let arguments = ["stats", "t.tape", "--at", "end", "--group-by", "function"];
    rows(&room.json(&[&arguments, options].concat()))
}

#[test]
fn a_programs_own_pool_is_a_domain() {
    let room = Room::new();
    room.record_as_bare("t.tape", &[build::c("pool.c", &[])]);
    let pool = functions(&room, &["--domain", "pool"]);
    let expected = [("pool_mover", (500, 1)), ("pool_user", (30 * 24, 30))];
    assert_eq!(
        pool,
        expected
            .map(|(key, amount)| (key.to_owned(), amount))
            .into()
    );
    let native = functions(&room, &["--domain", "native"]);
    assert_eq!(native.get("malloc_user"), Some(&(7 * 64, 7)));
    assert!(
        !native.keys().any(|key| key.starts_with("pool_")),
        "{native:#?}"
    );

    // A pool's blocks lie within malloc's, so that sums have them only when they are asked for.
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "domain"];
    let domains = rows(&room.json(&stats));
    assert_eq!(domains.get("pool"), None, "{domains:#?}");
    let domains = rows(&room.json(&[&stats[..], &["--domain", "all"]].concat()));
    assert_eq!(
        domains.get("pool"),
        Some(&(500 + 30 * 24, 31)),
        "{domains:#?}"
    );
    assert!(domains.contains_key("native"), "{domains:#?}");
}

/// Who asks for the heap is told what it is not; who names several domains gets them all.
#[test]
fn what_is_no_part_of_the_heap_is_named() {
    let room = Room::new();
    let program = build::c("pool.c", &[]);
    room.record("t.tape", &["--mmap"], &[&program]).success();
    let mapped = room.json(&["stats", "t.tape", "--at", "end", "--domain", "mmap"]);
    let [bytes, count] = ["bytes", "count"].map(|member| number(&mapped["total"], member));
    let line = format!(
        "  not in the total: domain mmap: {} bytes in {count} blocks; \
         domain pool: 1,220 bytes in 31 blocks (--domain NAME, or all)",
        with_commas(bytes)
    );
    let text = |arguments: &[&str]| {
        let arguments = [&["stats", "t.tape", "--at", "end", "--exact"], arguments].concat();
        room.heaptape(&arguments).success().stdout
    };
    for options in [&[][..], &["--group-by", "domain"], &["--top", "1"]] {
        let text = text(options);
        assert_eq!(
            text.lines().last(),
            Some(line.as_str()),
            "{options:?}: {text}"
        );
    }
    let leaks = room
        .heaptape(&["leaks", "t.tape", "--exact"])
        .success()
        .stdout;
    assert_eq!(leaks.lines().last(), Some(line.as_str()), "{leaks}");
    for options in [&["--domain", "native"][..], &["--domain", "all"]] {
        let text = text(options);
        assert!(!text.contains("not in the total"), "{options:?}: {text}");
    }
    // Blocks that no filter admits are not missing.
    let large = text(&["--min-size", "1TiB"]);
    assert!(!large.contains("not in the total"), "{large}");

    let both = [
        "--domain",
        "mmap",
        "--domain",
        "pool",
        "--group-by",
        "domain",
    ];
    let both = room.json(&[&["stats", "t.tape", "--at", "end"], &both[..]].concat());
    let expected = [("mmap", (bytes, count)), ("pool", (500 + 30 * 24, 31))];
    assert_eq!(
        rows(&both),
        expected
            .map(|(key, amount)| (key.to_owned(), amount))
            .into()
    );
    let wrong = ["stats", "t.tape", "--domain", "mmap", "--domain", "none"];
    let refused = room.heaptape(&wrong);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("no domain 'none'"), "{refused:?}");
}

/// `1234567` → `1,234,567`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A domain that is called like one of every recording's is none of them, and a number that was
/// not given out is none at all.
#[test]
fn domains_with_names_that_are_taken() {
    let room = Room::new();
    let program = build::c("taken_names.c", &[]);
    room.record_as_bare("t.tape", &[program]);
    room.assert_clean("t.tape");
    let stats = ["stats", "t.tape", "--at", "end", "--group-by", "domain"];
    let mut domains = rows(&room.json(&[&stats[..], &["--domain", "all"]].concat()));
    assert!(domains.remove("native").is_some(), "{domains:#?}");
    let expected = [
        ("mmap (custom)", (100, 1)),
        ("native (custom)", (200, 1)),
        ("all (custom)", (300, 1)),
    ];
    let expected = expected.map(|(name, amount)| (name.to_owned(), amount));
    assert_eq!(domains, expected.clone().into());
    for (name, amount) in expected {
        let chosen = rows(&room.json(&[&stats[..], &["--domain", &name]].concat()));
        assert_eq!(chosen, [(name, amount)].into());
    }
    // The recording's own domain is that alone.
    let native = rows(&room.json(&[&stats[..], &["--domain", "native"]].concat()));
    assert_eq!(native.keys().collect::<Vec<_>>(), ["native"]);
    // Where it has none of that name, the program's own is meant.
    let mapped = rows(&room.json(&[&stats[..], &["--domain", "mmap"]].concat()));
    assert_eq!(mapped, [("mmap (custom)".to_owned(), (100, 1))].into());
    let gate = [
        "check",
        "t.tape@end",
        "--domain",
        "mmap",
        "--fail-on",
        "bytes>99",
    ];
    assert_eq!(room.heaptape(&gate).code, 1);
}

/// More domains than there are numbers for: no block is lost, the last ones share a domain.
#[test]
fn a_program_with_very_many_domains() {
    const OWN: u64 = 255;
    let program = build::c("domains.c", &[]);
    for count in [OWN, 256, 700] {
        let room = Room::new();
        let argv = [program.to_str().unwrap(), &count.to_string()];
        room.record_as_bare("t.tape", &argv);
        room.assert_clean("t.tape");
        let stats = ["stats", "t.tape", "--at", "end", "--group-by", "domain"];
        let domains = rows(&room.json(&[&stats[..], &["--domain", "all"]].concat()));
        for k in 0..OWN {
            let name = format!("pool-{k}");
            assert_eq!(domains.get(&name), Some(&(k + 1, 1)), "{name} of {count}");
        }
        let rest = (OWN..count).map(|k| k + 1).sum::<u64>();
        let other = (count > OWN).then_some((rest, count - OWN));
        assert_eq!(domains.get("other").copied(), other, "{count}");
    }
}

#[test]
fn mapped_memory_is_never_part_of_the_heap_unless_asked_for() {
    let room = Room::new();
    let program = build::c("pool.c", &[]);
    room.record("t.tape", &["--mmap"], &[&program]).success();
    room.assert_clean("t.tape");
    let mapped = functions(&room, &["--domain", "mmap"]);
    assert_eq!(
        mapped.get("map_user").map(|amount| amount.0),
        Some((1 << 20) - (1 << 18))
    );
    assert!(!functions(&room, &[]).contains_key("map_user"));
    let info = room.json(&["info", "t.tape"]);
    assert!(number(&info["peak"], "bytes") < 1 << 20, "{info:#}");
    // It was allocated once, and whole, whatever was left of it later.
    let churn = [
        "churn",
        "t.tape",
        "--domain",
        "mmap",
        "--group-by",
        "function",
    ];
    let churn = room.json(&churn);
    let rows = churn["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "map_user").unwrap();
    assert_eq!(number(row, "allocations"), 1);
    assert_eq!(number(row, "bytes_allocated"), 1 << 20);

    // Without the option nothing of it is recorded.
    room.record("u.tape", &[], &[&program]).success();
    let stats = ["stats", "u.tape", "--at", "end", "--domain", "mmap"];
    assert_eq!(number(&room.json(&stats)["total"], "count"), 0);
}

/// What is smaller than `--min-size` is not recorded, and its frees are no unknown ones.
#[test]
fn small_blocks_can_be_left_out() {
    let room = Room::new();
    let program = build::c("phases.c", &[]);
    room.record("t.tape", &["--min-size", "1000"], &[program])
        .success();
    let info = room.assert_clean("t.tape");
    let found = functions(&room, &[]);
    assert!(!found.contains_key("phase_a"), "{found:#?}");
    assert_eq!(found.get("told_second"), Some(&(2000, 1)));
    let stats = [
        "stats",
        "t.tape",
        "--at",
        "mark:b",
        "--group-by",
        "function",
    ];
    assert_eq!(rows(&room.json(&stats)).get("phase_b"), Some(&(40_000, 40)));
    assert!(number(&info["events"], "alloc") < 60, "{info:#}");
}

/// Stacks no deeper than `--max-depth`.
#[test]
fn stacks_can_be_limited() {
    let room = Room::new();
    let program = build::c("truth.c", &[]);
    let argv = [program.to_str().unwrap(), "3", "1", "3000", "1"];
    room.record("t.tape", &["--max-depth", "6"], &argv)
        .success();
    room.assert_clean("t.tape");
    let stats = [
        "stats",
        "t.tape",
        "--at",
        "mark:truth",
        "--group-by",
        "traceback",
    ];
    let answer = room.json(&stats);
    // Each of these is a frame on the machine's stack; others may be inlined into one.
    let starts = ["site_", "level_", "descend"];
    let depths = answer["rows"].as_array().unwrap().iter().map(|row| {
        let names = heaptape_tests::answers::functions(row);
        names
            .iter()
            .filter(|name| starts.iter().any(|start| name.starts_with(start)))
            .count()
    });
    assert_eq!(depths.max(), Some(6));
}
