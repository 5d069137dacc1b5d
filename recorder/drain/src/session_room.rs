//! Where a session can be, and how large it may be there.
//!
//! In: the environment, file systems, limits. Out: folders, best first, and layouts. Nothing is
//! created here.

use heaptape_session::layout::{CHUNK_BYTES, Layout, SEGMENT_BYTES, SEGMENT_CHUNKS};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The rings never take more than this.
const POOL_BYTES_MAX: u64 = 256 << 20;
/// Nor more than this while threads have a chunk each: behind it, who writes waits for the drainer.
const POOL_BYTES_USUAL: u64 = 64 << 20;
/// A folder with less room than this is only taken when no other has more.
const POOL_BYTES_GOOD: u64 = 8 << 20;
/// Threads that can be recorded at the same time.
const STREAMS_MAX: usize = 8192;
/// The smallest session: eight threads. Less is no recording worth the name.
const CHUNKS_MIN: usize = 16;

/// A folder that may hold a session.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// What an ordinary user may still write there, in bytes.
    pub(crate) free: u64,
}

/// Folders with enough room first, in their order; then those with the most.
pub(crate) fn places() -> Vec<Place> {
    let mut places: Vec<Place> = folders()
        .into_iter()
        .map(|folder| Place {
            free: free_bytes(&folder),
            folder,
        })
        .collect();
    let good = |place: &Place| pool_bytes(place.free).min(POOL_BYTES_GOOD);
    places.sort_by_key(|place| std::cmp::Reverse(good(place)));
    places
}

/// Folders that may hold sessions, best first.
pub(crate) fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("HEAPTAPE_SESSION_FOLDER").map(PathBuf::from);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let rest = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in named.into_iter().chain(runtime).chain(rest) {
        if folder.is_absolute() && folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// What an ordinary user may still write in `folder`, in bytes.
fn free_bytes(folder: &Path) -> u64 {
    let Ok(name) = CString::new(folder.as_os_str().as_bytes()) else {
        return 0;
    };
    // SAFETY: all-zero bytes are a valid `statvfs`.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is zero-terminated, the structure valid for the call to fill in.
    if unsafe { libc::statvfs(name.as_ptr(), &raw mut room) } != 0 {
        return 0;
    }
    (room.f_bavail as u64).saturating_mul(room.f_frsize as u64)
}

/// How many bytes of rings a session has at most where so many are free, as long as its threads
/// have a chunk each.
pub(crate) fn pool_bytes(free: u64) -> u64 {
    share_of(free, 4).min(POOL_BYTES_USUAL)
}

/// How many bytes of rings it may have when live threads would get none otherwise.
pub(crate) fn pool_bytes_most(free: u64) -> u64 {
    share_of(free, 2)
}

/// One `part`-th of what is free, but a quarter of that of a memory limit.
fn share_of(free: u64, part: u64) -> u64 {
    let by_memory = memory_limit().map_or(u64::MAX, |limit| limit / (4 * part));
    (free / part)
        .max(free.min(SEGMENT_BYTES as u64))
        .min(by_memory)
        .min(POOL_BYTES_MAX)
}

/// The smallest memory limit of our cgroup and those above it.
fn memory_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let path = root.join(own.trim_start_matches('/'));
    let version_1 = root.join("memory/memory.limit_in_bytes");
    path.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .map(|folder| folder.join("memory.max"))
        .chain(std::iter::once(version_1))
        .filter_map(|file| {
            std::fs::read_to_string(file)
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .min()
}

/// Chunks that go round when every stream slot is taken: at least one in so many, or `SPARE_MIN`.
const SPARE_PART: usize = 64;
const SPARE_MIN: usize = 8;

/// A layout of so many chunks. A stream keeps the chunk that it writes; what it has filled comes
/// back when it was read. There are fewer streams than chunks, so that no producer waits for a
/// chunk that cannot come.
fn layout_of(chunks: usize) -> Layout {
    let processes = match chunks / SEGMENT_CHUNKS {
        0 => 8,
        1..4 => 64,
        4..16 => 512,
        _ => 4096,
    };
    Layout {
        processes,
        streams: chunks
            .saturating_sub((chunks / SPARE_PART).max(SPARE_MIN))
            .clamp(1, STREAMS_MAX),
        chunks,
    }
}

/// The largest layout whose rings take at most `room` bytes in a file of at most
/// `file_bytes_max`, or the smallest there is.
pub(crate) fn layout_for(room: u64, file_bytes_max: u64) -> Layout {
    let fits = |chunks: usize| layout_of(chunks).file_bytes() as u64 <= file_bytes_max;
    let most = (room.min(POOL_BYTES_MAX) / CHUNK_BYTES as u64) as usize;
    let (mut fitting, mut above) = (CHUNKS_MIN, most.max(CHUNKS_MIN) + 1);
    while above - fitting > 1 {
        let middle = usize::midpoint(fitting, above);
        if fits(middle) {
            fitting = middle;
        } else {
            above = middle;
        }
    }
    layout_of(fitting)
}

/// The smallest layout.
pub(crate) fn smallest() -> Layout {
    layout_of(CHUNKS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_keep_within_their_room() {
        for room in [0, 40 << 10, 1 << 20, 5 << 20, 16 << 20, 256 << 20, u64::MAX] {
            let layout = layout_for(room, u64::MAX);
            assert!(layout.is_valid(), "{room}");
            let spare = layout.chunks - layout.streams;
            assert!(spare >= SPARE_MIN.max(layout.chunks / SPARE_PART), "{room}");
            let pool = (layout.chunks * CHUNK_BYTES) as u64;
            let smallest = (CHUNKS_MIN * CHUNK_BYTES) as u64;
            assert!(pool <= room.clamp(smallest, POOL_BYTES_MAX));
        }
        assert!(layout_for(1 << 20, u64::MAX).file_bytes() < 1200 << 10);
        assert_eq!(layout_for(0, 0), layout_of(CHUNKS_MIN));
        assert!(layout_of(CHUNKS_MIN).file_bytes() < 300 << 10);
    }

    #[test]
    fn small_shared_memory_has_slots_for_many_threads() {
        // What a container has by default.
        let layout = layout_for(pool_bytes_most(64 << 20), 64 << 20);
        if memory_limit().is_none_or(|limit| limit >= 1 << 30) {
            assert!(layout.streams > 2000, "{layout:?}");
        }
        for free in [0, 1 << 20, 64 << 20, 1 << 30, u64::MAX] {
            assert!(pool_bytes(free) <= pool_bytes_most(free), "{free}");
            assert!(pool_bytes_most(free) <= (free / 2).max(1 << 20), "{free}");
        }
    }

    #[test]
    fn layouts_fill_the_file_that_they_may_have() {
        let smallest = layout_of(CHUNKS_MIN).file_bytes() as u64;
        for limit in [smallest, 512 << 10, 1 << 20, 2 << 20, 20 << 20, 300 << 20] {
            for room in [1 << 20, 8 << 20, POOL_BYTES_MAX, u64::MAX] {
                let layout = layout_for(room, limit);
                assert!(layout.is_valid() && layout.file_bytes() as u64 <= limit);
                let more = layout_of(layout.chunks + 1);
                let is_full = more.file_bytes() as u64 > limit
                    || (more.chunks * CHUNK_BYTES) as u64 > room.min(POOL_BYTES_MAX);
                assert!(is_full, "{room} {limit}: {layout:?}");
            }
        }
    }
}
