//! What is true of a generated tape: counted while the model program runs, from what it does and
//! not from its tape, so that a reader can be compared with it.

use super::parameters::Parameters;
use super::stacks::Stacks;
use serde_json::{Value, json};

/// Bytes and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Requested bytes.
    pub bytes: u64,
    /// Blocks.
    pub count: u64,
}

impl Total {
    fn add(&mut self, size: u32) {
        self.bytes += u64::from(size);
        self.count += 1;
    }

    fn remove(&mut self, size: u32) {
        self.bytes -= u64::from(size);
        self.count -= 1;
    }

    fn json(self) -> Value {
        json!({"bytes": self.bytes, "count": self.count})
    }
}

/// Live blocks of one stack at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfStack {
    /// Place of its leaf in [`Stacks::leaves`].
    pub leaf: u32,
    /// Its live blocks.
    pub live: Total,
}

/// The live heap at a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The mark's name.
    pub mark: String,
    /// Its stamp; the state includes every event up to it.
    pub stamp: u64,
    /// All live blocks.
    pub live: Total,
    /// By the thread that allocated them.
    pub threads: Vec<Total>,
    /// Of some stacks, or of all.
    pub stacks: Vec<OfStack>,
}

/// The whole truth.
#[derive(Debug, Default)]
pub struct Truth {
    /// At the marks.
    pub moments: Vec<Moment>,
    /// Allocations.
    pub allocs: u64,
    /// Frees of live blocks.
    pub frees: u64,
    /// Reallocations of live blocks.
    pub reallocs: u64,
    /// Frees of what was never allocated.
    pub unknown_frees: u64,
    /// Requested bytes of all allocations and reallocations.
    pub allocated_bytes: u64,
    /// The first stamp of the most live bytes, and the heap then.
    pub peak: (u64, Total),
    /// The heap now; in the end, at the end.
    pub live: Total,
    stamp: u64,
    threads: Vec<Total>,
    leaves: Vec<Total>,
}

impl Truth {
    /// Of nothing.
    #[must_use]
    pub fn new(parameters: &Parameters, stacks: &Stacks) -> Self {
        Self {
            threads: vec![Total::default(); parameters.threads as usize],
            leaves: vec![Total::default(); stacks.leaves.len()],
            ..Self::default()
        }
    }

    /// Everything of the stamps before this one has happened.
    #[inline]
    fn reach(&mut self, stamp: u64) {
        if stamp > self.stamp {
            if self.live.bytes > self.peak.1.bytes {
                self.peak = (self.stamp, self.live);
            }
            self.stamp = stamp;
        }
    }

    /// A block is there.
    #[inline]
    pub fn born(&mut self, stamp: u64, thread: u32, leaf: u32, size: u32) {
        self.reach(stamp);
        self.allocated_bytes += u64::from(size);
        self.live.add(size);
        self.threads[thread as usize].add(size);
        self.leaves[leaf as usize].add(size);
    }

    /// A block is gone; `thread` had allocated it.
    #[inline]
    pub fn died(&mut self, stamp: u64, thread: u32, leaf: u32, size: u32) {
        self.reach(stamp);
        self.live.remove(size);
        self.threads[thread as usize].remove(size);
        self.leaves[leaf as usize].remove(size);
    }

    /// Tells of now, the last moment with this stamp, and of `told` stacks.
    pub fn tell(&mut self, mark: String, stamp: u64, told: u64) {
        let count = self.leaves.len() as u64;
        // The most popular ones, and others of all ranks.
        let popular = (0..count).take((told / 2) as usize);
        let step = (count / (told - told / 2).max(1)).max(1);
        let others = (told / 2..count).step_by(step as usize);
        let chosen: Vec<u64> = match told >= count {
            true => (0..count).collect(),
            false => popular.chain(others).take(told as usize).collect(),
        };
        let of = |leaf: u64| OfStack {
            leaf: leaf as u32,
            live: self.leaves[leaf as usize],
        };
        self.moments.push(Moment {
            mark,
            stamp,
            live: self.live,
            threads: self.threads.clone(),
            stacks: chosen.into_iter().map(of).collect(),
        });
    }

    /// Nothing more happens.
    pub fn finish(&mut self) {
        self.reach(u64::MAX);
    }

    /// For a file.
    #[must_use]
    pub fn json(&self, parameters: &Parameters, stacks: &Stacks) -> Value {
        let frames = |leaf: u32| -> Vec<Value> {
            let node = stacks.leaves[leaf as usize].node;
            let source = stacks.source(node).into_iter();
            let frame =
                source.map(|f| json!({"function": f.function, "file": f.file, "line": f.line}));
            frame.collect()
        };
        let of_stack = |of: &OfStack| {
            let OfStack { leaf, live } = of;
            json!({"frames": frames(*leaf), "bytes": live.bytes, "count": live.count})
        };
        let moment = |moment: &Moment| {
            let threads: Vec<Value> = moment.threads.iter().map(|total| total.json()).collect();
            let stacks: Vec<Value> = moment.stacks.iter().map(of_stack).collect();
            json!({
                "mark": moment.mark,
                "stamp": moment.stamp,
                "live": moment.live.json(),
                "threads": threads,
                "stacks": stacks,
            })
        };
        let (stamp, peak) = self.peak;
        json!({
            "parameters": format!("{parameters:?}"),
            "allocs": self.allocs,
            "frees": self.frees,
            "reallocs": self.reallocs,
            "unknown_frees": self.unknown_frees,
            "allocated_bytes": self.allocated_bytes,
            "peak": {"stamp": stamp, "bytes": peak.bytes, "count": peak.count},
            "end": self.live.json(),
            "moments": self.moments.iter().map(moment).collect::<Vec<_>>(),
        })
    }
}
