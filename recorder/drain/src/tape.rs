//! One tape: chunks in order, counts, and a proper end.
//!
//! In: events collected in a [`Press`], stack nodes, table records. Out: chunks appended to a
//! [`TapeFile`]. When the file cannot grow, the tape is *full*: it stays valid to that point,
//! takes nothing more, counts what it had to refuse, and still gets its end.

use crate::error::binary;
use crate::outcome::LOST;
use crate::press::Press;
use crate::tape_file::TapeFile;
use heaptape_format::chunk::{ChunkInfo, ChunkKind, NO_STREAM};
use heaptape_format::event::OperationKind;
use heaptape_format::header::{FOLDED, PYTHON_FRAMES, RETAGS};
use heaptape_format::tables::{
    End, Folded, Frame, Lost, LostReason, Record, StackNode, Totals, put_record, put_records,
    put_stack_nodes,
};
use heaptape_format::{DecodeError, TapeHeader};
use std::io;
use std::path::{Path, PathBuf};

/// Events in a tape, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventCounts {
    /// Allocations.
    pub allocs: u64,
    /// Frees.
    pub frees: u64,
    /// Reallocations.
    pub reallocs: u64,
    /// Maps, unmaps and remaps.
    pub maps: u64,
    /// Retags.
    pub retags: u64,
    /// Requested bytes of allocations and reallocations.
    pub allocated_bytes: u64,
    /// Lost events that the tape states.
    pub lost: u64,
}

impl EventCounts {
    /// Counts one event.
    #[inline]
    pub fn add(&mut self, kind: OperationKind, size: u64) {
        match kind {
            OperationKind::Alloc => self.allocs += 1,
            OperationKind::Free => self.frees += 1,
            OperationKind::Realloc => self.reallocs += 1,
            OperationKind::Map | OperationKind::Unmap | OperationKind::Remap => self.maps += 1,
            OperationKind::Retag => self.retags += 1,
            OperationKind::Reserved => {}
        }
        if matches!(kind, OperationKind::Alloc | OperationKind::Realloc) {
            self.allocated_bytes = self.allocated_bytes.saturating_add(size);
        }
    }

    /// Counts allocations, of `bytes` together, and frees.
    pub fn add_short(&mut self, allocs: u64, frees: u64, bytes: u64) {
        self.allocs += allocs;
        self.frees += frees;
        self.allocated_bytes = self.allocated_bytes.saturating_add(bytes);
    }

    /// Counts the events that an earlier fold took out of the tape.
    pub fn add_folded(&mut self, folded: &Folded) {
        let others = [folded.allocs, folded.reallocs, folded.maps, folded.reuses];
        let others = others.into_iter().fold(0, u64::saturating_add);
        for (count, more) in [
            (&mut self.allocs, folded.allocs),
            // Of known blocks or not.
            (&mut self.frees, folded.events.saturating_sub(others)),
            (&mut self.reallocs, folded.reallocs),
            (&mut self.maps, folded.maps),
            (&mut self.retags, folded.reuses),
            (&mut self.allocated_bytes, folded.allocated_bytes),
        ] {
            *count = count.saturating_add(more);
        }
    }

    /// Adds `other` to it.
    pub fn merge(&mut self, other: &Self) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.reallocs += other.reallocs;
        self.maps += other.maps;
        self.retags += other.retags;
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
        self.lost += other.lost;
    }

    /// All events that are in the tape.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.allocs + self.frees + self.reallocs + self.maps + self.retags
    }
}

/// What became of a tape.
#[derive(Debug, Clone)]
pub struct FinishedTape {
    /// Where it is; None: it could not be created.
    pub path: Option<PathBuf>,
    /// What is in it.
    pub counts: EventCounts,
    /// Its chunks, by their numbers: the next one would have this number.
    pub chunks: u64,
    /// Why it ends early, for a person.
    pub problem: Option<String>,
}

/// A tape that is being written.
#[derive(Debug)]
pub struct TapeWriter {
    /// None: it could not even be created.
    file: Option<TapeFile>,
    header: TapeHeader,
    /// Number of the next chunk.
    sequence: u64,
    counts: EventCounts,
    /// Why nothing more can be written.
    full: Option<String>,
    /// Events that were refused since: how many, first and last stamp.
    refused: Option<(u64, u64, u64)>,
    /// Largest stamp of the events that were given to it.
    last_event_stamp: u64,
    out: Vec<u8>,
}

impl TapeWriter {
    /// Writes the header into the empty `file`.
    #[must_use]
    pub fn begin(mut file: TapeFile, header: TapeHeader) -> Self {
        let mut out = Vec::new();
        header.encode(&mut out);
        let written = file.append(&out).err();
        let full = written.map(|error| full_text(&error, file.limit()));
        if full.is_some() {
            // Not even room to keep for the end; a header alone still is a tape.
            let _ = file.append_last(&out);
        }
        Self {
            file: Some(file),
            header,
            sequence: 0,
            counts: EventCounts::default(),
            full,
            refused: None,
            last_event_stamp: 0,
            out,
        }
    }

