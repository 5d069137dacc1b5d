//! What holds for every history: rows add up, a diff is antisymmetric, orders are total.

use heaptape::Tape;
use heaptape::block::{Block, StackId, StreamId};
use heaptape::stats::bucket::{Buckets, Facet};
use heaptape::stats::order::{Sortable, compare, sorted};
use heaptape::stats::{
    Amount, BlockFilter, Change, Cumulative, FrameFilter, GroupBy, Grouper, KeyId, SortBy,
};
use heaptape::symbols::{Attribution, StackSource};
use heaptape_format::event::{DomainId, Operation};
use heaptape_format::symbols::{SourceFrame, Symbol};
use heaptape_format::tables::{CodeObject, Frame, Module};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::HashMap;

const GROUPS: [GroupBy; 9] = [
    GroupBy::File,
    GroupBy::Line,
    GroupBy::Function,
    GroupBy::Module,
    GroupBy::Traceback,
    GroupBy::Thread,
    GroupBy::Size,
    GroupBy::Domain,
    GroupBy::Kind,
];

/// Stacks whose frames are numbers: function `f{n%5}` in file `{n%3}.c`, line n; those of Python
/// have the code object n%4 + 1 and the instruction n.
#[derive(Debug, Clone)]
pub(crate) struct Stacks {
    pub(crate) stacks: Vec<Vec<u64>>,
    modules: Vec<Module>,
    codes: Vec<CodeObject>,
}

/// True for the numbers of frames of Python.
pub(crate) fn is_python(number: u64) -> bool {
    number % 7 > 3
}

impl StackSource for Stacks {
    /// The stack `n` without its `k` most recent frames is the stack `n + 1000 * k`.
    fn step(&self, stack: StackId) -> Option<(Frame, StackId)> {
        let stack = stack.0 as usize;
        let frames = &self.stacks[(stack % 1000).checked_sub(1)?];
        let &offset = frames.get(stack / 1000)?;
        let frame = match is_python(offset) {
            true => Frame::Python {
                code: (offset % 4) as u32 + 1,
                instruction: offset as u32,
            },
            false => Frame::Native {
                module: (offset % 2) as u32 + 1,
                offset,
                exact: false,
            },
        };
        Some((frame, StackId(stack as u32 + 1000)))
    }

    fn module(&self, index: u32) -> Option<&Module> {
        self.modules.get(index as usize - 1)
    }

    fn code(&self, number: u32) -> Option<&CodeObject> {
        self.codes.iter().find(|code| code.number == number)
    }

    fn embedded(&self) -> Vec<Symbol> {
        let all = self.stacks.iter().flatten().filter(|&&n| !is_python(n));
        all.map(|&offset| Symbol {
            module: (offset % 2) as u32 + 1,
            offset,
            exact: false,
            frames: match offset % 7 {
                0 => Vec::new(),
                1 => vec![frame("operator new(unsigned long)", "", 0)],
                _ => vec![frame(
                    &format!("f{}", offset % 5),
                    &format!("/{}.c", offset % 3),
                    offset as u32,
                )],
            },
        })
        .collect()
    }
}

fn frame(function: &str, file: &str, line: u32) -> SourceFrame {
    SourceFrame {
        function: function.into(),
        file: file.into(),
        line,
        inlined: false,
    }
}

/// Code object 4 is not known, and 3 has no lines.
fn code(number: u32) -> CodeObject {
    CodeObject {
        number,
        form: if number < 3 { 3 } else { 0 },
        first_line: number,
        file: format!("/{}.py", number % 2),
        name: format!("f{number}"),
        // Four lines, one after the other, of eight instructions each.
        line_table: vec![0xdf, 0, 0, 0xdf, 0, 0, 0xdf, 0, 0, 0xdf, 0, 0],
    }
}

pub(crate) fn stacks() -> impl Strategy<Value = Stacks> {
    prop::collection::vec(prop::collection::vec(0u64..30, 0..6), 1..12).prop_map(|stacks| {
        let module = |index: u32, path: &str| Module {
            index,
            path: path.into(),
            ..Module::default()
        };
        Stacks {
            stacks,
            modules: vec![module(1, "[one]"), module(2, "[two]")],
            codes: (1..4).map(code).collect(),
        }
    })
}

