//! Text for people: on a terminal no line is wider than it, into a file everything is whole; and
//! one of a thing is not called many.

use heaptape_tests::{Room, build, heaptape_path};
use unicode_width::UnicodeWidthStr;

const TAPE: &str = "a folder with a name of some length/größe/tape of a long name.tape";
/// A part of a name that narrow terminals cut out.
const LONG_NAME: &str =
    "a_namespace_of_a_long_name::and_another_one::MapOfManyVectors<std::__cxx11::basic_string<char";

/// Records `targets/wide.cpp`.
fn recorded() -> Room {
    let room = Room::new();
    std::fs::create_dir_all(room.path(TAPE).parent().unwrap()).unwrap();
    let program = build::cpp("wide.cpp", &["-std=c++17"]);
    room.record(TAPE, &["--mmap"], &[program]).success();
    room
}

/// Every verb that answers in text, behind its name the tape's place (`@` for it).
const QUESTIONS: &[&str] = &[
    "info @",
    "info @ --exact",
    "stats @",
    "stats @ --exact",
    "stats @ --top 2",
    "stats @ --at end --domain all",
    "stats @ --at end --domain all --exact",
    "stats @ --at end --domain all --exact --group-by function",
    "stats @ --group-by file",
    "stats @ --group-by function",
    "stats @ --group-by module",
    "stats @ --group-by traceback",
    "stats @ --group-by thread",
    "stats @ --group-by size",
    "stats @ --group-by domain --domain all --at end",
    "stats @ --group-by kind",
    "leaks @",
    "leaks @ --group-by traceback --domain all --exact",
    "churn @",
    "churn @ --exact --domain all --top 1",
    "churn @ --group-by function",
    "churn @ --group-by traceback",
    "diff @@start @@end",
    "diff @@start @@end --domain all --exact",
    "diff @@start @@end --group-by traceback --domain all",
    "timeline @",
    "timeline @ --exact",
    "object @ 0x1008",
    "index @",
    "symbolize @",
    "verify @",
];

/// The words of a question, the tape's path in place.
fn words(question: &str) -> Vec<String> {
    let words = question.split(' ');
    words
        .map(|word| match word.strip_prefix('@') {
            Some(moment) => format!("{TAPE}{moment}"),
            None => word.to_owned(),
        })
        .collect()
}

/// What a verb writes on a terminal of `width` columns, without what it took back.
fn on_terminal(room: &Room, width: usize, question: &str) -> String {
    let script = build::needed_program("script", "bsdutils");
    let quoted = words(question);
    let quoted = quoted.iter().map(|word| format!("'{word}'"));
    let line = format!(
        "stty cols {width} rows 50; NO_COLOR=1 '{}' {}",
        heaptape_path().display(),
        quoted.collect::<Vec<_>>().join(" ")
    );
    let mut command = room.command(script);
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    command.env_remove("COLUMNS").env("TERM", "xterm");
    let text = room.run(&mut command).success().stdout.replace('\r', "");
    // Progress bars erase their line.
    text.rsplit("\x1b[2K").next().unwrap().to_owned()
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let room = recorded();
    for width in [60, 80, 100] {
        for question in QUESTIONS {
            let text = on_terminal(&room, width, question);
            assert!(text.lines().count() > 0, "{question}: nothing");
            for line in text.lines() {
                let columns = line.width();
                assert!(
                    columns <= width,
                    "{question}: {columns} columns of {width}: {line}"
                );
            }
        }
    }
}

/// A chart has fewer columns, and what stands beside it goes below.
#[test]
fn charts_fit_narrow_terminals() {
    let room = recorded();
    for width in 40..=44 {
        let text = on_terminal(&room, width, "timeline @");
        let widest = text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest <= Some(width), "{width} columns: {text}");
        assert!(text.contains("in one interval"), "{text}");
    }
}

#[test]
fn a_file_gets_everything() {
    let room = recorded();
    let text = |question: &str| room.heaptape(&words(question)).success().stdout;
    for question in [
        "stats @ --group-by function",
        "churn @ --group-by function",
        "diff @@start @@peak --group-by function",
    ] {
        let text = text(question);
        assert!(text.contains(LONG_NAME), "{question}: {text}");
        assert!(text.lines().next().unwrap().contains(TAPE), "{text}");
        assert!(!text.contains('…'), "{question}: {text}");
        assert!(!text.contains("wider terminal"), "{question}: {text}");
    }
    // As a shell reads it: what --domain takes.
    let pool = "domain 'a pool with a name of some length, which needs its room':";
    let stats = text("stats @ --at end");
    assert!(stats.contains(pool), "{stats}");
    let churn = text("churn @");
    let heading = churn.lines().nth(2).unwrap();
    for column in ["temporary", "%", "mean life", "longest"] {
        assert!(heading.contains(column), "{churn}");
    }
    // A narrow terminal says what it does without.
    let narrow = on_terminal(&room, 60, "churn @");
    assert!(narrow.contains("(a wider terminal shows: %"), "{narrow}");
}

/// `1 blocks` and its like, in a text.
fn miscounted(text: &str) -> Option<String> {
    let wrong = |pair: &&[&str]| {
        let noun = pair[1].trim_end_matches(|letter: char| !letter.is_alphanumeric());
        let is_one = ["1", "+1", "-1", "(1"].contains(&pair[0]);
        is_one && noun.len() > 2 && noun.ends_with('s') && noun != "process"
    };
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.windows(2).find(wrong).map(|pair| pair.join(" "))
    })
}

#[test]
fn one_is_not_many() {
    assert_eq!(miscounted("7 B in 1 blocks.").as_deref(), Some("1 blocks."));
    let room = recorded();
    for question in QUESTIONS {
        let text = room.heaptape(&words(question)).success().stdout;
        assert_eq!(miscounted(&text), None, "{question}: {text}");
    }
    // One of each: a program of the smallest kind, and a tape that is damaged at one place.
    let few = ["--min-size", "1000000000", "--report"];
    let arguments = [&["run", "-o", "few.tape"], &few[..], &["--", "true"]].concat();
    let run = room.heaptape(&arguments).success();
    assert_eq!(miscounted(&run.stderr), None, "{run:?}");
    let mut bytes = std::fs::read(room.path("few.tape")).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    room.write("damaged.tape", bytes);
    for (verb, said) in [("info", "1 place ("), ("verify", "1 damaged")] {
        let text = room.heaptape(&[verb, "damaged.tape"]).stdout;
        assert!(text.contains(said), "{text}");
        assert_eq!(miscounted(&text), None, "{text}");
    }
}
