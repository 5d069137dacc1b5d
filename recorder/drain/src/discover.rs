//! The part of a pass that finds new process images and streams.
//!
//! In: slots that were claimed since the last pass. Out: their state in the drainer. A slot whose
//! claimer died before it filled the slot in is given back here.

use crate::drainer::{Drainer, SLOW_GAP_NS};
use crate::outcome::Image;
use crate::outside::PAUSED;
use crate::process::ProcessState;
use crate::process_info::{self, MemoryProbe, ProcessHandle};
use crate::stream::StreamState;
use heaptape_session::layout::{ProcessSlot, phase};
use heaptape_session::ring::Memory;
use heaptape_session::slots::{self, ProcessOwner, free_process};
use heaptape_session::sync::Ordering;

/// Idle passes after which a thread's life is asked for.
const IDLE_PASSES: u32 = 64;

impl Drainer {
    /// Finds what is new.
    pub(crate) fn discover(&mut self, now: u64) {
        let slow = now - self.moments.slow >= SLOW_GAP_NS;
        if slow {
            self.moments.slow = now;
        }
        self.discover_processes(slow);
        self.take_mark(slow);
        self.discover_streams();
        if slow {
            self.find_dead_threads();
        }
    }

    fn discover_processes(&mut self, slow: bool) {
        let map = &self.session.map;
        let layout = map.layout().processes as u32;
        // Relaxed: a slot above it is found in the next pass.
        let high = map
            .header()
            .process_high
            .load(Ordering::Relaxed)
            .min(layout);
        if self.processes.len() < high as usize {
            self.processes.resize_with(high as usize, || None);
        }
        for index in 0..high {
            let Some(slot) = self.session.map.process(index) else {
                continue;
            };
            let owner = slots::process_owner(slot);
            match owner.phase {
                phase::FREE => {}
                phase::CLAIMED => {
                    if slow && !process_info::is_alive(owner.pid, 0) {
                        free_process(slot);
                    }
                }
                _ => {
                    let place = self.processes.get(index as usize);
                    let known = place.is_some_and(|place| {
                        place
                            .as_ref()
                            .is_some_and(|p| p.generation == owner.generation)
                    });
                    if !known {
                        self.add_with_ancestors(index, owner);
                    } else if slow {
                        self.ask_for_life(index);
                    }
                }
            }
        }
    }

    /// Adds a process, its ancestors before it: one of them may have come into a slot that this
    /// pass had seen free, a moment before.
    fn add_with_ancestors(&mut self, index: u32, owner: ProcessOwner) {
        let mut line = vec![(index, owner)];
        let mut oldest = index;
        while let Some(ancestor) = self.unmet_parent(oldest) {
            // A damaged slot may name itself or a descendant.
            if line.iter().any(|(index, _)| *index == ancestor.0) {
                break;
            }
            oldest = ancestor.0;
            line.push(ancestor);
        }
        for (index, owner) in line.into_iter().rev() {
            self.add_process(index, owner);
        }
    }

    /// The image that started the one in slot `index`, when it is there and was never met.
    fn unmet_parent(&self, index: u32) -> Option<(u32, ProcessOwner)> {
        let slot = self.session.map.process(index)?;
        let (parent, owner) = self.parent_place(slot)?;
        let is_met = self.images.contains_key(&(parent, owner.generation));
        (!is_met).then_some((parent, owner))
    }

    fn add_process(&mut self, index: u32, owner: ProcessOwner) {
        let Some(slot) = self.session.map.process(index) else {
            return;
        };
        let header = self.session.map.header();
        if self.root.adopts_first {
            self.root.adopts_first = false;
            self.root.pid = owner.pid;
            self.root.start_time = slot.start_time.load(Ordering::Relaxed);
            self.store_root(self.root.pid, self.root.start_time);
        }
        let mut state = Box::new(ProcessState::new(index, slot, owner, header, &self.clock));
        state.is_root = owner.pid == self.root.pid
            && (self.root.start_time == 0 || state.start_time == self.root.start_time);
        if state.was_killed_unseen(slot) {
            state.watch_heirs(self.heirs(state.start_time));
        }
        let tape_id = slot_tape_id(slot);
        // Relaxed: written before the phase that was seen. What was asked since has its own marks.
        let began_paused = slot.began_paused.load(Ordering::Relaxed) != 0;
        self.find_ancestor(&mut state);
        // A parent that is gone already is not the kernel's answer any more.
        if let Some(parent) = state.parent.and_then(|parent| self.images.get(&parent))
            && parent.pid != owner.pid
        {
            state.notes.process.parent_pid = parent.pid;
        }
        self.inherit_facts(&mut state);
        if began_paused {
            let start = state.notes.process.cut_stamp;
            state.notes.mark_from_outside(start, PAUSED.to_owned());
        }
        state.has_ended |= state.is_root && self.root.status.is_some();
        self.find_replaced(&mut state);
        self.images.insert(
            (index, owner.generation),
            Image {
                pid: owner.pid,
                parent: state.parent,
                origin: state.notes.process.origin,
                cut_stamp: state.notes.process.cut_stamp,
                ..Image::default()
            },
        );
        self.adopt_recovered(&mut state, tape_id);
        if self.processes.len() <= index as usize {
            // An ancestor's slot may lie above those that this pass looks at.
            self.processes.resize_with(index as usize + 1, || None);
        }
        if let Some(place) = self.processes.get_mut(index as usize) {
            *place = Some(state);
        }
    }

