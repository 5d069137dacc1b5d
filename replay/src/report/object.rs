//! The owners of an address, or of each of several, as text and as JSON.

use super::rows_json::{JsonFrame, cut_name};
use super::rows_text::{write_cut, write_frames};
use super::style::{Paint, Style, printable};
use super::units::{self, Sizes};
use crate::block::{Block, Death, Lifetime, StackId, StreamId};
use crate::history::reuses::is_reuse;
use crate::stats::filter::thread_name;
use crate::symbols::{FrameTable, ResolvedFrame, StackFrames};
use crate::tape::Tape;
use rustc_hash::FxHashSet;
use serde::Serialize;
use std::io::{self, Write};

/// Who owned addresses.
#[derive(Debug)]
pub struct Owners<'t> {
    /// The tape.
    pub tape: &'t Tape,
    /// The addresses that were asked for, each with the blocks that held it, in the order of time.
    pub asked: Vec<(u64, Vec<Lifetime>)>,
    table: FrameTable,
    frames: StackFrames,
}

#[derive(Debug, Serialize)]
struct JsonOwners<'o> {
    address: String,
    owners: Vec<JsonOwner<'o>>,
}

#[derive(Debug, Serialize)]
struct JsonOwner<'o> {
    from_ns: u64,
    to_ns: Option<u64>,
    base: String,
    bytes: u64,
    /// Of what was left of a mapping: when that was mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped_ns: Option<u64>,
    /// Of memory that was used again without being freed: when it was allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_ns: Option<u64>,
    domain: &'o str,
    kind: &'static str,
    allocated: JsonEvent<'o>,
    freed: Option<JsonEvent<'o>>,
}

#[derive(Debug, Serialize)]
struct JsonEvent<'o> {
    thread: u32,
    frames: Vec<JsonFrame<'o>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'static str>,
}

impl<'t> Owners<'t> {
    /// Resolves the stacks of all lifetimes.
    #[must_use]
    pub fn new(tape: &'t Tape, asked: Vec<(u64, Vec<Lifetime>)>) -> Self {
        let mut stacks: FxHashSet<StackId> = FxHashSet::default();
        for lifetime in asked.iter().flat_map(|(_, lifetimes)| lifetimes) {
            stacks.insert(lifetime.block.stack);
            stacks.extend(lifetime.death.map(|death| death.stack));
        }
        let mut table = FrameTable::default();
        let frames = StackFrames::resolve(tape, &stacks, &mut table);
        Self {
            tape,
            asked,
            table,
            frames,
        }
    }

    fn frames(&self, stack: StackId) -> impl Iterator<Item = &ResolvedFrame> {
        self.frames.get(stack).map(|id| self.table.get(id))
    }

