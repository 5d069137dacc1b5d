//! An opened recording: the tape, its index, and every question that can be asked of them.
//!
//! In: a path. Out: answers. The index is loaded or built by the first question that needs it.
//! Everything is answered from the same index bytes, whether they come from a file or not.

use crate::block::{Block, Lifetime, StreamId};
use crate::error::Error;
use crate::gap::Gap;
use crate::history::transitions::is_heap;
use crate::index::build::{Grain, build};
use crate::index::{Index, IndexInfo, Peak, Summary, place};
use crate::moment::{Moment, ResolvedMoment};
use crate::snapshot::{Fault, lifetimes, live_heap, owners, steps};
use crate::tape::Tape;
use crate::timeline::{self, TimelinePoint};
use heaptape_format::scan::Damage;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

mod inheritance;

use inheritance::Parent;

/// Parents of parents that are opened: a longer line of forks is cut there.
const ANCESTORS_MAX: usize = 64;

/// Is told how far the building of an index is, from 0 to 1.
#[derive(Clone)]
pub struct Progress(pub Arc<dyn Fn(f64) + Send + Sync>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// How to open a recording.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Threads for the work; None: one for each core.
    pub threads: Option<usize>,
    /// Use an index that stands beside the tape or in the cache folder.
    pub use_index: bool,
    /// Write the index when one had to be built. Where it cannot be written it is kept in memory.
    pub write_index: bool,
    /// Believe an index only after the checksums of all events were compared: the whole tape is
    /// read. Else damage since the index was built is met by the questions that need the events.
    pub check_events: bool,
    /// Events in a slice of the index, about: smaller ones make a larger index and faster
    /// answers; None: as many as suit the size of the heap. No answer depends on it.
    pub slice_events: Option<u64>,
    /// Events that are resolved together, about; None: a good number. No answer depends on it.
    pub window_events: Option<u64>,
    /// Where indexes go that cannot stand beside their tape; None: `heaptape` in
    /// `$XDG_CACHE_HOME`, else in `~/.cache`.
    pub cache_folder: Option<PathBuf>,
    /// Is told how far the building of an index is.
    pub progress: Option<Progress>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            threads: None,
            use_index: true,
            write_index: true,
            check_events: false,
            slice_events: None,
            window_events: None,
            cache_folder: None,
            progress: None,
        }
    }
}

/// An opened recording. The index is loaded or built by the first question that needs it.
#[derive(Debug)]
pub struct Recording {
    tape: Tape,
    parent: Option<Parent>,
    options: OpenOptions,
    pool: Option<Arc<ThreadPool>>,
    index: OnceLock<Index>,
    /// Held while the index is loaded or built, so that it happens once.
    building: Mutex<()>,
}