pub(crate) fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let block = (0u32..12, 0u32..3, 0u64..5, 0u16..3, 0u8..3);
    prop::collection::vec(block, 0..60).prop_map(|blocks| {
        let block = |(stack, stream, size, domain, operation)| Block {
            address: 0x1000,
            size: 1u64 << size,
            stack: StackId(stack),
            stream: StreamId(stream),
            operation: Operation(operation),
            alignment_log2: 0,
            domain: DomainId(domain),
            born: 0,
            allocated: 0,
            is_remainder: false,
        };
        blocks.into_iter().map(block).collect()
    })
}

pub(crate) fn buckets(blocks: &[Block], stacks: &Stacks, group_by: GroupBy) -> Buckets<Amount> {
    let known = |block: &&Block| block.stack.0 as usize <= stacks.stacks.len();
    let mut buckets = Buckets::default();
    for block in blocks.iter().filter(known) {
        buckets.add(block, group_by, Amount::of_block(block.size));
    }
    buckets
}

fn grouper(group_by: GroupBy, cumulative: Cumulative) -> Grouper {
    let attribution = Attribution::new(&[], false);
    Grouper::new(
        group_by,
        cumulative,
        None,
        false,
        FrameFilter::default(),
        attribution,
    )
}

pub(crate) fn text(facet: Facet) -> String {
    format!("{facet:?}")
}

fn grouped(
    grouper: &mut Grouper,
    stacks: &Stacks,
    buckets: &Buckets<Amount>,
) -> (Amount, HashMap<KeyId, Amount>) {
    let frames = grouper.resolve(stacks, &buckets.stacks());
    let rows = grouper.group(&frames, buckets, &text);
    (rows.total, rows.by_key.into_iter().collect())
}

fn sum(rows: &HashMap<KeyId, Amount>) -> Amount {
    let mut sum = Amount::default();
    for &amount in rows.values() {
        sum += amount;
    }
    sum
}

fn changes(
    grouper: &mut Grouper,
    stacks: &Stacks,
    from: &[Block],
    to: &[Block],
) -> HashMap<String, Change> {
    let group_by = grouper.group_by();
    let mut changes: HashMap<KeyId, Change> = HashMap::new();
    for (key, amount) in grouped(grouper, stacks, &buckets(from, stacks, group_by)).1 {
        changes.entry(key).or_default().from = amount;
    }
    for (key, amount) in grouped(grouper, stacks, &buckets(to, stacks, group_by)).1 {
        changes.entry(key).or_default().to = amount;
    }
    changes
        .into_iter()
        .map(|(key, change)| (grouper.text(key), change))
        .collect()
}

