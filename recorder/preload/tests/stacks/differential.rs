//! Random walks through code of many shapes, C, C++ and Rust in any order, each stack compared
//! with the reference.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::OnceLock;

use heaptape_preload::stack::StackConfig;

use crate::compile::{Library, shared_object};
use crate::harness::{Session, current, probe, session};
use crate::signals;

pub(crate) type Descend = extern "C" fn(u32, u64);
pub(crate) type Shape = extern "C" fn(u32, u64, Descend);

const C_SHAPES: [&str; 14] = [
    "shape_plain",
    "shape_alloca",
    "shape_variable_array",
    "shape_aligned",
    "shape_realigned",
    "shape_variadic",
    "shape_large_frame",
    "shape_sort",
    "shape_recursion",
    "shape_pressure",
    "shape_long_jump",
    "shape_once",
    "shape_signal",
    "shape_plain",
];
const CXX_SHAPES: [&str; 8] = [
    "shape_catch",
    "shape_unwinding",
    "shape_rethrown",
    "shape_templates",
    "shape_function_object",
    "shape_virtual",
    "shape_algorithm",
    "shape_tree",
];

pub(crate) fn shapes() -> &'static [Shape] {
    static SHAPES: OnceLock<Vec<Shape>> = OnceLock::new();
    SHAPES.get_or_init(|| {
        let c = Library::open(&shared_object("shapes.c", "shapes_c.so", &[]));
        let cxx = Library::open(&shared_object(
            "shapes.cpp",
            "shapes_cxx.so",
            &["-std=c++17"],
        ));
        // Wide vectors make the compiler realign frames.
        let vectors = ["-mavx2", "-ftree-vectorize", "-O3"];
        let wide = Library::open(&shared_object("shapes.c", "shapes_wide.so", &vectors));
        let pointers = ["-fno-omit-frame-pointer", "-O1"];
        let framed = Library::open(&shared_object("shapes.c", "shapes_framed.so", &pointers));
        signals::handle(libc::SIGUSR1, c.symbol("handle_signal") as usize, 0);
        let mut shapes: Vec<Shape> = vec![rust_boxed, rust_generic, rust_sort, rust_map];
        let named = |library: &Library, name| {
            // SAFETY: the programs define functions of this type under these names.
            unsafe { std::mem::transmute::<*mut libc::c_void, Shape>(library.symbol(name)) }
        };
        for name in C_SHAPES {
            shapes.push(named(&c, name));
            // A handler knows what its own library has pending.
            if name != "shape_signal" {
                shapes.push(named(&framed, name));
                shapes.push(named(&wide, name));
            }
        }
        shapes.extend(CXX_SHAPES.map(|name| named(&cxx, name)));
        shapes
    })
}

pub(crate) fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ mixed >> 31
}

/// Goes through `depth` more shapes and takes the stack.
pub(crate) extern "C" fn descend(depth: u32, seed: u64) {
    let Some(depth) = depth.checked_sub(1) else {
        probe();
        black_box(seed);
        return;
    };
    let shapes = shapes();
    let seed = mix(seed.wrapping_add(u64::from(depth)));
    let shape = shapes[seed as usize % shapes.len()];
    shape(depth, seed >> 8, descend);
    black_box(shape);
}

extern "C" fn rust_boxed(depth: u32, seed: u64, descend: Descend) {
    let text = format!("{seed}");
    let inner: Box<dyn Fn(&str)> = Box::new(move |text| {
        descend(depth, seed);
        black_box(text);
    });
    let outer: Box<dyn FnOnce()> = Box::new(|| {
        inner(&text);
        black_box(&text);
    });
    outer();
    black_box(&text);
}

trait Nested {
    fn go(self, depth: u32, seed: u64, descend: Descend) -> u64;
}

impl Nested for () {
    fn go(self, depth: u32, seed: u64, descend: Descend) -> u64 {
        descend(depth, seed);
        black_box(1)
    }
}

impl<T: Nested> Nested for (T, u64) {
    #[inline(never)]
    fn go(self, depth: u32, seed: u64, descend: Descend) -> u64 {
        let mut local = [self.1; 5];
        black_box(&mut local);
        self.0.go(depth, seed, descend) + local[2]
    }
}

extern "C" fn rust_generic(depth: u32, seed: u64, descend: Descend) {
    let deep = (((((((), 1), 2), 3), 4), 5), 6);
    black_box(deep.go(depth, seed, descend));
}

