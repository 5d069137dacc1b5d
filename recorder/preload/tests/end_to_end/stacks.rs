//! Stacks as the hooks hand them over: the caller's frame first, none of ours, and what an address
//! means after objects came and went.

use crate::drainer::{Item, Recording, Session, Setup, Stream};
use crate::target::compile;
use heaptape_session::record::blob;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The frames of each allocation by its size: module's file name and function, innermost first.
fn frames(recording: &Recording, stream: &Stream) -> BTreeMap<u64, Vec<(String, String)>> {
    let mut modules: BTreeMap<u32, String> = BTreeMap::new();
    for bytes in recording.blobs_of(&recording.processes[0], blob::MODULE) {
        let index = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let path = &bytes[29 + usize::from(bytes[28])..];
        modules.insert(index, String::from_utf8_lossy(path).into_owned());
    }
    let mut symbols = BTreeMap::new();
    let mut nodes = vec![(0, 0, 0)];
    let mut found = BTreeMap::new();
    for item in stream.items() {
        match item {
            Item::Node {
                parent,
                module,
                offset,
            } => nodes.push((parent, module, offset)),
            Item::Cut(parent, _) => nodes.push((parent, 0, 0)),
            Item::Event(event) if event.size >= 1000 => {
                let mut stack = Vec::new();
                let mut node = event.stack as usize;
                while node != 0 {
                    let (parent, module, offset) = nodes[node];
                    let path = modules.get(&module).map_or("", String::as_str);
                    let function = function_at(&mut symbols, path, offset - 1);
                    let file = path.rsplit('/').next().unwrap_or_default();
                    stack.push((file.to_owned(), function));
                    node = parent as usize;
                }
                found.insert(event.size, stack);
            }
            _ => {}
        }
    }
    found
}

type Symbols = BTreeMap<String, BTreeMap<u64, (u64, String)>>;

/// The function of a file that holds an address, by `nm`.
fn function_at(symbols: &mut Symbols, path: &str, address: u64) -> String {
    let of_file = symbols.entry(path.to_owned()).or_insert_with(|| {
        let output = Command::new("nm")
            .args(["-S", "--defined-only", path])
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let functions = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let start = u64::from_str_radix(words.next()?, 16).ok()?;
            let bytes = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((start, (start + bytes, words.nth(1)?.to_owned())))
        });
        functions.collect()
    });
    let before = of_file.range(..=address).next_back();
    before
        .filter(|(_, (end, _))| address < *end)
        .map_or_else(|| "?".to_owned(), |(_, (_, name))| name.clone())
}

#[test]
fn the_callers_frame_comes_first() {
    check_known_chains(&[]);
}

/// Load segments that lie apart, in a program that the kernel maps: the loader tells one of them at
/// a time, and the tables and notes lie in others.
#[test]
fn also_in_a_program_with_holes_between_its_segments() {
    for page_size in [
        "-Wl,-z,max-page-size=0x10000",
        "-Wl,-z,max-page-size=0x200000",
    ] {
        for kind in ["-pie", "-no-pie"] {
            check_known_chains(&[page_size, kind, "-Wl,--build-id=0x1122334455667788"]);
        }
    }
}

/// Runs a program that is linked with `options`: its stacks, and its one module, as the tape has
/// them.
fn check_known_chains(options: &[&str]) {
    let session = Session::new("stacks", Setup::default());
    let program = compile(session.folder(), "stacks.c", "stacks", options);
    let recording = session.record(&mut session.command(program));
    assert_eq!(recording.output.status.code(), Some(0));
    let streams = recording.streams_of(&recording.processes[0]);
    let of_main = &frames(&recording, streams[0])[&1001];
    let of_thread = &frames(&recording, streams[1])[&2001];
    for (stack, functions) in [
        (of_main, &["leaf", "middle", "outer", "main"][..]),
        (of_thread, &["leaf", "middle", "outer"]),
    ] {
        let expected: Vec<_> = functions
            .iter()
            .map(|name| ("stacks".to_owned(), (*name).to_owned()))
            .collect();
        assert_eq!(stack[..expected.len()], expected);
        // Below them only the C library's start.
        assert!(
            stack[functions.len()..]
                .iter()
                .all(|(file, function)| { file.starts_with("libc.so") || function == "_start" })
        );
        assert!(stack.len() > functions.len());
    }
    let modules = recording.blobs_of(&recording.processes[0], blob::MODULE);
    let of_program: Vec<_> = modules
        .iter()
        .filter(|bytes| bytes.ends_with(b"/stacks"))
        .collect();
    assert_eq!(of_program.len(), 1, "one module for all segments");
    if options.is_empty() {
        return;
    }
    let build_id = &of_program[0][29..29 + usize::from(of_program[0][28])];
    assert_eq!(build_id, 0x1122_3344_5566_7788u64.to_be_bytes());
}

#[test]
fn dlopen_finds_what_its_caller_may_find_and_unloads_are_noticed() {
    let session = Session::new("opens", Setup::default());
    let folder = session.folder();
    let inner = folder.join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let shared = ["-shared", "-fPIC"];
    compile(&inner, "opens_inner.c", "libinner.so", &shared);
    let runpath = [
        "-shared",
        "-fPIC",
        "-Wl,--enable-new-dtags,-rpath,$ORIGIN/inner",
    ];
    let outer = compile(folder, "opens_outer.c", "libouter.so", &runpath);
    let program = session.compile("opens.c", "opens");
    let recording = session.record(session.command(program).arg(outer));
    assert_eq!(recording.text(), "loaded\n");
    let streams = recording.streams_of(&recording.processes[0]);
    let stacks = frames(&recording, streams[0]);
    for load in 0..50 {
        let stack = &stacks[&(3000 + load)];
        let expected = ("libinner.so".to_owned(), "inner_allocate".to_owned());
        assert_eq!(stack[0], expected, "load {load}");
        assert_eq!(stack[1], ("opens".to_owned(), "main".to_owned()));
    }
    assert!(Path::new(&inner).exists());
}
