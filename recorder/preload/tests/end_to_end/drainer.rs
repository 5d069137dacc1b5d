//! A drainer for tests: makes a session, reads its rings while a program runs, and gives back
//! processes, streams and records.

use crate::target::{Folder, compile, library, run};
use heaptape_session::layout::{Layout, phase, state};
use heaptape_session::map::SessionMap;
use heaptape_session::record::{self, Record, RingEvent, blob};
use heaptape_session::ring::{Consumer, Memory, WordSink};
use heaptape_session::slots::{self, process_owner, stream_owner};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a session is made, and whether somebody reads it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) options: u32,
    pub(crate) size_min: u64,
    pub(crate) layout: Layout,
    pub(crate) chunks_ready: usize,
    pub(crate) clock: u32,
    pub(crate) is_drained: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: 0,
            size_min: 0,
            layout: Layout {
                processes: 64,
                streams: 256,
                chunks: 256,
            },
            chunks_ready: 256,
            clock: 1,
            is_drained: true,
        }
    }
}

/// What was recorded of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) process: u32,
    pub(crate) number: u32,
    pub(crate) level: u32,
    pub(crate) thread_id: u32,
    pub(crate) name: String,
    pub(crate) lost: u64,
    pub(crate) lost_reason: u32,
    pub(crate) is_finished: bool,
    pub(crate) words: Words,
}

/// Words of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(pub(crate) Vec<u64>);

impl WordSink for Words {
    fn word(&mut self, word: u64) {
        self.0.push(word);
    }
}

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event(RingEvent),
    Node {
        parent: u32,
        module: u32,
        offset: u64,
    },
    Cut(u32, u8),
    PythonNode(u32, u32, u32),
    Blob(u8, Vec<u8>),
}

impl Stream {
    pub(crate) fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut rest = &self.words.0[..];
        while !rest.is_empty() {
            let (item, taken) = record::decode(rest).expect("whole records");
            items.push(match item {
                Record::Event(event) => Item::Event(event),
                Record::Node(parent, module, offset, _) => Item::Node {
                    parent,
                    module,
                    offset,
                },
                Record::Cut(parent, reason) => Item::Cut(parent, reason),
                Record::PythonNode(parent, code, instruction) => {
                    Item::PythonNode(parent, code, instruction)
                }
                Record::Blob(kind, _, bytes, content) => {
                    Item::Blob(kind, record::blob_bytes(content, bytes).collect())
                }
            });
            rest = &rest[taken..];
        }
        items
    }

    pub(crate) fn events(&self) -> Vec<RingEvent> {
        let events = self.items().into_iter().filter_map(|item| match item {
            Item::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }

    pub(crate) fn blobs(&self, wanted: u8) -> Vec<Vec<u8>> {
        let blobs = self.items().into_iter().filter_map(|item| match item {
            Item::Blob(kind, bytes) if kind == wanted => Some(bytes),
            _ => None,
        });
        blobs.collect()
    }
}

/// What was recorded of one process image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) index: u32,
    pub(crate) pid: u32,
    pub(crate) phase: u64,
    pub(crate) parent: u32,
    pub(crate) origin: u32,
    pub(crate) image: u32,
    pub(crate) cut_ticks: u64,
    pub(crate) exit: Option<u32>,
    pub(crate) turned_off: u32,
    pub(crate) lost: u32,
}

/// A whole recording.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) output: Output,
    /// By slot.
    pub(crate) processes: Vec<Process>,
    /// In order of their slots' use.
    pub(crate) streams: Vec<Stream>,
    pub(crate) refused_images: u32,
}

impl Recording {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// All streams of one process, in order of their numbers.
    pub(crate) fn streams_of(&self, process: &Process) -> Vec<&Stream> {
        let of = |stream: &&Stream| stream.process == process.index;
        let mut streams: Vec<&Stream> = self.streams.iter().filter(of).collect();
        streams.sort_by_key(|stream| stream.number);
        streams
    }

    /// The events of one process in time's order.
    pub(crate) fn events_of(&self, process: &Process) -> Vec<RingEvent> {
        let streams = self.streams_of(process);
        let mut events: Vec<RingEvent> =
            streams.iter().flat_map(|stream| stream.events()).collect();
        events.sort_by_key(|event| event.ticks);
        events
    }

    pub(crate) fn blobs_of(&self, process: &Process, kind: u8) -> Vec<Vec<u8>> {
        let streams = self.streams_of(process);
        streams
            .iter()
            .flat_map(|stream| stream.blobs(kind))
            .collect()
    }

    /// The process whose executable has this file name.
    pub(crate) fn process_named(&self, name: &str) -> &Process {
        let mut found = self.processes.iter().filter(|process| {
            let paths = self.blobs_of(process, blob::EXECUTABLE);
            paths
                .iter()
                .any(|path| path.ends_with(format!("/{name}").as_bytes()))
        });
        let process = found
            .next()
            .unwrap_or_else(|| panic!("{name} was not recorded"));
        assert_eq!(found.next(), None, "{name} was recorded twice");
        process
    }
}

