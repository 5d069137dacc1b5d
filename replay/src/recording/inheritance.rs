//! What a forked process got from the one that forked it.
//!
//! In: its tape and its parent's recording. Out: the blocks that it began with, and whether there
//! may have been others.

use super::Recording;
use crate::block::{Block, StackId, StreamId};
use crate::error::Error;
use crate::gap;
use crate::index::build::{Inheritance, Others};
use crate::snapshot::live_heap;
use crate::tape::Tape;
use heaptape_format::tables::End;

/// The recording of the process that forked this one.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) recording: Box<Recording>,
    /// What its stack `place + 1` is in this tape.
    pub(super) stacks: Vec<StackId>,
}

impl Recording {
    /// What this process began with.
    pub(crate) fn inheritance(&self) -> Inheritance {
        if !self.tape.is_forked() {
            return Inheritance::default();
        }
        let blocks = self.inherited();
        let others = if blocks.is_none() || !self.is_parent_whole() {
            Others::Unknown
        } else if self.may_lack_blocks() {
            Others::MayBe
        } else {
            Others::None
        };
        let blocks = blocks.unwrap_or_default();
        Inheritance { blocks, others }
    }

    /// What was alive in this process for the child whose tape is `child`.
    fn all_at_fork(&self, child: &Tape) -> Result<Vec<Block>, Error> {
        let cuts = &child.fork_cuts;
        if cuts.first() < self.tape.told_from() && self.tape.folded.is_some() {
            let moment = |stamp| self.tape.header.stamp_to_ns(stamp);
            return Err(Error::Folded {
                path: self.tape.path.clone(),
                asked_ns: moment(cuts.first()),
                from_ns: moment(self.tape.told_from()),
            });
        }
        if cuts.is_one_moment() {
            return self.all_alive(cuts.others);
        }
        let index = self.index()?;
        self.install(|| live_heap::at_fork(&self.tape, index, cuts))
            .map_err(|fault| self.error_of(fault))
    }

    /// What is known of the blocks that this process got from its parent; None without its tape.
    pub(super) fn inherited(&self) -> Option<Vec<Block>> {
        let parent = self.parent.as_ref()?;
        let mut blocks = parent.recording.all_at_fork(&self.tape).ok()?;
        let cut = self.tape.process.cut_stamp;
        for block in &mut blocks {
            // While the kernel forked: that is no time of this recording.
            block.born = block.born.min(cut);
            let place = (block.stack.0 as usize).checked_sub(1);
            let stack = place.and_then(|place| parent.stacks.get(place));
            block.stack = stack.copied().unwrap_or(StackId::NONE);
            block.stream = StreamId::INHERITED;
        }
        Some(blocks)
    }

    /// False when the parent can have had blocks at the fork that its tape does not tell of.
    fn is_parent_whole(&self) -> bool {
        let Some(parent) = self.parent() else {
            return false;
        };
        let reaches_fork = |end: &End| end.stamp >= self.tape.fork_cuts.last();
        parent.tape.end.as_ref().is_some_and(reaches_fork)
            && parent.gap().is_ok_and(|gap| gap.is_none())
            && parent.summary().is_ok_and(|all| all.inherited_known)
    }

    /// True when this process or one that it descends from may have got blocks that no tape tells
    /// of: caught by half while threads went on, or left out by wish.
    fn may_lack_blocks(&self) -> bool {
        let cuts = &self.tape.fork_cuts;
        let Some(parent) = self.parent() else {
            return false;
        };
        cuts.may_be_torn()
            || gap::leaves_blocks_out(&parent.tape, cuts.last())
            // Paused at its first moment as its parent was, whose mark may come later.
            || gap::leaves_blocks_out(&self.tape, self.tape.process.cut_stamp)
            || parent.may_lack_blocks()
    }
}
