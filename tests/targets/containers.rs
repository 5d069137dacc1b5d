//! Rust containers, each filled by a function of its own. `PLACE name` marks the line that grows
//! it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

const TEXT: &str = "twenty bytes of text, and then a few more of them to be sure";

#[inline(never)]
fn fill_vector() -> Vec<u64> {
    Vec::with_capacity(1000) // PLACE vec-capacity
}

#[inline(never)]
fn grow_vector(v: &mut Vec<u64>) {
    for i in 0..64 {
        v.push(i); // PLACE vec-push
    }
}

#[inline(never)]
fn fill_string(s: &mut String) {
    s.push_str(std::hint::black_box(TEXT)); // PLACE string
}

#[inline(never)]
fn make_box() -> Box<[u64; 100]> {
    Box::new([7; 100]) // PLACE box
}

#[inline(never)]
fn fill_map(m: &mut HashMap<u64, u64>) {
    for i in 0..10 {
        m.insert(i, i); // PLACE hash-map
    }
}

#[inline(never)]
fn fill_tree(m: &mut BTreeMap<u64, u64>) {
    for i in 0..5 {
        m.insert(i, i); // PLACE tree-map
    }
}

#[inline(never)]
fn make_rc() -> Rc<[u8; 200]> {
    Rc::new([1; 200]) // PLACE rc
}

#[inline(never)]
fn collect() -> Vec<String> {
    let mut all = (0..3).map(|i| format!("this is text number {i}")).collect(); // PLACE collect
    // Behind the allocation, so that it is no jump out of this function.
    std::hint::black_box(&mut all);
    all
}

#[inline(never)]
fn copy_list(list: &Vec<String>) -> Vec<String> {
    let mut copy = list.clone(); // PLACE clone
    std::hint::black_box(&mut copy);
    copy
}

fn main() {
    let mut grown = Vec::new();
    let mut text = String::new();
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    grow_vector(&mut grown);
    fill_string(&mut text);
    fill_map(&mut map);
    fill_tree(&mut tree);
    // Nothing is given back: the end of the tape has it all.
    let lists = (collect(), copy_list(&vec![text.clone(), text.clone()]));
    let all = (fill_vector(), grown, text, make_box(), map, tree, make_rc(), lists);
    std::process::exit(i32::from(std::hint::black_box(&all).1.len() != 64));
}
