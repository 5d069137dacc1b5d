//! Stacks of Python and native frames, one between the other, in every report.

use crate::tape::{Folder, Tape, app, python};
use heaptape_format::header::PYTHON_FRAMES;
use heaptape_format::scan::{Found, Scan};
use heaptape_format::tables::{CodeObject, Frame};
use heaptape_format::{ChunkKind, TapeHeader};
use serde_json::{Value, json};
use std::time::SystemTime;

const SOURCE: &str = "import shop\n\nclass Shop:\n  def order(self):\n    self.all = [self]\n";

/// A program of Python: `<module>` calls `Shop.order`, which calls itself once.
struct Program {
    folder: Folder,
    tape: Tape,
    file: String,
}

impl Program {
    fn new() -> Self {
        let folder = Folder::new();
        let path = folder.path("shop.py");
        std::fs::write(&path, SOURCE).unwrap();
        let file = path.to_str().unwrap().to_owned();
        let mut tape = Tape::new();
        // Else its lines were changed after the recording.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        tape.start_realtime_ns = now.unwrap().as_nanos() as u64 + 1_000_000_000;
        tape.symbol(0x10, &[("PyObject_Malloc", "", 0)]);
        tape.symbol(0x20, &[("eval", "/py/ceval.c", 77)]);
        tape.symbol(0x30, &[("main", "/py/main.c", 5)]);
        let code = |number, name: &str, first_line, line_table: &[u8]| CodeObject {
            number,
            form: 2,
            first_line,
            file: file.clone(),
            name: name.to_owned(),
            line_table: line_table.to_vec(),
        };
        tape.codes = vec![
            code(1, "<module>", 1, &[2, 0, 2, 2]),
            code(2, "Shop.order", 4, &[4, 1, 2, 0x80]),
        ];
        let module = [app(0x20), python(1, 1), app(0x20), app(0x30)];
        let order = [&[app(0x10), app(0x20), python(2, 0)][..], &module].concat();
        let again = [&[app(0x10), app(0x20), python(2, 1)][..], &order].concat();
        let stacks: [(&[Frame], u64); 6] = [
            (&order, 100),
            (&again, 50),
            (&[app(0x10), app(0x30)], 7),
            (&[python(2, 2), python(1, 0)], 5),
            (&[python(9, 4), app(0x30)], 3),
            (&[], 1),
        ];
        for (place, (frames, size)) in (1..).zip(stacks) {
            let stack = tape.stack(0, frames);
            tape.alloc(0, place * 10, place * 0x1000, size, stack);
        }
        Self { folder, tape, file }
    }

    fn write(self) -> Self {
        self.tape.write(&self.folder.path("x.tape"));
        self
    }

    /// Keys and bytes of the answer to `stats`, the largest first.
    fn rows(&self, args: &[&str]) -> Vec<(String, u64)> {
        let json = self.folder.json(&[&["stats", "x.tape"], args].concat());
        let rows = json["rows"].as_array().unwrap().iter();
        let row = |row: &Value| {
            let key = row["key"].as_str().unwrap().replace(&self.file, "S");
            (key, row["bytes"].as_u64().unwrap())
        };
        rows.map(row).collect()
    }

    fn expect(&self, args: &[&str], expected: &[(&str, u64)]) {
        let expected: Vec<(String, u64)> = expected
            .iter()
            .map(|&(key, bytes)| (key.to_owned(), bytes))
            .collect();
        assert_eq!(self.rows(args), expected, "{args:?}");
    }
}

