//! Parents and children by their present names, after a recovery.
//!
//! In: the tapes of a session in their folder, and how those were called that a dead drainer left.
//! Out: records behind their ends, so that each tape names its parent and each parent its children:
//! what was closed before the drainer died was known to nobody else, and the first process's tape
//! may have another name.

use crate::lineage::{append_record, child_of, file_name};
use crate::recovered::tape_of_session;
use heaptape_format::chunk::ChunkKind;
use heaptape_format::scan::{Found, Scan};
use heaptape_format::tables::{Child, Process, records};
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};

/// `Process::origin` of a forked image.
const FORKED: u8 = 1;

/// What a tape says of its relations.
struct Relations {
    path: PathBuf,
    tape_id: [u8; 16],
    process: Process,
    children: Vec<Child>,
}

impl Relations {
    /// Of the tape at `path`, when it belongs to the session `session_id`.
    fn read(path: &Path, session_id: &[u8; 16]) -> Option<Self> {
        let (tape, header, length) = tape_of_session(path, session_id)?;
        let mut process = None;
        let mut children = Vec::new();
        let mut is_unwritten = true;
        let mut payload = Vec::new();
        for found in Scan::new(&tape, length) {
            is_unwritten = false;
            let Found::Chunk(chunk) = found else { continue };
            let kind = chunk.header.kind;
            if ![ChunkKind::PROCESS, ChunkKind::CHILDREN].contains(&kind) {
                continue;
            }
            chunk.payload(&tape, &mut payload).ok()?;
            let count = chunk.header.count;
            if kind == ChunkKind::CHILDREN {
                children.extend(records::<Child>(&payload, count).ok()?);
            } else {
                process = records::<Process>(&payload, count).ok()?.pop().or(process);
            }
        }
        if is_unwritten {
            // The drainer died when it had begun it: nobody goes on with it.
            let _ = std::fs::remove_file(path);
        }
        Some(Self {
            path: path.to_owned(),
            tape_id: header.tape_id,
            process: process?,
            children,
        })
    }

    /// When the image began, in the order of all.
    fn began(&self) -> (u64, u32) {
        (self.process.cut_stamp, self.process.image)
    }

    /// The last record of the image that `child` tells of.
    fn record_of(&self, child: &Child) -> Option<&Child> {
        let key = |of: &Child| (of.stamp, of.pid, of.origin);
        let mut own = self.children.iter().rev();
        own.find(|other| key(other) == key(child) && other.reason.is_empty())
    }
}

/// Makes the tapes of the session `session_id` in `folders` name each other. `begun`: which tape
/// had which name before the recovery.
pub(crate) fn relate<'a>(
    folders: impl Iterator<Item = &'a Path>,
    session_id: &[u8; 16],
    begun: &FxHashMap<String, [u8; 16]>,
    root_pid: u32,
) {
    let mut tapes: Vec<Relations> = Vec::new();
    for entry in folders.flat_map(std::fs::read_dir).flatten().flatten() {
        let path = entry.path();
        if !tapes.iter().any(|tape| tape.path == path) {
            tapes.extend(Relations::read(&path, session_id));
        }
    }
    for child in &tapes {
        let was_there = begun.values().any(|id| *id == child.tape_id);
        let begun = was_there.then_some(begun);
        let named = &child.process.parent_tape;
        let record = child_of(&child.process, file_name(&child.path));
        let known = parent_of(child, &record, &tapes, begun);
        // What the processes between were is not known any more; all descend from the first one.
        let is_root = child.process.pid == root_pid;
        let first = || last_of(root_pid, child, &tapes).filter(|_| !is_root);
        let Some(parent) = known.or_else(first) else {
            continue;
        };
        let stamp = child.process.cut_stamp;
        let parent_tape = file_name(&parent.path);
        // A tape that names the wrong one would tell of wrong inherited blocks.
        let is_sure = known.is_some() || child.process.origin != FORKED;
        if *named != parent_tape && is_sure {
            let process = Process {
                parent_tape,
                ..child.process.clone()
            };
            append_record(&child.path, &process, stamp);
        }
        let last = parent.record_of(&record);
        if last.is_none_or(|last| last.tape != record.tape) {
            append_record(&parent.path, &record, stamp);
        }
    }
}

