//! Tapes made by hand, and running the executable on them.

use heaptape_format::TapeHeader;
use heaptape_format::chunk::{ChunkEncoder, ChunkInfo, ChunkKind};
use heaptape_format::event::{Event, EventEncoder, Operation};
use heaptape_format::header::{ClockKind, PYTHON_FRAMES};
use heaptape_format::symbols::{SourceFrame, Symbol, put_symbols};
use heaptape_format::tables::{
    Child, CodeObject, End, Frame, Mark, Module, Process, Record, ResidentSample, StackNode,
    Stream, put_record, put_stack_nodes,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A tape with the events of a few threads. Stamps are nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    pub(crate) session: u8,
    pub(crate) start_realtime_ns: u64,
    pub(crate) process: Process,
    pub(crate) modules: Vec<Module>,
    pub(crate) codes: Vec<CodeObject>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) resident: Vec<ResidentSample>,
    pub(crate) children: Vec<Child>,
    pub(crate) end: Option<End>,
    threads: Vec<Thread>,
}

#[derive(Debug, Clone, Default)]
struct Thread {
    name: String,
    nodes: Vec<StackNode>,
    events: Vec<Event>,
}

/// A frame of the module `app` (number 1) that the tape's own symbols name.
pub(crate) fn app(offset: u64) -> Frame {
    native(1, offset)
}

pub(crate) fn native(module: u32, offset: u64) -> Frame {
    Frame::Native {
        module,
        offset,
        exact: false,
    }
}

/// A frame of a code object of the tape.
pub(crate) fn python(code: u32, instruction: u32) -> Frame {
    Frame::Python { code, instruction }
}

impl Tape {
    /// A tape with one thread, `main`, and one module, `/bin/app`.
    pub(crate) fn new() -> Self {
        let mut tape = Self {
            session: 7,
            start_realtime_ns: 1_700_000_000_000_000_000,
            process: Process {
                pid: 4711,
                command: vec!["app".into(), "a b".into()],
                executable: "/bin/app".into(),
                ..Process::default()
            },
            modules: Vec::new(),
            codes: Vec::new(),
            symbols: Vec::new(),
            marks: Vec::new(),
            resident: Vec::new(),
            children: Vec::new(),
            end: Some(End {
                stamp: 1_000_000,
                how: 1,
                ..End::default()
            }),
            threads: Vec::new(),
        };
        tape.module("/nowhere/bin/app", &[]);
        tape.thread("main");
        tape
    }

    pub(crate) fn module(&mut self, path: &str, build_id: &[u8]) -> u32 {
        let index = self.modules.len() as u32 + 1;
        self.modules.push(Module {
            index,
            load_bias: 0x5000_0000_0000 + (u64::from(index) << 32),
            build_id: build_id.to_vec(),
            path: path.to_owned(),
            ..Module::default()
        });
        index
    }

    pub(crate) fn thread(&mut self, name: &str) -> usize {
        self.threads.push(Thread {
            name: name.to_owned(),
            ..Thread::default()
        });
        self.threads.len() - 1
    }

    /// Names the place `offset` of the module `app`; inlined functions first.
    pub(crate) fn symbol(&mut self, offset: u64, frames: &[(&str, &str, u32)]) {
        let last = frames.len() - 1;
        let frames = frames
            .iter()
            .enumerate()
            .map(|(place, &(function, file, line))| SourceFrame {
                function: function.into(),
                file: file.into(),
                line,
                inlined: place < last,
            });
        self.symbols.push(Symbol {
            module: 1,
            offset,
            exact: false,
            frames: frames.collect(),
        });
    }

    /// States that the place `offset` of the module `app` has no symbol.
    pub(crate) fn nameless(&mut self, offset: u64) {
        self.symbols.push(Symbol {
            module: 1,
            offset,
            exact: false,
            frames: Vec::new(),
        });
    }

    /// The stack of `frames`, the most recent first, in a thread.
    pub(crate) fn stack(&mut self, thread: usize, frames: &[Frame]) -> u32 {
        let nodes = &mut self.threads[thread].nodes;
        let mut parent = 0;
        for &frame in frames.iter().rev() {
            nodes.push(StackNode { parent, frame });
            parent = nodes.len() as u32;
        }
        parent
    }

    pub(crate) fn event(&mut self, thread: usize, event: Event) {
        self.threads[thread].events.push(event);
    }

    pub(crate) fn alloc(&mut self, thread: usize, stamp: u64, address: u64, size: u64, stack: u32) {
        let mut event = Event::new(Operation::MALLOC, stamp);
        (event.address, event.size, event.stack) = (address, size, stack);
        self.event(thread, event);
    }