#[test]
fn keys_come_from_the_most_recent_frame_of_python() {
    let program = Program::new().write();
    let python = |args: &[&'static str]| [&["--lang", "python", "--group-by"], args].concat();
    let lines = [
        ("S:5", 150),
        ("<unknown>", 8),
        ("S:0", 5),
        ("[python]+0x9", 3),
    ];
    program.expect(&["--lang", "python"], &lines);
    program.expect(
        &python(&["file"]),
        &[("S", 155), ("<unknown>", 8), ("[python]", 3)],
    );
    program.expect(
        &python(&["function"]),
        &[("Shop.order", 155), ("<unknown>", 8), ("[python]+0x9", 3)],
    );
    program.expect(
        &python(&["module"]),
        &[("shop.py", 155), ("<unknown>", 8), ("[python]", 3)],
    );
    program.expect(
        &python(&["traceback"]),
        &[
            ("Shop.order (S:5) < <module> (S:3)", 100),
            ("Shop.order (S:5) < Shop.order (S:5) < <module> (S:3)", 50),
            ("<unknown>", 8),
            ("Shop.order (S:0) < <module> (S:1)", 5),
            ("[python]+0x9", 3),
        ],
    );
    // Any language: the interpreter's own function called the allocator.
    let any = [
        ("/py/ceval.c:77", 150),
        ("/py/main.c:5", 7),
        ("S:0", 5),
        ("[python]+0x9", 3),
        ("<unknown>", 1),
    ];
    program.expect(&[], &any);
    let native = [
        ("/py/ceval.c:77", 150),
        ("/py/main.c:5", 10),
        ("<unknown>", 6),
    ];
    program.expect(&["--lang", "native"], &native);
    let tracebacks = program.rows(&["--lang", "native", "--group-by", "traceback"]);
    assert!(
        tracebacks.iter().all(|(key, _)| !key.contains("shop")),
        "{tracebacks:?}"
    );
}

#[test]
fn each_frame_of_python_may_count() {
    let program = Program::new().write();
    let cumulative = ["--lang", "python", "--cumulative"];
    program.expect(
        &cumulative,
        &[
            ("S:5", 150),
            ("S:3", 150),
            ("<unknown>", 8),
            ("S:1", 5),
            ("S:0", 5),
            ("[python]+0x9", 3),
        ],
    );
    let often = [
        &cumulative[..],
        &["--tracemalloc-compat", "--group-by", "function"],
    ]
    .concat();
    program.expect(
        &often,
        &[
            ("Shop.order", 205),
            ("<module>", 155),
            ("<unknown>", 8),
            ("[python]+0x9", 3),
        ],
    );
    // In the order of tracemalloc a filter sees the frames of Python alone.
    let include = |pattern: &'static str, more: &[&'static str]| {
        let first = ["--lang", "python", "--include", pattern];
        program.rows(&[&first, more].concat())
    };
    assert_eq!(include("*/ceval.c", &["--all-frames"]), []);
    assert_eq!(include("*/shop.py:3", &[]), []);
    assert_eq!(
        include("*/shop.py:3", &["--all-frames"]),
        [("S:5".to_owned(), 150)]
    );
    assert_eq!(
        include("<unknown>", &["--all-frames"]),
        [("<unknown>".to_owned(), 8)]
    );
    program.expect(&["--include", "*/shop.py"], &[("S:0", 5)]);
    program.expect(
        &["--include", "*/shop.py", "--all-frames"],
        &[("/py/ceval.c:77", 150), ("S:0", 5)],
    );
    let exclude = ["--lang", "python", "--exclude", "*/shop.py"];
    program.expect(&exclude, &[("<unknown>", 8), ("[python]+0x9", 3)]);
}

