//! The call stacks of a model program: a tree of frames, and its leaves, which allocate.
//!
//! Functions and call sites that are popular stand under many callers; a new stack shares the
//! outer part of an older one. Some leaves make most of the allocations, and most leaves allocate
//! blocks of one size.

use super::random::Random;
use heaptape_format::event::Operation;
use heaptape_format::stack::Frame;
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::Module;
use std::collections::{HashMap, HashSet};

/// Modules of the program.
const MODULES: u32 = 3;
/// Code of a function in bytes.
const FUNCTION_BYTES: u64 = 0x400;
/// Call sites of a function: those that call other functions, and those that allocate.
const CALL_SITES: u64 = 8;
const ALLOCATION_SITES: u64 = 4;
/// Functions that share a source file.
const FUNCTIONS_PER_FILE: u64 = 16;

/// A call: a function and a site in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    function: u32,
    site: u32,
}

impl Place {
    fn module(self) -> u32 {
        // The first module is the executable, in which most functions are.
        match self.function % 8 {
            6 => 2,
            7 => 3,
            _ => 1,
        }
    }

    fn offset(self) -> u64 {
        0x1000 + u64::from(self.function) * FUNCTION_BYTES + 0x20 + u64::from(self.site) * 0x13
    }

    fn frame(self) -> Frame {
        Frame::Native {
            module: self.module(),
            offset: self.offset(),
            exact: false,
        }
    }

    /// What stands there in the source, the most recent first.
    fn source(self) -> Vec<SourceFrame> {
        let function = u64::from(self.function);
        let file = function / FUNCTIONS_PER_FILE;
        let line = (function % FUNCTIONS_PER_FILE) * 60 + u64::from(self.site) * 4 + 11;
        let outer = SourceFrame {
            function: format!("model::part{file}::work_{function}(unsigned long)"),
            file: format!("/generated/source/part{file}.cpp"),
            line: line as u32,
            inlined: false,
        };
        if function % 6 != 5 {
            return vec![outer];
        }
        let inlined = SourceFrame {
            function: format!("model::inlined_{}(int)", function % 97),
            file: "/generated/source/inlined.hpp".to_owned(),
            line: (function % 97 * 8 + u64::from(self.site)) as u32 + 1,
            inlined: true,
        };
        vec![inlined, outer]
    }
}

/// A stack that allocates.
#[derive(Debug, Clone, Copy)]
pub struct Leaf {
    /// Its node, from 1.
    pub node: u32,
    /// The entry point that it calls.
    pub operation: Operation,
    bytes: u32,
    /// Sizes go up to twice `bytes`.
    varies: bool,
}

impl Leaf {
    /// The size of its next block.
    #[inline]
    pub fn size(&self, random: &mut Random) -> u32 {
        match self.varies {
            true => self.bytes + random.below(u64::from(self.bytes) + 1) as u32,
            false => self.bytes,
        }
    }
}

/// All stacks of a model program.
#[derive(Debug)]
pub struct Stacks {
    /// Parent (0: none) and place of node `place + 1`.
    nodes: Vec<(u32, Place)>,
    /// The most popular first.
    pub leaves: Vec<Leaf>,
}