    /// The memory of live processes that were told of this session and have no place in it: a
    /// child of `vfork` is one, and so is a fork that made no event.
    fn heirs(&self, start_time: u64) -> Vec<MemoryProbe> {
        let entry = self.session.environment_entry();
        let map = &self.session.map;
        let has_place = |pid: u32| {
            (0..map.header().process_high.load(Ordering::Relaxed))
                .filter_map(|index| map.process(index))
                .map(slots::process_owner)
                .any(|owner| owner.pid == pid && owner.phase != phase::FREE)
        };
        process_info::processes_with_environment(&entry, start_time)
            .into_iter()
            .filter(|&pid| !has_place(pid))
            .filter_map(MemoryProbe::open)
            .collect()
    }

    /// Another image of the same process has ended when a younger one is there.
    fn find_replaced(&mut self, state: &mut ProcessState) {
        for other in self.processes.iter_mut().flatten() {
            if !other.is_same_process(state) || other.slot == state.slot {
                continue;
            }
            if other.image <= state.image {
                other.is_replaced = true;
            } else {
                state.is_replaced = true;
            }
        }
    }

    /// For processes without a handle.
    fn ask_for_life(&mut self, index: u32) {
        if let Some(Some(process)) = self.processes.get_mut(index as usize)
            && process.handle.is_none()
            && !process.has_ended
        {
            let slot = self.session.map.process(index);
            let finished =
                slot.is_some_and(|slot| slots::process_owner(slot).phase == phase::FINISHED);
            let namespace = slot.map_or(0, |slot| slot.pid_namespace.load(Ordering::Relaxed));
            let pid = process_info::host_pid(process.pid, namespace);
            let alive = pid.is_some_and(|pid| process_info::is_alive(pid, process.start_time));
            process.has_ended = !alive || finished && pid.is_none();
        }
    }

    /// Finds new streams of known processes.
    pub(crate) fn discover_streams(&mut self) {
        let memory = &self.session.map;
        // Relaxed: as above.
        let high = memory
            .stream_high()
            .load(Ordering::Relaxed)
            .min(memory.streams());
        if self.streams.len() < high as usize {
            self.streams.resize_with(high as usize, || None);
        }
        for index in 0..high {
            let Some(slot) = memory.stream(index) else {
                continue;
            };
            let owner = slots::stream_owner(slot);
            if matches!(owner.phase, phase::FREE | phase::CLAIMED) {
                continue;
            }
            let Some(place) = self.streams.get_mut(index as usize) else {
                continue;
            };
            let known = place
                .as_ref()
                .is_some_and(|stream| stream.generation == owner.generation);
            let Some(Some(process)) = self.processes.get(owner.process as usize) else {
                continue;
            };
            if known {
                continue;
            }
            let identity = (owner.process, owner.generation);
            let mut stream = StreamState::new(memory, index, slot, identity, &self.clock);
            process.continue_stream(&mut stream);
            *place = Some(Box::new(stream));
        }
    }

    /// Marks streams as finished whose threads are gone without having said so.
    fn find_dead_threads(&mut self) {
        let memory = &self.session.map;
        let ours = process_info::pid_namespace(std::process::id());
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(stream) = stream.as_ref().filter(|s| s.idle_passes >= IDLE_PASSES) else {
                continue;
            };
            // What is left of a process that has ended is not a thread's to tell: a child of its
            // `vfork` may go on in its streams.
            let place = self.processes.get(stream.process as usize);
            let handle = place.and_then(|place| place.as_ref()?.handle.as_ref());
            let process = memory.process(stream.process);
            let (Some(process), Some(slot)) = (process, memory.stream(index as u32)) else {
                continue;
            };
            let namespace = process.pid_namespace.load(Ordering::Relaxed);
            let visible = namespace == 0 || Some(namespace) == ours;
            let pid = slots::process_owner(process).pid;
            if visible
                && slots::stream_owner(slot).phase == phase::RUNNING
                && !process_info::thread_is_alive(pid, stream.thread_id())
                && !handle.is_some_and(ProcessHandle::has_ended)
            {
                slots::set_stream_phase(slot, phase::FINISHED);
            }
        }
    }
}

/// Identity of the tape that some drainer writes for the image in `slot`.
pub(crate) fn slot_tape_id(slot: &ProcessSlot) -> [u8; 16] {
    let mut id = [0; 16];
    for (place, word) in id.chunks_exact_mut(8).zip(&slot.tape_id) {
        place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    id
}