    /// Goes on with a tape whose file ends with chunk `sequence` - 1.
    #[must_use]
    pub fn resume(file: TapeFile, header: TapeHeader, sequence: u64, counts: EventCounts) -> Self {
        Self {
            file: Some(file),
            header,
            sequence,
            counts,
            full: None,
            refused: None,
            last_event_stamp: 0,
            out: Vec::new(),
        }
    }

    /// A tape that could not be created: it only counts what it refuses.
    #[must_use]
    pub fn refusing(header: TapeHeader, reason: String) -> Self {
        Self {
            file: None,
            header,
            sequence: 0,
            counts: EventCounts::default(),
            full: Some(reason),
            refused: None,
            last_event_stamp: 0,
            out: Vec::new(),
        }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &TapeHeader {
        &self.header
    }

    /// What was written so far.
    #[must_use]
    pub fn counts(&self) -> &EventCounts {
        &self.counts
    }

    /// Where it is, when it could be created.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(TapeFile::path)
    }

    /// Why nothing more can be written, if so.
    #[must_use]
    pub fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// Bytes of its file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, TapeFile::bytes)
    }

    /// True when its file's name no longer leads to it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.file.as_ref().is_some_and(TapeFile::is_lost)
    }

    /// Takes nothing more, because of `reason`.
    pub fn fill_up(&mut self, reason: String) {
        self.full.get_or_insert(reason);
    }

    /// Puts the file at `path`, in which the first `bytes` bytes of this tape are folded and the
    /// header is missing, into their place.
    ///
    /// # Errors
    /// As reading, writing and renaming files: the tape is as before.
    pub fn replace_beginning(&mut self, bytes: u64, path: &Path) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut header = self.header.clone();
        header.must_understand |= FOLDED;
        self.out.clear();
        header.encode(&mut self.out);
        file.replace_beginning(bytes, path, &self.out)?;
        self.header = header;
        Ok(())
    }

    /// States in the header that the tape has something that a reader must understand.
    fn announce(&mut self, feature: u64) {
        let file = self.file.as_mut().filter(|_| self.full.is_none());
        let Some(file) = file.filter(|_| self.header.must_understand & feature == 0) else {
            return;
        };
        self.header.must_understand |= feature;
        self.out.clear();
        self.header.encode(&mut self.out);
        if let Err(error) = file.replace_header(&self.out) {
            self.full = Some(full_text(&error, file.limit()));
        }
    }

    fn append(&mut self, press: &mut Press, info: ChunkInfo, payload: &[u8]) -> bool {
        let Some(file) = self.file.as_mut().filter(|_| self.full.is_none()) else {
            return false;
        };
        self.out.clear();
        let written = press
            .chunks
            .encode(&info, payload, &mut self.out)
            .map_err(|error: DecodeError| io::Error::other(error))
            .and_then(|()| file.append(&self.out));
        match written {
            Ok(()) => {
                self.sequence += 1;
                true
            }
            Err(error) => {
                self.full = Some(full_text(&error, file.limit()));
                false
            }
        }
    }

    /// Appends records of one kind; nothing for no records. `stamps`: their smallest and largest.
    pub fn table<R: Record>(&mut self, press: &mut Press, records: &[R], stamps: (u64, u64)) {
        let _ = put_records(records, |count, payload| {
            let info = ChunkInfo {
                stamp_first: stamps.0,
                stamp_last: stamps.1,
                ..ChunkInfo::table(R::KIND, count, self.sequence)
            };
            if self.append(press, info, payload) {
                Ok(())
            } else {
                Err(())
            }
        });
    }

    /// Appends stack nodes of `stream`, the first of which has the id `first`.
    pub fn nodes(&mut self, press: &mut Press, stream: u32, first: u32, nodes: &[StackNode]) {
        if nodes.is_empty() {
            return;
        }
        let is_python = |node: &StackNode| matches!(node.frame, Frame::Python { .. });
        if nodes.iter().any(is_python) {
            self.announce(PYTHON_FRAMES);
        }
        let mut payload = std::mem::take(&mut press.payload);
        payload.clear();
        put_stack_nodes(nodes, first, &mut payload);
        let info = ChunkInfo {
            stream,
            first: u64::from(first),
            ..ChunkInfo::table(ChunkKind::STACK_NODES, nodes.len() as u32, self.sequence)
        };
        self.append(press, info, &payload);
        press.payload = payload;
    }

    /// Appends the events that `press` has collected for `stream`, of which the tape has `first`
    /// already, and empties it.
    pub fn events(&mut self, press: &mut Press, stream: u32, first: u64) {
        let count = press.events.len();
        if count == 0 {
            return;
        }
        let (stamp_first, stamp_last) = press.events.stamps();
        self.last_event_stamp = self.last_event_stamp.max(stamp_last);
        let mut payload = std::mem::take(&mut press.payload);
        payload.clear();
        press.events.finish(&mut payload);
        let counts = std::mem::take(&mut press.counts);
        if counts.retags > 0 {
            self.announce(RETAGS);
        }
        let info = ChunkInfo {
            kind: ChunkKind::EVENTS,
            stream,
            count,
            stamp_first,
            stamp_last,
            sequence: self.sequence,
            first,
        };
        if self.append(press, info, &payload) {
            self.counts.merge(&counts);
        } else {
            self.refuse(u64::from(count), stamp_first, stamp_last);
        }
        press.payload = payload;
    }

    /// Largest stamp of the events that were given to this writer, 0 when there were none.
    #[must_use]
    pub fn last_event_stamp(&self) -> u64 {
        self.last_event_stamp
    }

    /// Counts events that could not be written.
    fn refuse(&mut self, count: u64, first: u64, last: u64) {
        let (before, from, to) = self.refused.unwrap_or((0, first, last));
        self.refused = Some((before + count, from.min(first), to.max(last)));
    }

    /// States lost events.
    pub fn lost(&mut self, press: &mut Press, lost: &[Lost]) {
        let first = lost.iter().map(|lost| lost.stamp_first).min();
        let last = lost.iter().map(|lost| lost.stamp_last).max();
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        self.counts.lost += lost.iter().map(|lost| lost.count).sum::<u64>();
        self.table(press, lost, (first, last));
    }

    /// Writes what was refused and the end, from the room that was kept for it, and closes the
    /// file. The counts in `end` are filled in here.
    pub fn finish(mut self, press: &mut Press, mut end: End) -> FinishedTape {
        let mut out = Vec::new();
        if let Some((count, stamp_first, stamp_last)) = self.refused {
            self.counts.lost += count;
            let lost = Lost {
                stream: NO_STREAM,
                count,
                stamp_first,
                stamp_last,
                reason: LostReason::TapeFull as u8,
            };
            self.last_chunk(press, &lost, (stamp_first, stamp_last), &mut out);
        }
        if let Some(reason) = &self.full {
            let gap = if end.message.is_empty() { "" } else { "; " };
            end.message = format!("{reason}{gap}{}", end.message);
        }
        let counts = self.counts;
        (end.allocs, end.frees) = (counts.allocs, counts.frees);
        (end.reallocs, end.lost) = (counts.reallocs, counts.lost);
        end.maps = counts.maps + counts.retags;
        let stamp = end.stamp;
        let totals = Totals {
            allocated_bytes: counts.allocated_bytes,
        };
        self.last_chunk(press, &totals, (stamp, stamp), &mut out);
        self.last_chunk(press, &end, (stamp, stamp), &mut out);
        // Without room even for the end the tape is a cut one, which readers know. Without a header
        // it is none, and no file is left of it.
        let (file, empty) = match self.file {
            Some(file) if file.has_header() => (Some(file), None),
            other => (None, other),
        };
        if let Some(empty) = empty {
            let _ = std::fs::remove_file(empty.path());
        }
        let Some(mut file) = file else {
            return FinishedTape {
                path: None,
                counts,
                chunks: self.sequence,
                problem: self.full,
            };
        };
        let _ = file.append_last(&out);
        let lost = file.is_lost().then(|| LOST.to_owned());
        let finished = FinishedTape {
            path: Some(file.path().to_owned()),
            counts,
            chunks: self.sequence,
            problem: self.full.or(lost),
        };
        file.finish();
        finished
    }

    fn last_chunk<R: Record>(
        &mut self,
        press: &mut Press,
        record: &R,
        stamps: (u64, u64),
        out: &mut Vec<u8>,
    ) {
        let mut payload = Vec::new();
        put_record(record, &mut payload);
        let info = ChunkInfo {
            stamp_first: stamps.0,
            stamp_last: stamps.1,
            ..ChunkInfo::table(R::KIND, 1, self.sequence)
        };
        if press.chunks.encode(&info, &payload, out).is_ok() {
            self.sequence += 1;
        }
    }
}

/// Why no more can be written to a tape of at most `limit` bytes.
fn full_text(error: &io::Error, limit: u64) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => "the tape's disk is full (no space left)".into(),
        Some(libc::EFBIG) => {
            let limit = binary(limit);
            format!("the tape met the file size limit of {limit} (ulimit -f)")
        }
        Some(libc::EDQUOT) => "the disk quota for the tape is used up".into(),
        _ => format!("the tape cannot be written: {error}"),
    }
}
