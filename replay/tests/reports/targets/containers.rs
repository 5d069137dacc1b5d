//! Each function makes one container grow. The allocation's place is the line marked "HERE name".
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, c_char};
use std::hint::black_box;

unsafe extern "C" {
    fn probe_start(tag: *const c_char);
    fn probe_stop();
}

#[inline(never)]
fn fill_vec(n: u32) {
    let mut v = Vec::new();
    for i in 0..n {
        v.push(i); // HERE vec
    }
    black_box(v);
}

#[inline(never)]
fn fill_string(n: u32) {
    let mut s = String::new();
    for _ in 0..n {
        s.push_str("some words"); // HERE string
    }
    black_box(s);
}

#[inline(never)]
fn boxed() {
    black_box(Box::new([7u64; 9])); // HERE box
}

#[inline(never)]
fn fill_hash_map(n: u64) {
    let mut m = HashMap::new();
    for i in 0..n {
        m.insert(i, i); // HERE hashmap
    }
    black_box(m);
}

#[inline(never)]
fn fill_btree_map(n: u64) {
    let mut m = BTreeMap::new();
    for i in 0..n {
        m.insert(i, i); // HERE btreemap
    }
    black_box(m);
}

#[inline(never)]
fn formatted(n: u64) {
    black_box(format!("{n} and {n} more")); // HERE format
}

#[inline(never)]
fn collected(n: u64) {
    let v: Vec<u64> = (0..n).map(|i| i * 3).filter(|i| i % 2 == 0).collect(); // HERE collect
    black_box(v);
}

#[inline(never)]
fn zeroed(n: usize) {
    black_box(vec![0u8; n]); // HERE zeroed
}

#[inline(never)]
fn cloned(text: &str) {
    black_box(text.to_owned()); // HERE clone
}

#[derive(Clone)]
struct Own(#[allow(dead_code)] Vec<u8>);

trait Grow {
    fn grow(&self) -> Box<Self>;
}

impl Grow for Vec<u8> {
    #[inline(never)]
    fn grow(&self) -> Box<Self> {
        Box::new(vec![1, 2, 3]) // HERE trait
    }
}

fn probed(tag: &str, work: impl FnOnce()) {
    let tag = CString::new(tag).unwrap();
    // SAFETY: the probe's function; the tag is a C string for the call.
    unsafe { probe_start(tag.as_ptr()) };
    work();
    // SAFETY: as above, without arguments.
    unsafe { probe_stop() };
}

fn main() {
    let own = Vec::from([1u8]);
    black_box(Own(own.clone()));
    probed("vec", || fill_vec(1000));
    probed("string", || fill_string(100));
    probed("box", boxed);
    probed("hashmap", || fill_hash_map(100));
    probed("btreemap", || fill_btree_map(100));
    probed("format", || formatted(1 << 40));
    probed("collect", || collected(100));
    probed("zeroed", || zeroed(4000));
    probed("clone", || cloned("a text"));
    probed("trait", || {
        black_box(own.grow());
    });
}