/// A session and its folder.
#[derive(Debug)]
pub(crate) struct Session {
    folder: Folder,
    setup: Setup,
    pub(crate) map: SessionMap,
}

impl Session {
    pub(crate) fn new(name: &str, setup: Setup) -> Self {
        let folder = Folder::new(name);
        let map = create(folder.path(), &setup);
        Self { folder, setup, map }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn compile(&self, source: &str, output: &str) -> PathBuf {
        compile(self.folder(), source, output, &[])
    }

    /// A command with the library in it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_PRELOAD", library())
            .env("HEAPTAPE_SESSION", self.folder().join("session"))
            .env_remove("HEAPTAPE_OUT");
        command
    }

    /// Runs a command to its end and reads what was recorded.
    pub(crate) fn record(&self, command: &mut Command) -> Recording {
        let is_over = AtomicBool::new(false);
        let mut reader = Reader::default();
        let output = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                while self.setup.is_drained && !is_over.load(Ordering::Acquire) {
                    reader.pass(&self.map);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let output = run(command);
            is_over.store(true, Ordering::Release);
            reading.join().expect("the drainer ends");
            output
        });
        reader.pass(&self.map);
        reader.into_recording(&self.map, output)
    }
}

fn create(folder: &Path, setup: &Setup) -> SessionMap {
    let path = folder.join("session");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .expect("a session file");
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let map = SessionMap::create(fd, &path, setup.layout, setup.chunks_ready).expect("a session");
    let header = map.header();
    header.state.store(state::RUNNING, Ordering::Relaxed);
    header.options.store(setup.options, Ordering::Relaxed);
    header.size_min.store(setup.size_min, Ordering::Relaxed);
    header.clock.store(setup.clock, Ordering::Relaxed);
    header
        .start_ticks
        .store(now(setup.clock), Ordering::Relaxed);
    map.publish();
    map
}

fn now(clock: u32) -> u64 {
    if clock == 1 {
        // SAFETY: every x86-64 processor has the instruction.
        return unsafe { core::arch::x86_64::_rdtsc() };
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Debug, Default)]
struct Reader {
    /// By slot and generation.
    open: BTreeMap<(u32, u32), (Consumer, Stream)>,
    done: Vec<Stream>,
}

trait OpenStream {
    fn note(&mut self, slot: &heaptape_session::layout::StreamSlot);
}

impl OpenStream for Stream {
    fn note(&mut self, slot: &heaptape_session::layout::StreamSlot) {
        self.process = stream_owner(slot).process;
        self.number = slot.number.load(Ordering::Relaxed);
        self.level = slot.level.load(Ordering::Relaxed);
        self.thread_id = slot.thread_id.load(Ordering::Relaxed);
        self.lost = slot.lost.load(Ordering::Relaxed);
        self.lost_reason = slot.lost_reason.load(Ordering::Relaxed);
        let words = slot.name.iter().map(|word| word.load(Ordering::Relaxed));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        self.name = String::from_utf8_lossy(name).into_owned();
    }
}

impl Reader {
    fn pass(&mut self, map: &SessionMap) {
        map.header().heartbeat.fetch_add(1, Ordering::Relaxed);
        for index in 0..map.streams() {
            let slot = map.stream(index).expect("a slot");
            let owner = stream_owner(slot);
            if !matches!(owner.phase, phase::RUNNING | phase::FINISHED) {
                continue;
            }
            let key = (index, owner.generation);
            let fresh = || (Consumer::new(index, owner.generation), Stream::default());
            let (consumer, stream) = self.open.entry(key).or_insert_with(fresh);
            consumer.read(map, &mut stream.words, usize::MAX);
            stream.note(slot);
            if owner.phase == phase::FINISHED {
                stream.is_finished = true;
                let (_, stream) = self.open.remove(&key).expect("an open stream");
                self.done.push(stream);
                slots::free_stream(map, index);
            }
        }
    }

    fn into_recording(self, map: &SessionMap, output: Output) -> Recording {
        let mut streams = self.done;
        streams.extend(self.open.into_values().map(|(_, stream)| stream));
        let mut processes = Vec::new();
        for index in 0..map.layout().processes as u32 {
            let slot = map.process(index).expect("a slot");
            let owner = process_owner(slot);
            if owner.phase == phase::FREE {
                continue;
            }
            let is_exit_known = slot.exit_known.load(Ordering::Acquire) == 1;
            processes.push(Process {
                index,
                pid: owner.pid,
                phase: owner.phase,
                parent: slot.parent.load(Ordering::Relaxed),
                origin: slot.origin.load(Ordering::Relaxed),
                image: slot.image.load(Ordering::Relaxed),
                cut_ticks: slot.cut_ticks.load(Ordering::Relaxed),
                exit: is_exit_known.then(|| slot.exit_code.load(Ordering::Relaxed)),
                turned_off: slot.turned_off.load(Ordering::Relaxed),
                lost: slot.lost.load(Ordering::Relaxed),
            });
        }
        Recording {
            output,
            processes,
            streams,
            refused_images: map.header().refused_images.load(Ordering::Relaxed),
        }
    }
}
