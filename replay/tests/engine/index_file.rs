//! The index as a file: where it is, who may read it, when it is used.

use crate::harness::{file, without_index};
use crate::support::generate::{long_script, play};
use crate::support::write::{Layout, Written, tape};
use heaptape::{Error, Gap, OpenOptions, Recording};
use heaptape_format::ChunkKind;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn bytes(seed: u64, tape_id: u8) -> Vec<u8> {
    let history = play(&long_script(seed, 2000, 100), 3, false);
    let layout = Layout {
        tape_id,
        ..Layout::default()
    };
    tape(&history, &layout).0
}

/// Options that count how often an index was built.
fn counting(builds: &Arc<AtomicU64>) -> OpenOptions {
    let builds = builds.clone();
    OpenOptions {
        progress: Some(heaptape::recording::Progress(Arc::new(move |done| {
            assert!((0.0..=1.0).contains(&done));
            builds.fetch_add(1, Ordering::SeqCst);
        }))),
        // One window, so that a build tells of itself once.
        window_events: Some(u64::MAX),
        ..OpenOptions::default()
    }
}

#[test]
fn an_index_is_written_beside_the_tape_for_its_owner_and_used_again() {
    let (_folder, path) = file(&bytes(1, 1));
    let builds = Arc::new(AtomicU64::new(0));
    let options = counting(&builds);
    let first = Recording::open(&path, &options).unwrap();
    assert_eq!(builds.load(Ordering::SeqCst), 0, "opening builds nothing");
    let summary = first.summary().unwrap().clone();
    assert_eq!(builds.load(Ordering::SeqCst), 1);
    let index = path.with_file_name("x.tape.idx");
    assert_eq!(first.index_path(), index);
    let mode = std::fs::metadata(&index).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 2, "nothing temporary is left");

    let second = Recording::open(&path, &options).unwrap();
    assert_eq!(second.summary().unwrap(), &summary);
    assert_eq!(builds.load(Ordering::SeqCst), 1, "the index was used");

    // Another tape in its place, of the same length, is not answered from the old index.
    let other = bytes(1, 2);
    assert_eq!(other.len() as u64, first.tape().tape_bytes);
    std::fs::write(&path, other).unwrap();
    let third = Recording::open(&path, &options).unwrap();
    assert_eq!(third.summary().unwrap(), &summary);
    assert_eq!(builds.load(Ordering::SeqCst), 2);
}

#[test]
fn an_index_of_another_length_is_built_again() {
    let (_folder, path) = file(&bytes(6, 1));
    let builds = Arc::new(AtomicU64::new(0));
    let options = counting(&builds);
    let summary = Recording::open(&path, &options)
        .unwrap()
        .summary()
        .unwrap()
        .clone();
    let index = path.with_file_name("x.tape.idx");
    let whole = std::fs::read(&index).unwrap();
    let length = whole.len() as u64;
    for (built, length) in (1..).zip([0, 100, 152, length - 8, length + 8, length + (1 << 30)]) {
        assert_eq!(builds.load(Ordering::SeqCst), built);
        let resized = std::fs::File::options().write(true).open(&index).unwrap();
        resized.set_len(length).unwrap();
        let again = Recording::open(&path, &options).unwrap();
        assert_eq!(again.summary().unwrap(), &summary);
        assert_eq!(builds.load(Ordering::SeqCst), built + 1, "{length} bytes");
        assert!(std::fs::read(&index).unwrap() == whole, "{length} bytes");
    }
}