#[test]
fn frames_of_python_say_so_in_json() {
    let program = Program::new().write();
    let folder = &program.folder;
    let order = json!({
        "function": "Shop.order", "file": program.file, "line": 5,
        "module": "shop.py", "language": "python",
    });
    let python = ["--lang", "python"];
    for (verb, place) in [("stats", 0), ("leaks", 0), ("churn", 0)] {
        let json = folder.json(&[&[verb, "x.tape"], &python[..]].concat());
        assert_eq!(json["rows"][place]["frames"], json!([order]), "{verb}");
    }
    let json = folder.json(&[&["diff", "x.tape@start", "x.tape@end"], &python[..]].concat());
    assert_eq!(json["rows"][0]["frames"], json!([order]));
    let json = folder.json(&["object", "x.tape", "0x2000"]);
    let frames = json["owners"][0]["allocated"]["frames"].as_array().unwrap();
    let told = frames
        .iter()
        .map(|frame| (&frame["language"], &frame["line"]));
    let languages: Vec<String> = told.map(|(name, line)| format!("{name} {line}")).collect();
    let eval = "\"native\" 77";
    let expected = [
        "\"native\" null",
        eval,
        "\"python\" 5",
        "\"native\" null",
        eval,
        "\"python\" 5",
        eval,
        "\"python\" 3",
        eval,
        "\"native\" 5",
    ];
    assert_eq!(languages, expected);
    let rows = folder.json(&["stats", "x.tape", "--lang", "python"])["rows"].clone();
    assert_eq!(rows[2]["frames"][0]["line"], Value::Null);
    let unknown = &rows[3]["frames"][0];
    assert_eq!(
        (&unknown["function"], &unknown["file"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&unknown["module"], &unknown["language"]),
        (&json!("[python]"), &json!("python"))
    );
    let csv = folder.text(&["stats", "x.tape", "--lang", "python", "--format", "csv"]);
    assert!(csv.lines().nth(1).unwrap().contains("shop.py:5"), "{csv}");
}

#[test]
fn text_shows_both_languages_on_one_stack() {
    let program = Program::new().write();
    let text = program
        .folder
        .text(&["stats", "x.tape", "--lang", "python"]);
    let lines = text.replace(&program.file, "S");
    assert!(lines.contains("S:5  Shop.order\n"), "{lines}");
    assert!(
        lines.contains("self.all = [self]"),
        "the source line: {lines}"
    );
    let text = program
        .folder
        .text(&["stats", "x.tape", "--group-by", "traceback"]);
    let text = text.replace(&program.file, "S");
    let stack = [
        "PyObject_Malloc  app",
        "eval  /py/ceval.c:77",
        "Shop.order  S:5",
        "eval  /py/ceval.c:77",
        "<module>  S:3",
        "eval  /py/ceval.c:77",
        "main  /py/main.c:5",
    ];
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(
        lines.windows(stack.len()).any(|lines| lines == stack),
        "{text}"
    );
    let text = program.folder.text(&["object", "x.tape", "0x1000"]);
    assert!(text.contains("Shop.order"), "{text}");
}

/// Symbols are of native code alone, and a repacked tape has its code objects.
#[test]
fn symbolize_and_repack_leave_python_as_it_is() {
    let program = Program::new().write();
    let whole = program.rows(&["--lang", "python", "--group-by", "traceback"]);
    program.folder.text(&["symbolize", "x.tape"]);
    assert_eq!(
        program.rows(&["--lang", "python", "--group-by", "traceback"]),
        whole
    );
    program
        .folder
        .text(&["repack", "x.tape", "-o", "small.tape"]);
    std::fs::rename(
        program.folder.path("small.tape"),
        program.folder.path("x.tape"),
    )
    .unwrap();
    let bytes = std::fs::read(program.folder.path("x.tape")).unwrap();
    let (header, _) = TapeHeader::decode(&bytes).unwrap();
    assert_eq!(header.must_understand, PYTHON_FRAMES);
    assert_eq!(
        program.rows(&["--lang", "python", "--group-by", "traceback"]),
        whole
    );
}

#[test]
fn without_its_code_objects_a_tape_has_its_numbers() {
    let mut program = Program::new();
    let mut bytes = program.tape.bytes();
    let (_, length) = TapeHeader::decode(&bytes).unwrap();
    let codes = Scan::new(&bytes, length).find_map(|found| match found {
        Found::Chunk(chunk) if chunk.header.kind == ChunkKind::CODE_OBJECTS => Some(chunk),
        _ => None,
    });
    bytes[codes.unwrap().offset as usize + 70] ^= 1;
    std::fs::write(program.folder.path("x.tape"), bytes).unwrap();
    let output = program
        .folder
        .run(&["stats", "x.tape", "--lang", "python", "--format", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = json["rows"].as_array().unwrap().iter();
    let keys: Vec<&str> = keys.map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["[python]+0x2", "<unknown>", "[python]+0x9"]);
    assert_eq!(json["total"]["bytes"], 166);
    assert_eq!(
        program.folder.run(&["verify", "x.tape"]).status.code(),
        Some(1)
    );
    // Tables that no compiler makes have no lines, or some.
    for code in &mut program.tape.codes {
        (code.form, code.line_table) = (3, vec![0xff; 99]);
    }
    program.tape.codes[1].form = 77;
    let program = program.write();
    let rows = program.rows(&["--lang", "python"]);
    assert_eq!(rows[0], ("S:0".to_owned(), 155));
}