/// The tape of the image that started the image of `child`, whose record is `record`; None: nobody
/// recorded did.
///
/// A drainer can have died before it said who that is, or after a name went to the next image of
/// the process and before the children of the last one learned of it. What a process did when is
/// never in doubt: of several images of a process, the parent is the last that began before.
fn parent_of<'a>(
    child: &Relations,
    record: &Child,
    tapes: &'a [Relations],
    begun: Option<&FxHashMap<String, [u8; 16]>>,
) -> Option<&'a Relations> {
    let named = &child.process.parent_tape;
    let others = || tapes.iter().filter(|tape| tape.tape_id != child.tape_id);
    let old = begun.and_then(|begun| begun.get(named));
    let by_name = others().find(|tape| match old {
        Some(id) => tape.tape_id == *id,
        None => !named.is_empty() && file_name(&tape.path) == *named,
    });
    let by_name = match by_name {
        Some(tape) if tape.began() < child.began() => Some(tape),
        // The name is another image's now.
        Some(tape) => last_of(tape.process.pid, child, tapes),
        None => None,
    };
    let by_record = || others().find(|tape| tape.record_of(record).is_some());
    let before = || last_of(child.process.pid, child, tapes).filter(|_| child.process.image > 0);
    by_name
        .or_else(by_record)
        .or_else(before)
        .or_else(|| last_of(child.process.parent_pid, child, tapes))
}