impl Recording {
    /// Opens the tape at `path`, and those of the processes that it was forked from. Damage in it
    /// is no error: see [`Tape::damage`].
    ///
    /// # Errors
    /// When the file cannot be read or is not a tape, or threads cannot be started.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        Self::of_tape(|| Tape::open(path), path, options)
    }

    /// As [`Recording::open`], of the tape at `path` that `open` opens.
    pub(crate) fn of_tape(
        open: impl FnOnce() -> Result<Tape, Error> + Send,
        path: &Path,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let pool = options.threads.map(pool).transpose()?;
        let found = |pool| Self::open_in(open()?, path, options, pool);
        match pool.clone() {
            Some(threads) => threads.install(|| found(pool)),
            None => found(None),
        }
    }

    fn open_in(
        tape: Tape,
        path: &Path,
        options: &OpenOptions,
        pool: Option<Arc<ThreadPool>>,
    ) -> Result<Self, Error> {
        let mut line = vec![tape];
        while let Some(parent) = line.last().and_then(Tape::parent_tape) {
            let is_known = line
                .iter()
                .any(|tape| tape.header.tape_id == parent.header.tape_id);
            if is_known || line.len() > ANCESTORS_MAX {
                break;
            }
            line.push(parent);
        }
        let mut recording: Option<Self> = None;
        while let Some(mut tape) = line.pop() {
            let parent = recording.take().map(|parent| Parent {
                stacks: tape.adopt_stacks(&parent.tape),
                recording: Box::new(parent),
            });
            recording = Some(Self {
                tape,
                parent,
                options: options.clone(),
                pool: pool.clone(),
                index: OnceLock::new(),
                building: Mutex::new(()),
            });
        }
        recording.ok_or(Error::Index {
            path: path.to_owned(),
            what: "lineage",
        })
    }

    /// The tape.
    #[must_use]
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The tape, for who lets it grow and asks no question that needs an index.
    pub(crate) fn tape_mut(&mut self) -> &mut Tape {
        &mut self.tape
    }

    /// The recording of the process that forked this one, when its tape is there.
    #[must_use]
    pub fn parent(&self) -> Option<&Self> {
        self.parent.as_ref().map(|parent| &*parent.recording)
    }

    /// The totals of the run. Loads or builds the index.
    ///
    /// # Errors
    /// [`Error::Index`] only.
    pub fn summary(&self) -> Result<&Summary, Error> {
        Ok(&self.index()?.summary)
    }

    /// What keeps this recording from telling of the whole run; None when it does. The blocks of
    /// the process that forked this one are another matter: see [`Summary::inherited_known`].
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn gap(&self) -> Result<Option<Gap>, Error> {
        Ok(Gap::of(&self.tape, Some(self.summary()?)))
    }

    /// All damage of the tape, by offset: chunk headers, tables and events.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn damage(&self) -> Result<Vec<Damage>, Error> {
        let mut damage = self.tape.damage.clone();
        damage.extend(self.tape.event_damage(&self.index()?.damaged));
        damage.sort_by_key(|damage| damage.offset);
        Ok(damage)
    }

    /// Every block that is alive at stamp `at`: all domains (filter by [`Block::domain`]; totals
    /// and peaks count native, raw, mem and obj), without inherited blocks, by domain and address.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn live_heap(&self, at: u64) -> Result<Vec<Block>, Error> {
        let mut blocks = self.all_alive(at)?;
        blocks.retain(|block| block.stream != StreamId::INHERITED);
        Ok(blocks)
    }

    /// The blocks that a forked process got from its parent and that are still alive at `at`.
    /// Their stream is [`StreamId::INHERITED`], their stacks are in this tape's table, and they
    /// were born before the fork.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn inherited_at(&self, at: u64) -> Result<Vec<Block>, Error> {
        let mut blocks = self.all_alive(at)?;
        blocks.retain(|block| block.stream == StreamId::INHERITED);
        Ok(blocks)
    }

    fn all_alive(&self, at: u64) -> Result<Vec<Block>, Error> {
        let index = self.index()?;
        self.install(|| live_heap::live_heap(&self.tape, index, at))
            .map_err(|fault| self.error_of(fault))
    }

    /// Every block that was born from `from` to `to` (both included), with its end; all domains,
    /// without inherited blocks, by birth.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn lifetimes(&self, from: u64, to: u64) -> Result<Vec<Lifetime>, Error> {
        let found = Mutex::new(Vec::new());
        self.visit_lifetimes(from, to, |lifetime| {
            if let Ok(mut found) = found.lock() {
                found.push(*lifetime);
            }
        })?;
        let mut found = found.into_inner().unwrap_or_default();
        self.install(|| {
            found.par_sort_unstable_by_key(|lifetime| {
                // Every field: several threads gave them in any order.
                let (block, death) = (&lifetime.block, lifetime.death);
                let place = (block.born, block.domain, block.address);
                let end = death.map(|end| (end.stamp, end.stream, end.operation, end.stack));
                let rest = (block.size, block.stack, block.stream, block.operation);
                (place, death.is_none(), end, rest)
            });
        });
        Ok(found)
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
        let index = self.index()?;
        self.install(|| lifetimes::visit(&self.tape, index, from, to, &visit))
            .map_err(|fault| self.error_of(fault))
    }

    /// When the last byte of a block was given back: its death, or that of the last part of a
    /// mapping that was unmapped in parts; None while some of it is left.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn last_end(&self, lifetime: &Lifetime) -> Result<Option<u64>, Error> {
        Ok(self.index()?.last_end(lifetime))
    }

    /// Every block that contained `address`, inherited ones included, in the order of time.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn owners(&self, address: u64) -> Result<Vec<Lifetime>, Error> {
        let all = self.owners_of_each(&[address])?;
        Ok(all.into_iter().flatten().collect())
    }

    /// As [`Recording::owners`], for each of `addresses`; the tape is not read more often for many.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn owners_of_each(&self, addresses: &[u64]) -> Result<Vec<Vec<Lifetime>>, Error> {
        let inherited = self.inherited().unwrap_or_default();
        let index = self.index()?;
        self.install(|| owners::owners(&self.tape, index, &inherited, addresses))
            .map_err(|fault| self.error_of(fault))
    }

    /// The live heap at `points` evenly spaced moments, the last of them the end of the run. Each
    /// point has the exact state at its moment.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn timeline(&self, points: usize) -> Result<Vec<TimelinePoint>, Error> {
        let index = self.index()?;
        let moments = timeline::moments(&self.tape, points);
        let steps = self
            .install(|| steps::cut(&self.tape, index, &moments))
            .map_err(|fault| self.error_of(fault))?;
        Ok(timeline::points(&self.tape, &steps, &moments))
    }

    /// Up to `count` separate peaks, the highest first. Two peaks are separate when the live
    /// bytes fall, somewhere between them, to at most nine tenths of the lower one.
    ///
    /// # Errors
    /// As [`Recording::summary`].
    pub fn peaks(&self, count: usize) -> Result<Vec<Peak>, Error> {
        let peaks = self.index()?.peaks.iter();
        Ok(peaks.take(count).copied().collect())
    }

    /// The stamp and the time that `moment` stands for in this tape, which tells of its heap then.
    ///
    /// # Errors
    /// As [`Recording::when`], and when the tape was folded behind that moment.
    pub fn resolve(&self, moment: &Moment) -> Result<ResolvedMoment, Error> {
        let found = self.when(moment)?;
        self.check_told(found)?;
        Ok(found)
    }

    /// Fails for moments of which the tape does not tell any more.
    ///
    /// # Errors
    /// [`Error::Folded`].
    pub fn check_told(&self, moment: ResolvedMoment) -> Result<(), Error> {
        let from = self.tape.moment_of_stamp(self.tape.told_from());
        match self.tape.folded {
            Some(_) if moment.stamp < from.stamp => Err(Error::Folded {
                path: self.tape.path.clone(),
                asked_ns: moment.ns,
                from_ns: from.ns,
            }),
            _ => Ok(()),
        }
    }

    /// The stamp and the time that `moment` stands for in this tape, whether the tape still tells
    /// of its heap then or not.
    ///
    /// # Errors
    /// When the tape has no such mark, peak or sample; as [`Recording::summary`] for peaks.
    pub fn when(&self, moment: &Moment) -> Result<ResolvedMoment, Error> {
        match moment {
            Moment::Peak(place) => {
                let index = self.index()?;
                let peak = match *place {
                    1 => Some(&index.summary.peak),
                    place => index.peaks.get(place.saturating_sub(1)),
                };
                let peak = peak.ok_or_else(|| Error::UnknownPeak {
                    path: self.tape.path.clone(),
                    asked: *place,
                    known: index.peaks.len(),
                })?;
                Ok(self.tape.moment_of_stamp(peak.stamp))
            }
            other => other.resolve_in(&self.tape),
        }
    }

    /// Where the index stands or would be written first: beside the tape.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        place::beside(&self.tape.path)
    }

    /// Builds the index now, even when a good one is there, and writes it.
    ///
    /// # Errors
    /// [`Error::WriteIndex`] when it can be written nowhere.
    pub fn build_index(&self) -> Result<IndexInfo, Error> {
        let chunks = self.install(|| self.index_chunks());
        let origin = place::origin(&self.tape, self.parent().map(Self::tape));
        let path = place::store(&self.tape, &origin, &chunks, self.cache())?;
        let index = self.index_of(chunks)?;
        let info = IndexInfo {
            path: Some(path),
            bytes: index.total_bytes,
            slices: index.borders.ends.len() as u64,
            survivors: index.survivor_count(),
        };
        // A question may have loaded one before: it says the same.
        let _ = self.index.set(index);
        Ok(info)
    }

    fn index(&self) -> Result<&Index, Error> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        // A panic of another thread leaves nothing half done here.
        let _alone = self
            .building
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let origin = place::origin(&self.tape, self.parent().map(Self::tape));
        let loaded = match self.options.use_index {
            true => place::load(&self.tape, &origin, self.cut(), self.cache()),
            false => None,
        };
        let loaded = loaded.filter(|(index, _)| {
            !self.options.check_events || self.install(|| self.tape.are_sound(&index.damaged))
        });
        let index = match loaded {
            Some((index, _)) => index,
            None => {
                let chunks = self.install(|| self.index_chunks());
                if self.options.write_index {
                    // Only asked for in passing: without a place to write it, memory will do.
                    let _ = place::store(&self.tape, &origin, &chunks, self.cache());
                }
                self.index_of(chunks)?
            }
        };
        Ok(self.index.get_or_init(|| index))
    }

    fn index_chunks(&self) -> Vec<u8> {
        let inheritance = self.inheritance();
        let grain = Grain {
            slice_events: self.options.slice_events,
            window_events: self.options.window_events,
        };
        let progress = self.options.progress.as_ref();
        build(&self.tape, &inheritance, grain, &|done| {
            if let Some(progress) = progress {
                (progress.0)(done);
            }
        })
    }

    fn index_of(&self, chunks: Vec<u8>) -> Result<Index, Error> {
        Index::of_chunks(chunks, self.cut()).ok_or_else(|| Error::Index {
            path: self.index_path(),
            what: "a new index does not read back",
        })
    }

    fn cache(&self) -> Option<&Path> {
        self.options.cache_folder.as_deref()
    }

    fn cut(&self) -> Option<u64> {
        self.tape.is_forked().then_some(self.tape.process.cut_stamp)
    }

    fn error_of(&self, fault: Fault) -> Error {
        match fault {
            Fault::Index => Error::Index {
                path: self.index_path(),
                what: "survivors",
            },
            Fault::Events(offset) => Error::Changed {
                path: self.tape.path.clone(),
                offset,
            },
        }
    }

    /// Runs `work` on this recording's threads.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

fn pool(threads: usize) -> Result<Arc<ThreadPool>, Error> {
    let started = ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    started.map(Arc::new).map_err(|reason| Error::Threads {
        threads,
        reason: reason.to_string(),
    })
}

/// True when a block counts in totals and peaks: its domain is native, raw, mem or obj.
#[must_use]
pub fn is_heap_block(block: &Block) -> bool {
    is_heap(block.domain)
}
