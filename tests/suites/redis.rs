//! redis-server, which brings jemalloc, under redis-benchmark: every answer arrives, the data are
//! the same, and so is its end.

use super::{LIMIT, events_of_whole_tape, whole_tapes};
use heaptape_tests::{Room, Running, build, wait_for};
use std::fmt::Write;

/// Requests of each kind.
const REQUESTS: u32 = 50_000;
/// Kinds of requests; their keys are fixed, so that the data do not depend on chance.
const KINDS: &str = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,\
                     lrange_100,mset";

/// What a server did, and how long the benchmark of it took, in seconds.
#[derive(Debug, PartialEq)]
struct Served {
    /// Kinds of requests that the benchmark has figures of.
    kinds: Vec<String>,
    /// Answers to commands of every type of data.
    replies: String,
    keys: String,
    digest: String,
    code: i32,
    /// Its log, without times and process ids.
    log: Vec<String>,
}

/// Commands with known keys and values: 20,000 in all.
fn commands() -> String {
    let mut text = String::new();
    for i in 0..2_000 {
        let value = "v".repeat(i % 700 + 1);
        writeln!(text, "SET text:{i} {value}").unwrap();
        writeln!(text, "APPEND text:{} {value}", i / 2).unwrap();
        writeln!(text, "SETRANGE bits:{} {} {value}", i % 50, i * 7).unwrap();
        writeln!(text, "RPUSH list:{} {value} {i}", i % 20).unwrap();
        writeln!(text, "SADD set:{} {i} member:{i}", i % 30).unwrap();
        writeln!(text, "ZADD order:{} {} member:{i}", i % 10, i * 13 % 997).unwrap();
        writeln!(text, "HSET hash:{} field:{i} {value}", i % 40).unwrap();
        writeln!(text, "XADD stream:{} {}-1 field {value}", i % 5, i + 1).unwrap();
        writeln!(
            text,
            "EVAL \"return #redis.call('GET', KEYS[1])\" 1 text:{i}"
        )
        .unwrap();
        writeln!(text, "DEL text:{}", i * 3).unwrap();
    }
    text
}

/// `redis-cli ARGUMENTS…`, its answer.
fn ask(room: &Room, arguments: &[&str]) -> String {
    let outcome = room.bare(&[&["redis-cli", "-s", "redis.sock"], arguments].concat());
    outcome.success().stdout.trim().to_owned()
}

/// The server has answered, and not ended.
fn wait_until_ready(room: &Room, server: &mut Running) {
    wait_for("redis-server", || {
        assert!(server.is_running(), "{}", server.stdout_so_far());
        let outcome = room.bare(&["redis-cli", "-s", "redis.sock", "ping"]);
        (outcome.stdout == "PONG\n").then_some(())
    });
}

/// `4711:M 30 Nov 2026 04:29:45.440 # User requested shutdown...` → `M # User requested…`
fn without_times(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(':')?;
    let words: Vec<&str> = rest.split(' ').collect();
    let said = words.get(5..)?.join(" ");
    let varies = ["pid", "Fork CoW"].iter().any(|word| said.contains(word));
    (!varies).then(|| format!("{} {said}", words[0]))
}

/// Serves the benchmark and the commands. Seconds that the benchmark took.
fn serve(room: &Room, tape: Option<&str>) -> (Served, f64) {
    let folder = room.path("");
    let mut argv = vec!["redis-server", "--port", "0", "--unixsocket", "redis.sock"];
    argv.extend(["--save", "", "--enable-debug-command", "yes"]);
    argv.extend(["--dir", folder.to_str().unwrap()]);
    let mut command = match tape {
        Some(tape) => room.record_command(tape, &[], &argv),
        None => {
            let mut command = room.command(argv[0]);
            command.args(&argv[1..]);
            command
        }
    };
    let mut server = room.start(&mut command);
    wait_until_ready(room, &mut server);

    let requests = REQUESTS.to_string();
    let mut benchmark = room.command("redis-benchmark");
    benchmark.args(["-s", "redis.sock", "-n", &requests, "-c", "20", "-d", "100"]);
    benchmark.args(["--csv", "-t", KINDS]);
    let figures = room.start(&mut benchmark).finish_within(LIMIT).success();
    assert_eq!(figures.stderr, "", "redis-benchmark complains");
    let mut seconds = 0.0;
    let mut kinds = Vec::new();
    for row in figures.stdout.lines().skip(1) {
        // "SET","38759.69",…
        let columns: Vec<&str> = row.split('"').collect();
        kinds.push(columns[1].to_owned());
        let rate: f64 = columns[3].parse().unwrap();
        seconds += f64::from(REQUESTS) / rate;
    }

    let mut pipe = room.command("redis-cli");
    pipe.args(["-s", "redis.sock", "--pipe"]);
    pipe.stdin(std::fs::File::open(room.path("commands")).unwrap());
    let replies = room.run(&mut pipe).success().stdout;
    assert!(replies.contains("errors: 0, replies: 20000"), "{replies}");

    ask(room, &["bgsave"]);
    wait_for("the background save", || {
        let state = ask(room, &["info", "persistence"]);
        let is_done = state.contains("rdb_bgsave_in_progress:0");
        (is_done && state.contains("rdb_last_bgsave_status:ok")).then_some(())
    });
    let file = room.bare(&["redis-check-rdb", "dump.rdb"]).success();
    assert!(file.stdout.contains("RDB looks OK"), "{}", file.stdout);
    std::fs::remove_file(room.path("dump.rdb")).unwrap();

    let keys = ask(room, &["dbsize"]);
    let digest = ask(room, &["debug", "digest"]);
    room.bare(&["redis-cli", "-s", "redis.sock", "shutdown", "nosave"])
        .success();
    let outcome = server.finish();
    assert!(outcome.stderr.is_empty(), "{outcome:#?}");
    let served = Served {
        kinds,
        replies,
        keys,
        digest,
        code: outcome.code,
        log: outcome.stdout.lines().filter_map(without_times).collect(),
    };
    (served, seconds)
}

#[test]
#[ignore = "takes minutes: .ci/long runs it"]
fn a_server_under_its_benchmark() {
    for program in ["redis-server", "redis-benchmark", "redis-cli"] {
        build::needed_program(program, "redis-server");
    }
    let room = Room::new();
    room.write("commands", commands());
    let (bare, bare_seconds) = serve(&room, None);
    assert_eq!(bare.code, 0, "{bare:#?}");
    assert_eq!(bare.kinds.len(), KINDS.split(',').count() + 1, "{bare:#?}");
    assert_eq!(bare.digest.len(), 40, "{bare:#?}");
    let (recorded, seconds) = serve(&room, Some("t.tape"));
    assert_eq!(recorded, bare, "recorded (left) differs from bare");
    let events = events_of_whole_tape(&room, "t.tape");
    assert!(events > 100_000, "{events}");
    room.wait_for_processes();
    let tapes = whole_tapes(&room);
    println!(
        "redis-server: {} requests in {bare_seconds:.2} s bare, {seconds:.2} s recorded: \
         throughput × {:.2}; {events} allocations, {tapes} tapes",
        u64::from(REQUESTS) * bare.kinds.len() as u64,
        bare_seconds / seconds
    );
}