/// The last image of process `pid` that began before the image of `child`.
fn last_of<'a>(pid: u32, child: &Relations, tapes: &'a [Relations]) -> Option<&'a Relations> {
    tapes
        .iter()
        .filter(|tape| pid != 0 && tape.process.pid == pid && tape.began() < child.began())
        .max_by_key(|tape| tape.began())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::notes::Notes;
    use crate::press::Press;
    use crate::tape::TapeWriter;
    use heaptape_format::TapeHeader;
    use heaptape_format::tables::End;

    const SESSION: [u8; 16] = [7; 16];
    const ROOT: u32 = 10;

    /// A folder with tapes of one session.
    struct Folder {
        folder: tempfile::TempDir,
        begun: FxHashMap<String, [u8; 16]>,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let begun = FxHashMap::default();
            Self { folder, begun }
        }

        /// A closed tape: its name, number, process and image, when it began.
        fn tape(
            &mut self,
            name: &str,
            id: u8,
            (pid, image): (u32, u32),
            cut_stamp: u64,
        ) -> Process {
            let process = Process {
                pid,
                image,
                cut_stamp,
                origin: 2,
                ..Process::default()
            };
            self.begun.insert(name.to_owned(), [id; 16]);
            process
        }

        fn write(&self, name: &str, process: Process, children: Vec<Child>) {
            let mut names = Names::new(&self.folder.path().join(name));
            let mut header = TapeHeader::new(heaptape_format::header::ClockKind::Monotonic, 1, 0);
            header.session_id = SESSION;
            header.tape_id = self.begun[name];
            let mut tape = TapeWriter::begin(names.create_root().unwrap(), header);
            let mut notes = Notes::default();
            notes.process = process;
            notes.process_changed = true;
            notes.children = children;
            let mut press = Press::new();
            notes.write_first(&mut press, &mut tape);
            notes.write_last(&mut press, &mut tape);
            assert!(tape.finish(&mut press, End::default()).problem.is_none());
        }

        fn relate(&self) {
            let folders = std::iter::once(self.folder.path());
            relate(folders, &SESSION, &self.begun, ROOT);
        }

        /// What the tape `name` names: its parent, its children.
        fn relations(&self, name: &str) -> (String, Vec<String>) {
            let tape = Relations::read(&self.folder.path().join(name), &SESSION).unwrap();
            let mut children: Vec<String> = tape
                .children
                .iter()
                .map(|child| child.tape.clone())
                .collect();
            children.sort();
            (tape.process.parent_tape, children)
        }
    }

    fn told(parent: &str, children: &[&str]) -> (String, Vec<String>) {
        let children = children.iter().map(|&child| child.to_owned());
        (parent.to_owned(), children.collect())
    }

    #[test]
    fn a_tape_whose_drainer_did_not_come_to_name_its_parent_is_the_parents() {
        let mut folder = Folder::new();
        let root = folder.tape("x.tape", 1, (ROOT, 0), 100);
        folder.write("x.tape", root, Vec::new());
        // Started by the first process.
        let mut child = folder.tape("x.11.tape", 2, (11, 0), 200);
        child.parent_pid = ROOT;
        folder.write("x.11.tape", child, Vec::new());
        // The same process after an exec.
        let mut next = folder.tape("x.11.1.tape", 3, (11, 1), 300);
        next.parent_pid = ROOT;
        folder.write("x.11.1.tape", next, Vec::new());
        // Its parent has no tape, and was nobody's that is known.
        let mut stray = folder.tape("x.12.tape", 4, (12, 0), 400);
        stray.parent_pid = 1;
        folder.write("x.12.tape", stray, Vec::new());
        let mut fork = folder.tape("x.13.tape", 5, (13, 0), 400);
        (fork.parent_pid, fork.origin) = (1, FORKED);
        folder.write("x.13.tape", fork, Vec::new());
        folder.relate();
        let all = told("", &["x.11.tape", "x.12.tape", "x.13.tape"]);
        assert_eq!(folder.relations("x.tape"), all);
        let first = told("x.tape", &["x.11.1.tape"]);
        assert_eq!(folder.relations("x.11.tape"), first);
        assert_eq!(folder.relations("x.11.1.tape"), told("x.11.tape", &[]));
        assert_eq!(folder.relations("x.12.tape"), told("x.tape", &[]));
        // Whose blocks it inherited is not known.
        assert_eq!(folder.relations("x.13.tape"), told("", &[]));
        // A second time: nothing is said twice.
        folder.relate();
        assert_eq!(folder.relations("x.tape"), all);
    }

    #[test]
    fn a_name_that_went_on_to_the_next_image_is_not_taken_for_the_parents() {
        let mut folder = Folder::new();
        // The drainer had renamed the first image's tape and died.
        let first = folder.tape("x.10.1.tape", 1, (ROOT, 0), 100);
        folder.write("x.10.1.tape", first, Vec::new());
        let second = folder.tape("x.tape", 2, (ROOT, 1), 300);
        folder.write("x.tape", second, Vec::new());
        let mut early = folder.tape("x.11.tape", 3, (11, 0), 200);
        early.parent_tape = "x.tape".into();
        folder.write("x.11.tape", early, Vec::new());
        let mut late = folder.tape("x.12.tape", 4, (12, 0), 400);
        late.parent_tape = "x.tape".into();
        folder.write("x.12.tape", late, Vec::new());
        folder.relate();
        let first = told("", &["x.11.tape", "x.tape"]);
        assert_eq!(folder.relations("x.10.1.tape"), first);
        assert_eq!(
            folder.relations("x.tape"),
            told("x.10.1.tape", &["x.12.tape"])
        );
        assert_eq!(folder.relations("x.11.tape"), told("x.10.1.tape", &[]));
        assert_eq!(folder.relations("x.12.tape"), told("x.tape", &[]));
    }

    #[test]
    fn a_tape_that_was_begun_and_says_nothing_is_removed() {
        let mut folder = Folder::new();
        let root = folder.tape("x.tape", 1, (ROOT, 0), 100);
        folder.write("x.tape", root, Vec::new());
        let mut names = Names::new(&folder.folder.path().join("x.11.tape"));
        let mut header = TapeHeader::new(heaptape_format::header::ClockKind::Monotonic, 1, 0);
        header.session_id = SESSION;
        let tape = TapeWriter::begin(names.create_root().unwrap(), header.clone());
        drop(tape);
        let mut names = Names::new(&folder.folder.path().join("y.tape"));
        header.session_id = [8; 16];
        drop(TapeWriter::begin(names.create_root().unwrap(), header));
        folder.relate();
        assert!(!folder.folder.path().join("x.11.tape").exists());
        // Another session's.
        assert!(folder.folder.path().join("y.tape").exists());
        assert_eq!(folder.relations("x.tape"), told("", &[]));
    }
}