impl Stacks {
    /// `count` stacks of about `depth` frames.
    #[must_use]
    pub fn new(count: u32, depth: u32, random: &mut Random) -> Self {
        let count = count.max(1);
        let mut tree = Tree {
            functions: u64::from(count / 4).clamp(32, 50_000),
            nodes: Vec::new(),
            children: HashMap::new(),
            ends: HashSet::new(),
        };
        let main = tree.child(
            0,
            Place {
                function: 0,
                site: 0,
            },
        );
        let mut leaves: Vec<Leaf> = Vec::with_capacity(count as usize);
        while leaves.len() < count as usize {
            let like = match leaves.len() {
                0 => main,
                known => leaves[random.below(known as u64) as usize].node,
            };
            let node = tree.grow(like, depth.max(2), random);
            leaves.push(leaf(node, random));
        }
        Self {
            nodes: tree.nodes,
            leaves,
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Parent and frame of a node.
    #[must_use]
    pub fn node(&self, node: u32) -> (u32, Frame) {
        let (parent, place) = self.nodes[node as usize - 1];
        (parent, place.frame())
    }

    /// Source frames of a stack, the most recent first.
    #[must_use]
    pub fn source(&self, node: u32) -> Vec<SourceFrame> {
        let mut frames = Vec::new();
        let mut at = node;
        while at != 0 {
            let (parent, place) = self.nodes[at as usize - 1];
            frames.extend(place.source());
            at = parent;
        }
        frames
    }

    /// A symbol for each place of the program, in their order.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut places: Vec<Place> = self.nodes.iter().map(|&(_, place)| place).collect();
        places.sort_unstable_by_key(|place| (place.module(), place.offset()));
        places.dedup();
        let symbol = |place: Place| Symbol {
            module: place.module(),
            offset: place.offset(),
            exact: false,
            frames: place.source(),
        };
        places.into_iter().map(symbol).collect()
    }

    /// The files of the program, which are nowhere: its symbols stand in the tape.
    #[must_use]
    pub fn modules(&self, random: &mut Random) -> Vec<Module> {
        let end = self.nodes.iter().map(|&(_, place)| place.offset()).max();
        let bytes = (end.unwrap_or(0) + FUNCTION_BYTES).next_multiple_of(4096);
        let names = ["bin/model", "lib/libparser.so", "lib/libstorage.so"];
        let indexes = 1..=MODULES;
        let module = |(index, name): (u32, &str)| {
            let bias = 0x5500_0000_0000 + (u64::from(index) << 36);
            Module {
                index,
                load_bias: bias,
                start: bias,
                end: bias + bytes,
                stamp: 0,
                build_id: (0..20).map(|_| random.draw() as u8).collect(),
                path: format!("/generated/{name}"),
            }
        };
        indexes.zip(names).map(module).collect()
    }
}

/// The tree while it grows.
struct Tree {
    functions: u64,
    nodes: Vec<(u32, Place)>,
    children: HashMap<(u32, Place), u32>,
    /// Nodes that are leaves' already.
    ends: HashSet<u32>,
}

impl Tree {
    fn child(&mut self, parent: u32, place: Place) -> u32 {
        let next = self.nodes.len() as u32 + 1;
        let node = *self.children.entry((parent, place)).or_insert(next);
        if node == next {
            self.nodes.push((parent, place));
        }
        node
    }

    /// The nodes from the outermost to `node`.
    fn path(&self, node: u32) -> Vec<u32> {
        let mut path = Vec::new();
        let mut at = node;
        while at != 0 {
            path.push(at);
            at = self.nodes[at as usize - 1].0;
        }
        path.reverse();
        path
    }

    /// A new stack, which begins as `like` does.
    fn grow(&mut self, like: u32, depth: u32, random: &mut Random) -> u32 {
        let path = self.path(like);
        loop {
            let depth = u64::from(depth / 2) + random.below(u64::from(depth) + 1);
            // Stacks part near their ends more often than at their roots.
            let most = (path.len() as u64).min(depth).max(1);
            let kept = random.below(most).max(random.below(most));
            let mut at = path[kept as usize];
            for _ in kept + 2..depth {
                at = self.child(at, self.place(CALL_SITES, random));
            }
            let mut end = self.place(ALLOCATION_SITES, random);
            end.site += CALL_SITES as u32;
            let node = self.child(at, end);
            if self.ends.insert(node) {
                return node;
            }
        }
    }

    /// Some functions are called from everywhere.
    fn place(&self, sites: u64, random: &mut Random) -> Place {
        let most = random.below(self.functions) + 1;
        Place {
            function: random.below(most) as u32,
            site: random.below(sites) as u32,
        }
    }
}

fn leaf(node: u32, random: &mut Random) -> Leaf {
    let (least, most) = match random.below(100) {
        0..45 => (8, 64),
        45..75 => (64, 256),
        75..93 => (256, 1024),
        93..99 => (1024, 8192),
        _ => (8192, 131_072),
    };
    let operation = match random.below(100) {
        0..85 => Operation::MALLOC,
        85..93 => Operation::CALLOC,
        93..97 => Operation::REALLOC_NEW,
        _ => Operation::POSIX_MEMALIGN,
    };
    Leaf {
        node,
        operation,
        bytes: (least + random.below(most - least)) as u32,
        varies: random.below(100) < 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_is_a_stack_of_its_own_of_the_wanted_depth() {
        let stacks = Stacks::new(2000, 20, &mut Random(3));
        let mut frames = HashSet::new();
        for leaf in &stacks.leaves {
            let (mut path, mut at) = (Vec::new(), leaf.node);
            while at != 0 {
                let (parent, frame) = stacks.node(at);
                assert!(parent < at);
                path.push(frame);
                at = parent;
            }
            assert!((3..=31).contains(&path.len()), "{}", path.len());
            assert!(frames.insert(path));
        }
        let places = stacks.symbols().len();
        assert!(places > 500 && places < stacks.node_count(), "{places}");
    }
}