    fn json_event(&self, stream: StreamId, stack: StackId) -> JsonEvent<'_> {
        JsonEvent {
            thread: self
                .tape
                .stream(stream)
                .map_or(0, |stream| stream.thread_id),
            frames: self.frames(stack).map(JsonFrame::new).collect(),
            cut: self.frames.cut(stack).map(cut_name),
        }
    }

    /// Writes one JSON object, or for several addresses an array of them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let asked = self.asked.iter();
        let all: Vec<_> = asked
            .map(|(of, lifetimes)| self.json(*of, lifetimes))
            .collect();
        match all.as_slice() {
            [one] => serde_json::to_writer(&mut *out, one)?,
            many => serde_json::to_writer(&mut *out, many)?,
        }
        writeln!(out)
    }

    fn json(&self, address: u64, lifetimes: &[Lifetime]) -> JsonOwners<'_> {
        let ns = |stamp| self.tape.header.stamp_to_ns(stamp);
        let owners = lifetimes.iter().map(|lifetime| {
            let block = &lifetime.block;
            JsonOwner {
                from_ns: ns(block.born),
                to_ns: lifetime.death.map(|death| ns(death.stamp)),
                base: format!("{:#x}", block.address),
                bytes: block.size,
                mapped_ns: block.is_remainder.then(|| ns(block.allocated)),
                allocated_ns: is_reuse(block.operation).then(|| ns(block.allocated)),
                domain: self.tape.domain_name(block.domain),
                kind: block.operation.name(),
                allocated: self.json_event(block.stream, block.stack),
                freed: lifetime
                    .death
                    .filter(|death| !is_reuse(death.operation))
                    .map(|death| self.json_event(death.stream, death.stack)),
            }
        });
        JsonOwners {
            address: format!("{address:#x}"),
            owners: owners.collect(),
        }
    }

    /// Writes the owners for a person.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, style: &Style, sizes: Sizes, out: &mut dyn Write) -> io::Result<()> {
        for (number, (address, lifetimes)) in self.asked.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            let owners = match lifetimes.len() {
                0 => "no block held it".to_owned(),
                many => units::counted(many as u64, "owner"),
            };
            let title = format!("{address:#x}: {owners}");
            writeln!(out, "{}", style.paint(Paint::Bold, &title))?;
            for lifetime in lifetimes {
                self.write_owner(*address, lifetime, style, sizes, out)?;
                let is_end = |death: &Death| !is_reuse(death.operation);
                if let Some(death) = lifetime.death.filter(is_end) {
                    self.write_death(&lifetime.block, death, lifetimes, style, out)?;
                }
            }
        }
        Ok(())
    }

    fn write_owner(
        &self,
        address: u64,
        lifetime: &Lifetime,
        style: &Style,
        sizes: Sizes,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let ns = |stamp| self.tape.header.stamp_to_ns(stamp);
        let block = &lifetime.block;
        let until = match lifetime.death {
            Some(death) => format!("to {}", units::time(ns(death.stamp))),
            None => "and still alive".to_owned(),
        };
        let inside = match address.saturating_sub(block.address) {
            0 => String::new(),
            offset => format!(", {} into it", units::counted(offset, "byte")),
        };
        let head = format!(
            "from {} {until}: {} at {:#x}{inside} ({})",
            units::time(ns(block.born)),
            sizes.size_unit(block.size),
            block.address,
            printable(self.tape.domain_name(block.domain)),
        );
        writeln!(out, "\n  {}", style.fold(&head, 2, 4))?;
        let name = block.operation.name();
        let by = match block.stream {
            StreamId::INHERITED => {
                format!("inherited from the parent process, which allocated it by {name}")
            }
            stream if block.is_remainder => {
                let mapped = units::time(ns(block.allocated));
                let thread = self.thread(stream);
                format!("left of what was mapped at {mapped} by {name} in thread {thread}")
            }
            stream if is_reuse(block.operation) => {
                let allocated = units::time(ns(block.allocated));
                let thread = self.thread(stream);
                format!("used again, as {name} saw, in thread {thread}; allocated at {allocated}")
            }
            stream => format!("allocated by {name} in thread {}", self.thread(stream)),
        };
        writeln!(out, "    {}", style.fold(&by, 4, 6))?;
        self.write_stack(block.stack, style, out)
    }

    /// How a block ended, one of `all` of an address.
    fn write_death(
        &self,
        block: &Block,
        death: Death,
        all: &[Lifetime],
        style: &Style,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let name = death.operation.name();
        let is_left = |other: &Lifetime| {
            let other = &other.block;
            let mapped = (block.allocated, death.stamp);
            other.is_remainder && (other.allocated, other.born) == mapped
        };
        let what = match all.iter().any(is_left) {
            true => "unmapped in part",
            false => "ended",
        };
        let by = format!("{what} by {name} in thread {}", self.thread(death.stream));
        writeln!(out, "    {}", style.fold(&by, 4, 6))?;
        self.write_stack(death.stack, style, out)
    }

    fn thread(&self, stream: StreamId) -> String {
        let known = self.tape.stream(stream);
        let name = known.map_or_else(|| "an unknown thread".to_owned(), thread_name);
        printable(&name)
    }

    fn write_stack(&self, stack: StackId, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        let frames: Vec<ResolvedFrame> = self.frames(stack).cloned().collect();
        write_frames(&frames, "      ", style, out)?;
        write_cut(self.frames.cut(stack), "      ", style, out)
    }

    /// Modules that have no symbols for a reason worth saying.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.frames.notes
    }
}