proptest! {
    #[test]
    fn rows_add_up_to_the_total(stacks in stacks(), blocks in blocks()) {
        let mut all = Vec::new();
        for group_by in GROUPS {
            let mut grouper = grouper(group_by, Cumulative::Off);
            let buckets = buckets(&blocks, &stacks, group_by);
            let (total, rows) = grouped(&mut grouper, &stacks, &buckets);
            prop_assert_eq!(sum(&rows), total, "{}", group_by.name());
            all.push(total);
            // One text is one row.
            let mut texts: Vec<String> = rows.keys().map(|&key| grouper.text(key)).collect();
            texts.sort_unstable();
            let before = texts.len();
            texts.dedup();
            prop_assert_eq!(texts.len(), before);
        }
        prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn cumulative_rows_hold_each_block_at_most_once(stacks in stacks(), blocks in blocks()) {
        for group_by in [GroupBy::File, GroupBy::Line, GroupBy::Function, GroupBy::Module] {
            let buckets = buckets(&blocks, &stacks, group_by);
            let mut once = grouper(group_by, Cumulative::PerStack);
            let (total, per_stack) = grouped(&mut once, &stacks, &buckets);
            let mut often = grouper(group_by, Cumulative::PerFrame);
            let (_, per_frame) = grouped(&mut often, &stacks, &buckets);
            let often: HashMap<String, Amount> =
                per_frame.into_iter().map(|(key, amount)| (often.text(key), amount)).collect();
            prop_assert_eq!(per_stack.len(), often.len());
            for (key, amount) in per_stack {
                prop_assert!(amount.bytes <= total.bytes && amount.count <= total.count);
                prop_assert!(amount.count <= often[&once.text(key)].count);
            }
        }
    }

    #[test]
    fn a_diff_turned_round_changes_its_signs(
        stacks in stacks(), from in blocks(), to in blocks()
    ) {
        for group_by in GROUPS {
            let forward =
                changes(&mut grouper(group_by, Cumulative::Off), &stacks, &from, &to);
            let mut backward =
                changes(&mut grouper(group_by, Cumulative::Off), &stacks, &to, &from);
            for (key, change) in forward {
                let back = backward.remove(&key).unwrap();
                prop_assert_eq!(change.bytes(), -back.bytes());
                prop_assert_eq!(change.count(), -back.count());
            }
            prop_assert!(backward.is_empty());
        }
    }

    #[test]
    fn the_order_of_rows_is_total_and_its_own(stacks in stacks(), blocks in blocks()) {
        for group_by in GROUPS {
            let mut grouper = grouper(group_by, Cumulative::Off);
            let buckets = buckets(&blocks, &stacks, group_by);
            let (_, rows) = grouped(&mut grouper, &stacks, &buckets);
            for by in [SortBy::Bytes, SortBy::Count, SortBy::Average, SortBy::Key] {
                let forward = sorted(rows.clone(), by, &grouper);
                let mut reverse: Vec<_> = rows.clone().into_iter().collect();
                reverse.sort_by_key(|(key, _)| std::cmp::Reverse(key.0));
                prop_assert_eq!(&forward, &sorted(reverse, by, &grouper));
                for pair in forward.windows(2) {
                    prop_assert_eq!(compare(&pair[0], &pair[1], by, &grouper), Ordering::Less);
                    prop_assert_eq!(compare(&pair[1], &pair[0], by, &grouper), Ordering::Greater);
                }
            }
            // The order by bytes is that of the contract: bytes, count, key, descending.
            let forward = sorted(rows, SortBy::Bytes, &grouper);
            let mut told: Vec<(u64, u64, String)> = forward
                .iter()
                .map(|(key, amount)| (amount.bytes, amount.count, grouper.text(*key)))
                .collect();
            let order = told.clone();
            told.sort_by(|one, other| other.cmp(one));
            prop_assert_eq!(order, told);
        }
    }

    #[test]
    fn a_changes_order_is_that_of_the_contract(numbers in prop::collection::vec(0u64..4, 8)) {
        let change = |numbers: &[u64]| Change {
            from: Amount { bytes: numbers[0], count: numbers[1] },
            to: Amount { bytes: numbers[2], count: numbers[3] },
        };
        let (one, other) = (change(&numbers[..4]), change(&numbers[4..]));
        let told = |change: &Change| (
            change.bytes().unsigned_abs(),
            change.to.bytes,
            change.count().unsigned_abs(),
            change.to.count,
        );
        let ranks = |change: &Change| change.ranks(SortBy::Bytes).unwrap();
        prop_assert_eq!(ranks(&one).cmp(&ranks(&other)), told(&one).cmp(&told(&other)));
    }
}

#[test]
fn only_heap_domains_count_unless_asked() {
    let folder = crate::tape::Folder::new();
    let path = folder.path("x.tape");
    crate::tape::Tape::new().write(&path);
    let tape = Tape::open(&path).unwrap();
    let block = |domain| Block {
        address: 0x1000,
        size: 8,
        stack: StackId::NONE,
        stream: StreamId(0),
        operation: Operation::MALLOC,
        alignment_log2: 0,
        domain,
        born: 0,
        allocated: 0,
        is_remainder: false,
    };
    let admitted = |domains: &[&str]| {
        let filter = BlockFilter {
            domains: domains.iter().map(ToString::to_string).collect(),
            ..BlockFilter::default()
        };
        let filter = filter.for_tape(&tape).unwrap();
        let all = [0, 1, 2, 3, 4, 5, 16].map(DomainId);
        all.map(|domain| filter.admits(&block(domain)))
    };
    assert_eq!(admitted(&[]), [true, true, true, true, false, false, false]);
    assert_eq!(
        admitted(&["mmap"]),
        [false, false, false, false, true, false, false]
    );
    assert_eq!(
        admitted(&["mmap", "obj"]),
        [false, false, false, true, true, false, false]
    );
    assert_eq!(admitted(&["all"]), [true; 7]);
    assert_eq!(admitted(&["obj", "all"]), [true; 7]);
    // Left out of the heap is what nobody asked about, and nothing else.
    let left_out = |domains: &[&str]| {
        let filter = BlockFilter {
            domains: domains.iter().map(ToString::to_string).collect(),
            size_min: Some(1),
            ..BlockFilter::default()
        };
        let filter = filter.for_tape(&tape).unwrap();
        let all = [0, 3, 4, 5, 16].map(DomainId);
        all.map(|domain| filter.leaves_out(&block(domain)))
    };
    assert_eq!(left_out(&[]), [false, false, true, true, true]);
    assert_eq!(left_out(&["native"]), [false; 5]);
}
