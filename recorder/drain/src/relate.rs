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
        let mut payload = Vec::new();
        for found in Scan::new(&tape, length) {
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
        Some(Self {
            path: path.to_owned(),
            tape_id: header.tape_id,
            process: process?,
            children,
        })
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
) {
    let mut tapes: Vec<Relations> = Vec::new();
    for entry in folders.flat_map(std::fs::read_dir).flatten().flatten() {
        let path = entry.path();
        if !tapes.iter().any(|tape| tape.path == path) {
            tapes.extend(Relations::read(&path, session_id));
        }
    }
    for child in &tapes {
        let named = &child.process.parent_tape;
        let was_there = begun.values().any(|id| *id == child.tape_id);
        let old = begun.get(named).filter(|_| was_there);
        let record = child_of(&child.process, file_name(&child.path));
        let parent = tapes.iter().find(|tape| match old {
            Some(id) => tape.tape_id == *id,
            // It was begun, and its drainer died before it could say more.
            None if named.is_empty() => tape.record_of(&record).is_some(),
            None => file_name(&tape.path) == *named,
        });
        let Some(parent) = parent.filter(|parent| parent.tape_id != child.tape_id) else {
            continue;
        };
        let stamp = child.process.cut_stamp;
        let parent_tape = file_name(&parent.path);
        if *named != parent_tape {
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