    pub(crate) fn free(&mut self, thread: usize, stamp: u64, address: u64) {
        let mut event = Event::new(Operation::FREE, stamp);
        event.old_address = address;
        self.event(thread, event);
    }

    pub(crate) fn realloc(
        &mut self,
        thread: usize,
        stamp: u64,
        (old_address, address): (u64, u64),
        size: u64,
        stack: u32,
    ) {
        let mut event = Event::new(Operation::REALLOC, stamp);
        (event.old_address, event.address) = (old_address, address);
        (event.size, event.stack) = (size, stack);
        event.end_stamp = stamp + 1;
        self.event(thread, event);
    }

    pub(crate) fn mark(&mut self, stamp: u64, name: &str) {
        self.marks.push(Mark {
            stamp,
            stream: 0,
            name: name.to_owned(),
        });
    }

    pub(crate) fn header(&self) -> TapeHeader {
        let mut header = TapeHeader::new(ClockKind::Monotonic, 1_000_000_000, 0);
        header.tape_id = [self.process.pid as u8; 16];
        header.session_id = [self.session; 16];
        header.pid = self.process.pid;
        header.start_realtime_ns = self.start_realtime_ns;
        let mut nodes = self.threads.iter().flat_map(|thread| &thread.nodes);
        if nodes.any(|node| matches!(node.frame, Frame::Python { .. })) {
            header.must_understand = PYTHON_FRAMES;
        }
        header
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut chunks = vec![records(std::slice::from_ref(&self.process))];
        let streams = self
            .threads
            .iter()
            .zip(0u32..)
            .map(|(thread, index)| Stream {
                index,
                thread_id: 4711 + index,
                name: thread.name.clone(),
                ..Stream::default()
            });
        chunks.push(records(&streams.collect::<Vec<_>>()));
        chunks.push(records(&self.modules));
        chunks.push(records(&self.codes));
        for (thread, stream) in self.threads.iter().zip(0u32..) {
            let mut payload = Vec::new();
            put_stack_nodes(&thread.nodes, 1, &mut payload);
            let nodes = thread.nodes.len() as u32;
            let mut info = ChunkInfo::table(ChunkKind::STACK_NODES, nodes, 0);
            (info.stream, info.first) = (stream, 1);
            chunks.push((info, payload));
            let mut encoder = EventEncoder::new();
            for event in &thread.events {
                encoder.push(event).unwrap();
            }
            let events = thread.events.len() as u32;
            let mut info = ChunkInfo::table(ChunkKind::EVENTS, events, 0);
            info.stream = stream;
            (info.stamp_first, info.stamp_last) = encoder.stamps();
            let mut payload = Vec::new();
            encoder.finish(&mut payload);
            chunks.push((info, payload));
        }
        chunks.push(records(&self.marks));
        chunks.push(records(&self.resident));
        chunks.push(records(&self.children));
        let symbols = ChunkInfo::table(ChunkKind::SYMBOLS, self.symbols.len() as u32, 0);
        chunks.push((symbols, put_symbols(&self.symbols)));
        chunks.extend(
            self.end
                .iter()
                .map(|end| records(std::slice::from_ref(end))),
        );
        let mut bytes = Vec::new();
        self.header().encode(&mut bytes);
        let mut encoder = ChunkEncoder::new(1);
        let filled = chunks.into_iter().filter(|(info, _)| info.count > 0);
        for ((mut info, payload), sequence) in filled.zip(0u64..) {
            info.sequence = sequence;
            encoder.encode(&info, &payload, &mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

fn records<R: Record>(records: &[R]) -> (ChunkInfo, Vec<u8>) {
    let mut payload = Vec::new();
    for record in records {
        put_record(record, &mut payload);
    }
    (ChunkInfo::table(R::KIND, records.len() as u32, 0), payload)
}

/// A folder to run `heaptape` in.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `heaptape` in the folder.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_heaptape"))
            .args(args)
            .current_dir(self.0.path())
            .env_remove("NO_COLOR")
            .env("XDG_CACHE_HOME", self.0.path().join("cache"))
            .output()
            .unwrap()
    }

    /// Runs `heaptape`, which must succeed and say nothing beside; returns what it prints.
    pub(crate) fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Folder::text`] with `--format json`, read.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["--format", "json"]);
        let text = self.text(&args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}\n{text}"))
    }

    /// Runs `heaptape`, which must fail with `code` and one line on standard error; returns it.
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{args:?}: {complaint}");
        assert!(complaint.starts_with("heaptape: "), "{args:?}: {complaint}");
        complaint
    }
}
