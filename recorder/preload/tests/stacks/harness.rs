//! Takes stacks with the code under test and with the `backtrace` crate, and compares them; and
//! with a second capture that remembers no stack, which must give the same.

use std::arch::naked_asm;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Mutex, Once};

use heaptape_preload::modules::{self, ModuleRecord};
use heaptape_preload::stack::{CallerContext, CutReason, StackCapture, StackConfig, StackSink};

/// What was announced of a module.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) bias: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) build_id: Vec<u8>,
    pub(crate) path: PathBuf,
}

/// Modules are announced once in a process, by whichever thread sees them first.
static MODULES: Mutex<Option<HashMap<u32, Module>>> = Mutex::new(None);

pub(crate) fn module(index: u32) -> Module {
    let modules = MODULES.lock().expect("not poisoned");
    modules
        .as_ref()
        .expect("announced")
        .get(&index)
        .expect("announced")
        .clone()
}

/// A stored node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Frame {
        parent: u32,
        module: u32,
        offset: u64,
        is_exact: bool,
    },
    Cut(CutReason),
}

/// A sink that remembers everything, and can be told to refuse.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    pub(crate) nodes: Vec<Node>,
    /// Records that are still accepted; `None`: all.
    pub(crate) room: Option<usize>,
}

impl Tape {
    fn accepts(&mut self) -> bool {
        match &mut self.room {
            None => true,
            Some(0) => false,
            Some(room) => {
                *room -= 1;
                true
            }
        }
    }

    /// The frames of a node, innermost first, and why they are not complete.
    pub(crate) fn stack(&self, mut id: u32) -> Stack {
        let mut stack = Stack::default();
        while id != 0 {
            match self.nodes[id as usize - 1] {
                Node::Cut(reason) => {
                    stack.cut = Some(reason);
                    id = 0;
                }
                Node::Frame {
                    parent,
                    module,
                    offset,
                    is_exact,
                } => {
                    assert!(parent < id, "a node's parent comes before it");
                    let bias = if module == 0 {
                        0
                    } else {
                        self::module(module).bias
                    };
                    stack.frames.push(Frame {
                        address: bias.wrapping_add(offset as usize),
                        module,
                        is_exact,
                    });
                    id = parent;
                }
            }
        }
        stack
    }
}

impl StackSink for Tape {
    fn module(&mut self, record: &ModuleRecord<'_>) -> bool {
        if !self.accepts() {
            return false;
        }
        let module = Module {
            bias: record.bias,
            start: record.start,
            end: record.end,
            build_id: record.build_id.to_vec(),
            path: PathBuf::from(String::from_utf8_lossy(record.path).into_owned()),
        };
        let mut modules = MODULES.lock().expect("not poisoned");
        let old = modules.get_or_insert_default().insert(record.index, module);
        assert!(old.is_none(), "a module's number is given once");
        true
    }

    fn node(&mut self, parent: u32, module: u32, offset: u64, exact: bool) -> bool {
        if !self.accepts() {
            return false;
        }
        self.nodes.push(Node::Frame {
            parent,
            module,
            offset,
            is_exact: exact,
        });
        true
    }

    fn cut(&mut self, parent: u32, reason: CutReason) -> bool {
        if !self.accepts() {
            return false;
        }
        assert_eq!(parent, 0, "a cut is a root");
        self.nodes.push(Node::Cut(reason));
        true
    }
}

/// One frame as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) address: usize,
    pub(crate) module: u32,
    pub(crate) is_exact: bool,
}

/// One stack as it was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) frames: Vec<Frame>,
    pub(crate) cut: Option<CutReason>,
}

impl Stack {
    pub(crate) fn addresses(&self) -> Vec<usize> {
        self.frames.iter().map(|frame| frame.address).collect()
    }
}

/// What this thread takes stacks with.
#[derive(Debug)]
pub(crate) struct Session {
    /// There while the session runs.
    capture: Option<&'static mut StackCapture>,
    pub(crate) tape: Tape,
    /// Walks every stack to its end.
    full: Option<&'static mut StackCapture>,
    full_tape: Tape,
    /// Nodes of the two captures that were found to be the same stack.
    pairs: HashMap<u32, u32>,
    /// Stacks taken.
    pub(crate) taken: u64,
    /// Those that the reference gives just so.
    pub(crate) identical: u64,
    /// Some of the others: reference, ours.
    pub(crate) different: Vec<(Vec<usize>, Stack)>,
    pub(crate) last: Stack,
    pub(crate) last_reference: Vec<usize>,
    compares: bool,
    /// Stacks are not compared with a walk to the end, which takes long where they are deep.
    pub(crate) full_is_off: bool,
    /// One stack in so many is compared with the reference.
    pub(crate) stride: u64,
}

thread_local! {
    static SESSION: Cell<*mut Session> = const { Cell::new(std::ptr::null_mut()) };
}

/// Runs `body` with a session on this thread and returns what it took.
pub(crate) fn session(config: StackConfig, body: impl FnOnce()) -> Session {
    static START: Once = Once::new();
    START.call_once(modules::start);
    // SAFETY: just made, and only this session uses it.
    let create = || unsafe { StackCapture::create(config).expect("memory").as_mut() };
    let mut session = Session {
        capture: Some(create()),
        tape: Tape::default(),
        full: Some(create()),
        full_tape: Tape::default(),
        pairs: HashMap::new(),
        taken: 0,
        identical: 0,
        different: Vec::new(),
        last: Stack::default(),
        last_reference: Vec::new(),
        compares: true,
        full_is_off: false,
        stride: 1,
    };
    session.tape.nodes.reserve(1 << 20);
    session.full_tape.nodes.reserve(1 << 20);
    session.pairs.reserve(1 << 16);
    SESSION.set(&raw mut session);
    body();
    SESSION.set(std::ptr::null_mut());
    for capture in [session.capture.take(), session.full.take()] {
        let capture = capture.expect("still there");
        // SAFETY: made by `create` above; the thread takes no more stacks.
        unsafe { StackCapture::destroy(NonNull::from(capture)) };
    }
    session
}

