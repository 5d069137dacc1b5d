//! An opened recording: the tape, its index, and every question that can be asked of them.

use crate::block::{Block, Lifetime};
use crate::error::Error;
use crate::index::{IndexInfo, Peak, Summary};
use crate::moment::{Moment, ResolvedMoment};
use crate::tape::Tape;
use crate::timeline::TimelinePoint;
use std::path::{Path, PathBuf};

/// How to open a recording.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Threads for the work; None: one for each core.
    pub threads: Option<usize>,
    /// Use an index that stands beside the tape or in the cache folder.
    pub use_index: bool,
    /// Write the index when one had to be built.
    pub write_index: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            threads: None,
            use_index: true,
            write_index: true,
        }
    }
}

/// An opened recording. The index is loaded or built by the first question that needs it.
#[derive(Debug)]
pub struct Recording {
    tape: Tape,
    summary: Summary,
}

impl Recording {
    /// Opens the tape at `path`. Damage in it is no error: see [`Tape::damage`].
    ///
    /// # Errors
    /// When the file cannot be read or is not a tape.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let _ = options;
        Ok(Self {
            tape: Tape::open(path)?,
            summary: Summary::default(),
        })
    }

    /// The tape.
    #[must_use]
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The totals of the run. Loads or builds the index.
    ///
    /// # Errors
    /// [`Error::Index`] only.
    pub fn summary(&self) -> Result<&Summary, Error> {
        Ok(&self.summary)
    }

    /// Every block that is alive at stamp `at`: all domains (filter by [`Block::domain`]; totals
    /// and peaks count native, raw, mem and obj), without inherited blocks, by domain and address.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn live_heap(&self, at: u64) -> Result<Vec<Block>, Error> {
        let _ = at;
        Ok(Vec::new())
    }

    /// The blocks that a forked process got from its parent and that are still alive at `at`.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn inherited_at(&self, at: u64) -> Result<Vec<Block>, Error> {
        let _ = at;
        Ok(Vec::new())
    }

    /// Every block that was born from `from` to `to` (both included), with its end; all domains,
    /// without inherited blocks, by birth.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn lifetimes(&self, from: u64, to: u64) -> Result<Vec<Lifetime>, Error> {
        let _ = (from, to);
        Ok(Vec::new())
    }

    /// Calls `visit` for each of [`Recording::lifetimes`], from several threads, in no order.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn visit_lifetimes(
        &self,
        from: u64,
        to: u64,
        visit: impl Fn(&Lifetime) + Sync,
    ) -> Result<(), Error> {
        let _ = (from, to, visit);
        Ok(())
    }

    /// Every block that contained `address`, inherited ones included, in the order of time.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn owners(&self, address: u64) -> Result<Vec<Lifetime>, Error> {
        let _ = address;
        Ok(Vec::new())
    }

    /// The live heap at `points` evenly spaced moments.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn timeline(&self, points: usize) -> Result<Vec<TimelinePoint>, Error> {
        let _ = points;
        Ok(Vec::new())
    }

    /// Up to `count` separate peaks, the highest first.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn peaks(&self, count: usize) -> Result<Vec<Peak>, Error> {
        let _ = count;
        Ok(Vec::new())
    }

    /// The stamp and the time that `moment` stands for in this tape.
    ///
    /// # Errors
    /// When the tape has no such mark, peak or sample.
    pub fn resolve(&self, moment: &Moment) -> Result<ResolvedMoment, Error> {
        let _ = moment;
        Ok(ResolvedMoment { stamp: 0, ns: 0 })
    }

    /// Where the index stands or would be written first: beside the tape.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        self.tape.path.with_extension("tape.idx")
    }

    /// Builds the index now, even when a good one is there, and writes it.
    ///
    /// # Errors
    /// [`Error::WriteIndex`] when it can be written nowhere.
    pub fn build_index(&self) -> Result<IndexInfo, Error> {
        Ok(IndexInfo {
            path: None,
            bytes: 0,
            slices: 0,
            survivors: 0,
        })
    }
}
