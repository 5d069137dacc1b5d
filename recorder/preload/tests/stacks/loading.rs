//! Libraries that come and go: code at a reused address belongs to the library that is there now.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use heaptape_preload::modules::elf::Headers;
use heaptape_preload::modules::{self, find};
use heaptape_preload::stack::StackConfig;

use crate::compile::{Library, shared_object};
use crate::harness::{self, current, probe, session};

type Probe = extern "C" fn();
type Plugin = extern "C" fn(Probe);

fn plugin(name: &str, padding: u32, options: &[&str]) -> PathBuf {
    let padding = format!("-DPADDING={padding}");
    let file = format!("{name}.so");
    let mut all = vec!["-DPLUGIN=plugin", padding.as_str()];
    all.extend(options);
    shared_object("plugin.c", &file, &all)
}

/// Loads a library as the hook of dlopen would, calls it, checks every frame in it, unloads it.
/// Returns the return addresses in it.
fn visit(path: &PathBuf) -> [usize; 2] {
    modules::load_started();
    let library = Library::open(path);
    modules::load_finished();
    let address = library.symbol("plugin");
    // SAFETY: the program defines a function of this type under this name.
    let run = unsafe { std::mem::transmute::<*mut libc::c_void, Plugin>(address) };
    let mut returns = [0; 2];
    for _ in 0..2 {
        run(probe);
        let frames = &current().last.frames;
        for frame in &frames[..2] {
            let module = harness::module(frame.module);
            assert_eq!(&module.path, path, "a frame of another library");
            assert!((module.start..module.end).contains(&frame.address));
        }
        returns = [frames[0].address, frames[1].address];
        assert_ne!(harness::module(frames[2].module).path, *path);
    }
    modules::unload_started();
    library.close();
    modules::unload_finished();
    returns
}

/// Two builds of one source have other frame sizes at the same addresses: with the old library's
/// rows or numbers a stack would be wrong.
#[test]
fn reused_addresses_belong_to_the_new_library() {
    static REUSED: AtomicUsize = AtomicUsize::new(0);
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            std::thread::spawn(move || {
                let without_id: &[&str] = if worker % 2 == 0 {
                    &[]
                } else {
                    &["-Wl,--build-id=none"]
                };
                let paths = [
                    plugin("one", 200, without_id),
                    plugin("two", 328, without_id),
                ];
                session(StackConfig::default(), || {
                    let mut last = [0; 2];
                    for round in 0..100 {
                        let returns = visit(&paths[round % 2]);
                        REUSED.fetch_add(usize::from(returns == last), Ordering::Relaxed);
                        last = returns;
                    }
                })
            })
        })
        .collect();
    for worker in workers {
        let taken = worker.join().expect("the worker's own checks");
        assert_eq!(taken.taken, 200);
        assert_eq!(taken.identical, taken.taken, "{}", taken.explain());
    }
    assert!(
        REUSED.load(Ordering::Relaxed) > 20,
        "the loader reused too few addresses"
    );
}

/// The same library at the same place is the same module: its number does not grow with loads.
#[test]
fn a_library_that_stays_keeps_its_number() {
    let path = plugin("stays", 64, &[]);
    let library = Library::open(&path);
    let address = library.symbol("plugin");
    // SAFETY: the program defines a function of this type under this name.
    let run = unsafe { std::mem::transmute::<*mut libc::c_void, Plugin>(address) };
    session(StackConfig::default(), || {
        let mut numbers = Vec::new();
        for _ in 0..3 {
            run(probe);
            numbers.push(current().last.frames[0].module);
            modules::objects_changed(true);
        }
        assert_eq!(numbers, [numbers[0]; 3]);
    });
}

/// While a load and an unload run at once nothing is remembered from event to event, and the
/// stacks are still right.
#[test]
fn an_unsettled_moment_is_exact() {
    let before = modules::changes();
    modules::unload_started();
    assert_ne!(modules::changes(), before);
    modules::load_started();
    assert!(modules::changes().is_unsettled());
    let unloads = modules::unloads();
    let taken = session(StackConfig::default(), || {
        current().compare_no_more();
        for _ in 0..3 {
            probe();
            let nodes = current().tape.nodes.len();
            let frames = current().last.frames.len();
            assert_eq!(nodes % frames, 0, "each event makes all of its nodes");
        }
    });
    assert_eq!(taken.taken, 3);
    modules::load_finished();
    assert!(
        modules::unloads() > unloads,
        "the load may have taken an unloaded one's place"
    );
    modules::unload_finished();
}

/// A library whose load segments lie apart: its stacks are whole, and what is mapped into a hole is
/// not the library's.
#[test]
fn holes_between_segments_belong_to_nobody() {
    for page_size in [0x1_0000, 0x20_0000] {
        let option = format!("-Wl,-z,max-page-size={page_size:#x}");
        let path = plugin("holes", 64, &[&option]);
        let taken = session(StackConfig::default(), || {
            for _ in 0..3 {
                visit(&path);
            }
        });
        assert_eq!(taken.taken, 6);
        assert_eq!(taken.identical, taken.taken, "{}", taken.explain());

        let library = Library::open(&path);
        let address = library.symbol("plugin") as usize;
        let object = find::object_of(address).expect("loaded");
        let headers = Headers::of(&object).expect("headers");
        let stretches: Vec<_> = headers.stretches().collect();
        assert!(stretches.len() > 2, "{stretches:x?}");
        let (_, hole) = stretches[0];
        assert!(object.holds(address) && object.holds(hole - 1) && !object.holds(hole));

        // push rbp; mov rbp, rsp; call rdi; pop rbp; ret
        let code = [0x55u8, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3];
        map_at(hole, &code);
        // SAFETY: the code is a function of this type.
        let run = unsafe { std::mem::transmute::<usize, Plugin>(hole) };
        session(StackConfig::default(), || {
            current().compare_no_more();
            run(probe);
            let last = &current().last;
            assert_eq!(
                (last.frames[0].module, last.frames[0].address),
                (0, hole + 6)
            );
            assert!(last.cut.is_none() && last.frames.len() > 3);
        });
        library.close();
    }
}

/// Puts code into one page at `address`, which nobody uses.
fn map_at(address: usize, code: &[u8]) {
    let page = std::ptr::with_exposed_provenance_mut::<libc::c_void>(address);
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page is in a hole that the loader has reserved for nothing.
    let mapped = unsafe { libc::mmap(page, 4096, protection, flags, -1, 0) };
    assert_eq!(mapped, page);
    // SAFETY: the page is ours and larger than the code.
    unsafe {
        mapped
            .cast::<u8>()
            .copy_from_nonoverlapping(code.as_ptr(), code.len())
    };
}