/// The session of this thread.
pub(crate) fn current() -> &'static mut Session {
    // SAFETY: set by `session` for as long as its body runs, and only this thread uses it; the
    // tests hold no two of these at once.
    unsafe { SESSION.get().as_mut() }.expect("a session")
}

/// Takes this thread's stack from the caller on, as an interposed call would.
#[unsafe(naked)]
pub(crate) extern "C" fn probe() {
    naked_asm!(
        "mov rdi, [rsp]",
        "lea rsi, [rsp + 8]",
        "mov rdx, rbp",
        "jmp {record}",
        record = sym record,
    )
}

/// Takes the stack that begins with these registers.
pub(crate) extern "C" fn record(pc: usize, sp: usize, rbp: usize) {
    let pointer = SESSION.replace(std::ptr::null_mut());
    // SAFETY: as in `current`; a signal that comes now finds no session and leaves it alone.
    let Some(session) = (unsafe { pointer.as_mut() }) else {
        return;
    };
    session.take(CallerContext { pc, sp, rbp });
    SESSION.set(pointer);
}

impl Session {
    /// Begins a new stream with the same captures, as the next thread or a forked child does.
    pub(crate) fn restart(&mut self) {
        let captures = [&mut self.capture, &mut self.full];
        for capture in captures.into_iter().flatten() {
            capture.shrink();
            capture.init(StackConfig::default());
        }
        self.tape.nodes.clear();
        self.full_tape.nodes.clear();
        self.pairs.clear();
    }

    /// From here on stacks are only taken, not compared.
    pub(crate) fn compare_no_more(&mut self) {
        self.compares = false;
    }

    fn take(&mut self, caller: CallerContext) {
        let capture = self.capture.as_mut().expect("the session runs");
        let changes = modules::changes();
        let id = capture.capture(caller, &mut self.tape);
        self.taken += 1;
        if !self.full_is_off {
            self.compare_with_full(caller, id, changes);
        }
        if !self.taken.is_multiple_of(self.stride) {
            return;
        }
        self.last = self.tape.stack(id);
        if !self.compares {
            return;
        }
        let capture = self.capture.as_mut().expect("the session runs");
        let before = modules::changes();
        let nodes = self.tape.nodes.len();
        let again = capture.capture(caller, &mut self.tape);
        if modules::changes() == before && before == changes && !before.is_unsettled() {
            assert_eq!(again, id, "the same stack again");
            assert_eq!(
                self.tape.nodes.len(),
                nodes,
                "the same stack makes no nodes"
            );
        }
        self.last_reference = reference(caller.pc);
        let ours = &self.last.frames;
        let is_same = self.last.cut.is_none()
            && ours.len() == self.last_reference.len()
            && ours
                .iter()
                .zip(&self.last_reference)
                .all(|(one, other)| one.address == *other);
        if is_same {
            self.identical += 1;
        } else if self.different.len() < 50 {
            self.different
                .push((self.last_reference.clone(), self.last.clone()));
        }
    }

    /// The stack `id` must be the one that a walk to the end gives.
    fn compare_with_full(&mut self, caller: CallerContext, id: u32, before: modules::Changes) {
        let full = self.full.as_mut().expect("the session runs");
        full.forget_last();
        let full_id = full.capture(caller, &mut self.full_tape);
        let is_settled = modules::changes() == before && !before.is_unsettled();
        if self.tape.room.is_some() || !is_settled || self.pairs.get(&id) == Some(&full_id) {
            return;
        }
        let whole = self.full_tape.stack(full_id);
        assert_eq!(self.tape.stack(id), whole, "as a walk to the end");
        self.pairs.insert(id, full_id);
    }

    /// Adds another session's counts.
    pub(crate) fn add(&mut self, other: Session) {
        self.taken += other.taken;
        self.identical += other.identical;
        self.different.extend(other.different);
    }

    /// The stacks that differ, for a person to read.
    pub(crate) fn explain(&self) -> String {
        let mut text = format!(
            "{} of {} stacks are identical\n",
            self.identical, self.taken
        );
        for (reference, ours) in self.different.iter().take(5) {
            let _ = writeln!(text, "reference / ours (cut: {:?})", ours.cut);
            for place in 0..reference.len().max(ours.frames.len()) {
                let left = reference.get(place).map_or(String::new(), |&at| name(at));
                let right = ours
                    .frames
                    .get(place)
                    .map_or(String::new(), |at| name(at.address));
                let mark = if left == right { ' ' } else { '*' };
                let _ = writeln!(text, "{mark} {left:60} {right}");
            }
        }
        text
    }
}

/// What the `backtrace` crate says of the frames from `pc` on.
fn reference(pc: usize) -> Vec<usize> {
    let mut found = Vec::with_capacity(256);
    // SAFETY: it only wants that nobody else uses the crate's symboliser meanwhile.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            found.push(frame.ip() as usize);
            true
        });
    }
    let start = found
        .iter()
        .position(|&address| address == pc)
        .expect("the caller's frame");
    found.drain(..start);
    // It gives the end of the chain as a frame at 0.
    while found.last() == Some(&0) {
        found.pop();
    }
    found
}

fn name(address: usize) -> String {
    let mut text = String::new();
    backtrace::resolve(address as *mut _, |symbol| {
        if text.is_empty()
            && let Some(name) = symbol.name()
        {
            text = format!("{name:#}");
            text.truncate(40);
        }
    });
    format!("{address:#x} {text}")
}