extern "C" fn rust_sort(depth: u32, seed: u64, descend: Descend) {
    let mut numbers = [5, 3, 8, 1, 7];
    let mut is_done = false;
    numbers.sort_by(|left, right| {
        if !is_done {
            is_done = true;
            descend(depth, seed);
        }
        left.cmp(right)
    });
    black_box(numbers);
}

extern "C" fn rust_map(depth: u32, seed: u64, descend: Descend) {
    let map: BTreeMap<u64, u64> = (0..20).map(|key| (key, key * seed % 7)).collect();
    let sum: u64 = map
        .values()
        .filter(|value| **value < 100)
        .enumerate()
        .map(|(place, value)| {
            if place == 3 {
                descend(depth, seed);
            }
            *value
        })
        .sum();
    black_box(sum);
}

fn walk(seeds: std::ops::Range<u64>) -> Session {
    shapes();
    session(StackConfig::default(), || {
        signals::use_alternate_stack();
        for seed in seeds {
            descend((seed % 19) as u32, seed);
        }
    })
}

/// Stacks of mixed shapes on the main thread's kind of stack and on threads that end in C code.
#[test]
fn mixed_shapes_are_identical() {
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            std::thread::spawn(move || walk(worker * 1_000_000..worker * 1_000_000 + 55_000))
        })
        .collect();
    let mut all = session(StackConfig::default(), || {});
    for worker in workers {
        all.add(worker.join().expect("the worker's own checks"));
    }
    assert!(all.taken >= 100_000);
    assert_eq!(all.identical, all.taken, "{}", all.explain());
}

extern "C" fn thread_body(seed: *mut libc::c_void) -> *mut libc::c_void {
    let seed = seed as u64;
    let mut taken = session(StackConfig::default(), || descend(seed as u32 % 5, seed));
    taken.different.truncate(1);
    Box::into_raw(Box::new(taken)).cast()
}

/// Threads made by C code: the outermost frame is where the kernel started the thread.
#[test]
fn short_threads_are_identical() {
    shapes();
    let mut all = session(StackConfig::default(), || {});
    for seed in 0..200usize {
        let mut thread = 0;
        let argument = seed as *mut libc::c_void;
        // SAFETY: the body takes a number for its argument.
        let made = unsafe {
            libc::pthread_create(&raw mut thread, std::ptr::null(), thread_body, argument)
        };
        assert_eq!(made, 0);
        let mut result = std::ptr::null_mut();
        // SAFETY: the thread was made and is joined once.
        let joined = unsafe { libc::pthread_join(thread, &raw mut result) };
        assert_eq!(joined, 0);
        // SAFETY: the body returns a boxed session.
        all.add(*unsafe { Box::from_raw(result.cast::<Session>()) });
    }
    assert!(all.taken >= 200);
    assert_eq!(all.identical, all.taken, "{}", all.explain());
}

/// Stacks of coroutines, which come and go at overlapping addresses of changing sizes.
#[test]
fn coroutines_are_identical() {
    shapes();
    let library = Library::open(&shared_object("coroutines.c", "coroutines.so", &[]));
    let address = library.symbol("run_coroutines");
    // SAFETY: the program defines a function of this type under this name.
    let run =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(u64, Descend)>(address) };
    let taken = session(StackConfig::default(), || {
        signals::use_alternate_stack();
        for seed in 0..60 {
            run(seed, descend);
            // On the thread's own stack in between.
            descend(2, seed);
        }
    });
    assert!(taken.taken > 1000, "{}", taken.taken);
    assert_eq!(taken.identical, taken.taken, "{}", taken.explain());
}

/// Every module that a stack goes through is announced with what the loader knows of it.
#[test]
fn modules_are_announced_with_their_files() {
    let taken = session(StackConfig::default(), || {
        descend(0, 1);
        let stack = &current().last;
        let first = stack.frames.first().expect("the caller");
        let module = crate::harness::module(first.module);
        assert_eq!(module.path, std::env::current_exe().expect("a path"));
        assert!((module.start..module.end).contains(&first.address));
        assert!(!module.build_id.is_empty());
        let libc = stack.frames.last().expect("the outermost");
        let module = crate::harness::module(libc.module);
        assert!(
            module.path.to_string_lossy().contains("libc.so"),
            "{:?}",
            module.path
        );
        assert!(module.path.is_absolute());
    });
    assert_eq!(taken.identical, 1);
}
