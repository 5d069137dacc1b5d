//! Names of C++ functions are those of binutils (`nm -C`, `c++filt -i`), without what the functions
//! return.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use heaptape_tests::answers::{array, functions};
use heaptape_tests::{Room, build};

/// How the functions begin through which each name is called.
const CALLER: &str = "caller_";

/// Names that binutils leaves mangled: conversions to a class template of the conversion's own
/// parameter.
const UNKNOWN_THERE_MAX: usize = 4;

/// Each mangled name of a program with every kind of them, and of the C++ library of this machine,
/// becomes the name of a function that allocates. What the tape calls it is compared.
#[test]
fn names_are_those_of_binutils_without_results() {
    let room = Room::new();
    let program = build::cpp("templates.cpp", &["-std=c++20", "-O0", "-g0", "-w"]);
    let mut names = mangled_names(&room, &[], &program);
    assert!(names.len() > 4000, "only {} in the program", names.len());
    let in_program = names.len();
    names.append(&mut mangled_names(&room, &["-D"], &cpp_library(&program)));
    assert!(names.len() > in_program + 4000, "{} in all", names.len());
    let names: Vec<String> = names.into_iter().collect();
    let expected = demangled_by_binutils(&room, &names);

    let caller = compile(&room, &names);
    room.record("t.tape", &[], &[caller]).success();
    let found = names_on_tape(&room);
    assert_eq!(found.len(), names.len(), "some were not called");

    let mut wrong = Vec::new();
    let mut unknown_there = 0;
    for ((mangled, theirs), (index, ours)) in names.iter().zip(&expected).zip(&found) {
        assert_eq!(*mangled, names[*index]);
        if theirs == mangled {
            unknown_there += 1;
        } else if !is_without_result(theirs, ours) {
            wrong.push(format!(
                "{mangled}\n  binutils  {theirs}\n  heaptape  {ours}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unknown_there <= UNKNOWN_THERE_MAX, "{unknown_there}");
}

/// The mangled names in the symbol table of `file`.
fn mangled_names(room: &Room, options: &[&str], file: &Path) -> BTreeSet<String> {
    let mut nm = room.command(build::needed_program("nm", "binutils"));
    let lines = room.run(nm.args(options).arg(file)).success().stdout;
    let names = lines.lines().filter_map(|line| line.split(' ').next_back());
    // What stands behind is a version.
    let names = names.filter_map(|name| name.split('@').next());
    let mangled = names.filter(|name| name.starts_with("_Z"));
    mangled.map(str::to_owned).collect()
}

/// The C++ library that `program` is linked with.
fn cpp_library(program: &Path) -> PathBuf {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut words = listed.split_whitespace();
    let path = words.find(|word| word.starts_with('/') && word.contains("/libstdc++.so"));
    path.unwrap_or_else(|| panic!("no C++ library in {listed}"))
        .into()
}

fn demangled_by_binutils(room: &Room, names: &[String]) -> Vec<String> {
    let list = room.write("names.txt", names.join("\n") + "\n");
    let mut filter = room.command(build::needed_program("c++filt", "binutils"));
    // Without a limit of length.
    filter.args(["-i", "-R"]);
    filter.stdin(std::fs::File::open(list).unwrap());
    let lines = room.run(&mut filter).success().stdout;
    let names: Vec<String> = lines.lines().map(tidied).collect();
    names
}

/// Without what says that a function is a compiler's copy, and with what we always write: `> >`,
/// and no comma for an empty pack.
fn tidied(theirs: &str) -> String {
    let name = theirs.split(" [clone ").next().unwrap_or(theirs);
    let mut tidy = String::new();
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        let is_operator = tidy.ends_with("operator");
        let is_list_end = rest.starts_with([',', '>', ')']);
        if tidy.ends_with(", ") && is_list_end {
            tidy.truncate(tidy.len() - 2);
        } else if tidy.ends_with(['<', '(']) && rest.starts_with(", ") {
            rest = &rest[2..];
            continue;
        }
        if letter == '>' && tidy.ends_with('>') && !tidy.ends_with("operator>") {
            tidy.push(' ');
        }
        if is_operator && rest.starts_with(">>") {
            tidy.push_str(">>");
            rest = &rest[2..];
            continue;
        }
        tidy.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    tidy
}

/// A program that calls a function of each name, which allocates.
fn compile(room: &Room, names: &[String]) -> PathBuf {
    let mut source = "#include <stdlib.h>\nvoid *volatile sink;\n".to_owned();
    let mut calls = String::new();
    for (index, name) in names.iter().enumerate() {
        write!(
            source,
            "static void named_{index}(void) __asm__(\"{name}\");
             static void named_{index}(void) {{ sink = malloc(16); }}
             void {CALLER}{index}(void) {{ named_{index}(); sink = 0; }}\n"
        )
        .unwrap();
        writeln!(calls, "{CALLER}{index}();").unwrap();
    }
    writeln!(source, "int main(void) {{ {calls} return 0; }}").unwrap();
    let source = room.write("names.c", source);
    let program = room.path("names");
    let mut compiler = room.command("cc");
    compiler
        .args(["-O0", "-g0", "-o"])
        .args([&program, &source]);
    room.run(&mut compiler).success();
    program
}

/// What the tape calls each function.
fn names_on_tape(room: &Room) -> BTreeMap<usize, String> {
    let stats = room.json(&["stats", "t.tape", "--at", "end", "--group-by", "traceback"]);
    let mut names = BTreeMap::new();
    for row in array(&stats, "rows") {
        let frames = functions(row);
        for pair in frames.windows(2) {
            if let Some(index) = pair[1].strip_prefix(CALLER) {
                let old = names.insert(index.parse().unwrap(), pair[0].to_owned());
                assert_eq!(old, None, "two rows: {frames:?}");
            }
        }
    }
    names
}

/// True when `ours` is `theirs` without the type that the function returns. It stands before the
/// name, or around it: `void (*name(int))(char)`.
fn is_without_result(theirs: &str, ours: &str) -> bool {
    theirs == ours
        || theirs.match_indices(ours).any(|(at, _)| {
            let (before, behind) = (&theirs[..at], &theirs[at + ours.len()..]);
            let is_before = before.ends_with(' ') && behind.is_empty();
            let is_around = before.ends_with(['*', '&']) && behind.starts_with(')');
            (is_before || is_around) && is_balanced(&[before, behind].concat())
        })
}

/// True for a text whose brackets are closed in the order in which they were opened. Comparisons
/// are no brackets: what is greater stands in parentheses, what is less follows one.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    let mut before = ' ';
    for letter in text.chars() {
        let in_parentheses = open.contains(&'(');
        let matches = match letter {
            '<' | '>' if in_parentheses => true,
            '<' if before == ')' => true,
            '(' | '<' | '[' | '{' => {
                open.push(letter);
                true
            }
            ')' => open.pop() == Some('('),
            '>' => open.pop() == Some('<'),
            ']' => open.pop() == Some('['),
            '}' => open.pop() == Some('{'),
            _ => true,
        };
        if !matches {
            return false;
        }
        before = letter;
    }
    open.is_empty()
}

#[test]
fn results_before_and_around_names_are_known() {
    for (theirs, ours) in [
        ("f(int)", "f(int)"),
        ("void f<int>(int)", "f<int>(int)"),
        ("std::map<int, char> f<int>(int)", "f<int>(int)"),
        ("int (*f<int>(int))(char)", "f<int>(int)"),
        ("char const (&f<int>(int)) [5]", "f<int>(int)"),
        ("decltype ((({parm#1})>(a->b))) f<int>(int)", "f<int>(int)"),
        (
            "A<(0)<B<int>::value, C<void ()> >::type f<int>(int)",
            "f<int>(int)",
        ),
    ] {
        assert!(is_without_result(theirs, ours), "{theirs}");
    }
    for (theirs, ours) in [
        ("void f<int>(int)", "f<int>()"),
        ("void f<int>(int)", "<int>(int)"),
        ("void f<int>(int, char)", "f<int>(int"),
        ("std::map<int, f>::g(int)", "f>::g(int)"),
        ("void a::f<int>(int)", "f<int>(int)"),
    ] {
        assert!(!is_without_result(theirs, ours), "{theirs}");
    }
    assert_eq!(tidied("f<, a, , b<c>>(, )"), "f<a, b<c> >()");
    assert_eq!(
        tidied("operator>><int, >(A<B<>>)"),
        "operator>><int>(A<B<> >)"
    );
    assert_eq!(tidied("f() [clone .cold]"), "f()");
}