#[test]
fn an_index_that_cannot_stand_beside_its_tape_goes_to_the_cache() {
    let (folder, path) = file(&bytes(2, 1));
    // A folder in its place: it cannot be written, whoever asks.
    std::fs::create_dir(path.with_file_name("x.tape.idx")).unwrap();
    let cache = folder.path().join("cache").join("deep");
    let builds = Arc::new(AtomicU64::new(0));
    let options = OpenOptions {
        cache_folder: Some(cache.clone()),
        ..counting(&builds)
    };
    let info = Recording::open(&path, &options)
        .unwrap()
        .build_index()
        .unwrap();
    let written = info.path.unwrap();
    assert!(written.starts_with(&cache), "{written:?}");
    assert_eq!(std::fs::metadata(&written).unwrap().len(), info.bytes);
    assert_eq!(builds.load(Ordering::SeqCst), 1);
    let again = Recording::open(&path, &options).unwrap();
    assert!(again.summary().unwrap().allocs > 0);
    assert_eq!(
        builds.load(Ordering::SeqCst),
        1,
        "the index in the cache was used"
    );

    // Nowhere to write: asking for the index fails, asking for answers does not.
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "a file").unwrap();
    let nowhere = OpenOptions {
        cache_folder: Some(blocked.join("cache")),
        ..counting(&builds)
    };
    let recording = Recording::open(&path, &nowhere).unwrap();
    let text = recording.build_index().unwrap_err().to_string();
    assert!(
        text.contains("x.tape.idx") && text.contains("XDG_CACHE_HOME"),
        "{text}"
    );
    assert!(recording.summary().unwrap().allocs > 0);
}

#[test]
fn without_an_index_nothing_is_written() {
    let (_folder, path) = file(&bytes(3, 1));
    let options = OpenOptions {
        use_index: false,
        write_index: false,
        ..OpenOptions::default()
    };
    let recording = Recording::open(&path, &options).unwrap();
    assert!(recording.summary().unwrap().allocs > 0);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn an_index_is_small_and_says_what_it_holds() {
    let history = play(&long_script(4, 60_000, 500), 3, false);
    let layout = Layout {
        chunk_events: 8192,
        ..Layout::default()
    };
    let (bytes, _) = tape(&history, &layout);
    let (_folder, path) = file(&bytes);
    let options = OpenOptions {
        slice_events: Some(10_000),
        ..OpenOptions::default()
    };
    let info = Recording::open(&path, &options)
        .unwrap()
        .build_index()
        .unwrap();
    assert_eq!(info.slices, 7, "63k transitions in slices of 10k");
    assert!(info.survivors > 500 && info.survivors < 6000, "{info:?}");
    let written = std::fs::metadata(info.path.as_ref().unwrap())
        .unwrap()
        .len();
    assert_eq!(written, info.bytes);
}

/// Damage that leaves the file's size and time as they were: an index may know nothing of it, but
/// no answer is made without the events that it needs.
#[test]
fn damage_after_the_index_was_built_is_met() {
    let history = play(&long_script(5, 4000, 100), 3, false);
    let (bytes, chunks) = tape(&history, &Layout::default());
    let (_folder, path) = file(&bytes);
    let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
    let sound = Recording::open(&path, &OpenOptions::default()).unwrap();
    sound.build_index().unwrap();
    let events = |chunk: &&Written| chunk.kind == ChunkKind::EVENTS;
    let hit = chunks.iter().filter(events).nth(2).unwrap();
    let mut damaged = bytes.clone();
    damaged[(hit.offset + hit.bytes - 1) as usize] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let tape_file = std::fs::File::options().write(true).open(&path).unwrap();
    tape_file.set_modified(changed).unwrap();

    let trusting = Recording::open(&path, &OpenOptions::default()).unwrap();
    let whole = Recording::open(&path, &without_index()).unwrap();
    assert_ne!(whole.summary().unwrap(), sound.summary().unwrap());
    let mut refused = 0;
    for at in history.stamps() {
        match trusting.live_heap(at) {
            Ok(blocks) => assert_eq!(blocks, sound.live_heap(at).unwrap()),
            Err(Error::Changed { offset, .. }) => {
                assert_eq!(offset, hit.offset);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let is_told = |error: Error| matches!(error, Error::Changed { .. });
    assert!(trusting.lifetimes(0, u64::MAX).is_err_and(is_told));
    assert!(trusting.owners(0x1000).is_err_and(is_told));

    // Who asks for the checksums of all events gets the index that is right now, from then on.
    let checking = OpenOptions {
        check_events: true,
        ..OpenOptions::default()
    };
    for options in [checking, OpenOptions::default()] {
        let recording = Recording::open(&path, &options).unwrap();
        assert_eq!(recording.summary().unwrap(), whole.summary().unwrap());
        assert_eq!(recording.gap().unwrap(), Some(Gap::Damaged(1)));
        let at = recording.tape().end_stamp / 2;
        assert_eq!(
            recording.live_heap(at).unwrap(),
            whole.live_heap(at).unwrap()
        );
    }
}
