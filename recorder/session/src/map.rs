//! Creating, opening and mapping a session.
//!
//! The control area is mapped as a whole (about 1.5 MiB), the chunks in segments of 1 MiB when
//! they are first met: a process with a tight address space limit pays for what it uses. A
//! segment is mapped by opening the file again, so no descriptor stays open in the target. Where
//! the file's name does not lead to it any more, what is mapped already leads to the rest.

use crate::SESSION_VERSION;
use crate::layout::{
    CHUNK_BYTES, Chunk, Layout, ProcessSlot, SEGMENT_BYTES, SEGMENT_CHUNKS, SEGMENTS_MAX,
    SESSION_MAGIC, SessionHeader, StreamSlot,
};
use crate::ring::Memory;
use crate::sync::{AtomicU64, Ordering};
use crate::sys;
use core::ffi::CStr;
use core::sync::atomic::AtomicU64 as PrivateAtomicU64;

/// Longest path of a session, its terminating zero included.
pub const PATH_BYTES_MAX: usize = 256;

const PAGE_BYTES: usize = 4096;

/// A segment that could not be mapped is not tried again: a process that can no longer open the
/// file (another root folder, other rights) must not ask for every chunk anew.
const OUT_OF_REACH: u64 = 1;

/// Why a session cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// The path is too long or has a zero byte.
    Path,
    /// The file cannot be opened; the errno.
    Open(i32),
    /// The file belongs to another user, or others can write it.
    Owner,
    /// The file is not a session, or not yet.
    NotASession,
    /// The session is of another version of heaptape.
    Version,
    /// The session says of itself what cannot be, or its file was cut.
    Damaged,
    /// The kernel refused the mapping.
    Map,
    /// The file system has no room.
    Space,
}

/// A mapped session. Valid until the process ends: it is never unmapped in the target.
#[derive(Debug)]
pub struct SessionMap {
    base: *mut u8,
    layout: Layout,
    /// Address of each mapped segment; 0: not yet, [`OUT_OF_REACH`]: it could not be. Private to
    /// the process and outside the models, so never loom's (whose atomics cannot be made in a
    /// constant).
    segments: [PrivateAtomicU64; SEGMENTS_MAX],
    path: [u8; PATH_BYTES_MAX],
}

// SAFETY: the mapping is shared memory made of atomics; `segments` is atomic; the rest is constant.
unsafe impl Send for SessionMap {}
// SAFETY: as above.
unsafe impl Sync for SessionMap {}

impl SessionMap {
    /// Maps the existing session at `path`.
    ///
    /// # Errors
    /// See [`MapError`]. Nothing stays mapped or open then.
    pub fn open(path: &CStr) -> Result<Self, MapError> {
        let stored = stored_path(path)?;
        let fd = sys::open(path, libc::O_RDWR | libc::O_NOFOLLOW);
        if fd < 0 {
            return Err(MapError::Open(-fd));
        }
        let result = Self::open_descriptor(fd, stored);
        sys::close(fd);
        result
    }

    fn open_descriptor(fd: i32, path: [u8; PATH_BYTES_MAX]) -> Result<Self, MapError> {
        let file_bytes = checked_file(fd)?;
        if file_bytes < size_of::<SessionHeader>() {
            return Err(MapError::NotASession);
        }
        let first = sys::map_shared(fd, 0, 4096).ok_or(MapError::Map)?;
        let layout = read_layout(first);
        // SAFETY: nothing refers to the page that was just mapped.
        unsafe { sys::unmap(first, 4096) };
        let layout = layout?;
        if layout.file_bytes() > file_bytes {
            return Err(MapError::Damaged);
        }
        Self::map(fd, layout, path)
    }

    fn map(fd: i32, layout: Layout, path: [u8; PATH_BYTES_MAX]) -> Result<Self, MapError> {
        let base = sys::map_shared(fd, 0, layout.chunks_offset()).ok_or(MapError::Map)?;
        Ok(Self {
            base,
            layout,
            segments: [const { PrivateAtomicU64::new(0) }; SEGMENTS_MAX],
            path,
        })
    }

    /// Makes the new file `fd` (empty, open for reading and writing, reachable at `path`) a
    /// session with memory for `chunks_ready` chunks. The magic is not set yet: the creator fills
    /// in the header and calls [`SessionMap::publish`].
    ///
    /// # Errors
    /// `Space` when the file system has no room, `Path`, `Map`.
    pub fn create(
        fd: i32,
        path: &CStr,
        layout: Layout,
        chunks_ready: usize,
    ) -> Result<Self, MapError> {
        if !layout.is_valid() {
            return Err(MapError::NotASession);
        }
        let stored = stored_path(path)?;
        // The whole length first, so that later growth is only allocation.
        // SAFETY: a plain call on a descriptor of the caller's.
        if unsafe { libc::ftruncate(fd, layout.file_bytes() as libc::off_t) } != 0 {
            return Err(MapError::Space);
        }
        allocate(fd, 0, layout.chunks_offset())?;
        let session = Self::map(fd, layout, stored)?;
        let header = session.header();
        // Relaxed: `publish` orders all of it.
        header.version.store(SESSION_VERSION, Ordering::Relaxed);
        header
            .processes
            .store(layout.processes as u32, Ordering::Relaxed);
        header
            .streams
            .store(layout.streams as u32, Ordering::Relaxed);
        header.chunks.store(layout.chunks as u32, Ordering::Relaxed);
        session.grow(fd, chunks_ready)?;
        Ok(session)
    }

    /// Puts memory behind more chunks: at least `chunks` in all. For the drainer alone.
    ///
    /// # Errors
    /// `Space`: what is there stays usable.
    pub fn grow(&self, fd: i32, chunks: usize) -> Result<(), MapError> {
        let ready = self.header().chunks_ready.load(Ordering::Relaxed) as usize;
        let target = chunks
            .next_multiple_of(SEGMENT_CHUNKS)
            .min(self.layout.chunks);
        if target > ready {
            let start = self.layout.chunks_offset() + ready * CHUNK_BYTES;
            allocate(fd, start, (target - ready) * CHUNK_BYTES)?;
            // Release: pairs with Acquire in `claim_chunk`; the memory is there before its use.
            self.header()
                .chunks_ready
                .store(target as u32, Ordering::Release);
        }
        Ok(())
    }

    /// Makes the session openable: everything that was stored before is visible to whoever sees
    /// the magic.
    pub fn publish(&self) {
        // Release: pairs with Acquire in `read_layout`.
        self.header().magic.store(SESSION_MAGIC, Ordering::Release);
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &SessionHeader {
        // SAFETY: `base` is a page-aligned mapping of at least a page that lives as long as
        // `self`; SessionHeader is made of atomics, for which any bytes are valid.
        unsafe { &*self.base.cast::<SessionHeader>() }
    }

    /// Sizes of the parts.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }

    /// Process slot `index`.
    #[must_use]
    pub fn process(&self, index: u32) -> Option<&ProcessSlot> {
        let index = index as usize;
        if index >= self.layout.processes {
            return None;
        }
        // SAFETY: the index was checked, so the offset lies in the control area.
        let slot = unsafe { self.base.add(self.layout.processes_offset() + index * 128) };
        // SAFETY: aligned by the layout, made of atomics, lives as long as `self`.
        Some(unsafe { &*slot.cast::<ProcessSlot>() })
    }

    /// Unmaps everything. For the drainer, whose sessions come and go; the target never does.
    ///
    /// # Safety
    /// No reference into the session may be left, in any thread.
    pub unsafe fn unmap(self) {
        for segment in &self.segments {
            let address = segment.load(Ordering::Relaxed);
            if address > OUT_OF_REACH {
                // SAFETY: the caller vouches that nothing refers to it.
                unsafe { sys::unmap(address as *mut u8, SEGMENT_BYTES) };
            }
        }
        // SAFETY: as above.
        unsafe { sys::unmap(self.base, self.layout.chunks_offset()) };
    }

    /// Maps what the first `chunks` chunks lie in now, for a process that cannot do so later.
    pub fn map_ahead(&self, chunks: usize) {
        for index in 0..chunks.min(self.layout.chunks).div_ceil(SEGMENT_CHUNKS) {
            // One that cannot be mapped is noted as such.
            let _address = self.segment(index);
        }
    }

    /// The address of segment `index`, mapped now if it was not yet.
    fn segment(&self, index: usize) -> Option<*mut u8> {
        let place = self.segments.get(index)?;
        // Acquire: pairs with the Release below; the mapping is made before its address is seen.
        let known = place.load(Ordering::Acquire);
        if known == OUT_OF_REACH {
            return None;
        }
        if known != 0 {
            return Some(known as *mut u8);
        }
        let Some(mapped) = self.map_segment(index) else {
            // Relaxed: another thread may have succeeded, which then stays.
            let _ = place.compare_exchange(0, OUT_OF_REACH, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        };
        match place.compare_exchange(0, mapped as u64, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(mapped),
            Err(other) => {
                // SAFETY: another thread was faster; nobody has seen our mapping.
                unsafe { sys::unmap(mapped, SEGMENT_BYTES) };
                (other > OUT_OF_REACH).then_some(other as *mut u8)
            }
        }
    }

    fn map_segment(&self, index: usize) -> Option<*mut u8> {
        let fd = sys::open(self.path(), libc::O_RDWR | libc::O_NOFOLLOW);
        if fd < 0 {
            return self.map_from_mapped(index);
        }
        let offset = self.layout.chunks_offset() + index * SEGMENT_BYTES;
        let mapped = sys::map_shared(fd, offset, SEGMENT_BYTES);
        sys::close(fd);
        mapped
    }

    /// Maps segment `index` by mapping the last page before it that is mapped once more, with all
    /// that follows it in the file: `mremap` does so for a shared mapping when the old length is 0.
    fn map_from_mapped(&self, index: usize) -> Option<*mut u8> {
        let address = |number: usize| {
            let known = self.segments.get(number)?.load(Ordering::Acquire);
            (known > OUT_OF_REACH).then_some((number + 1, known as *mut u8, SEGMENT_BYTES))
        };
        let control = (0, self.base, self.layout.chunks_offset());
        let (next, start, bytes) = (0..index).rev().find_map(address).unwrap_or(control);
        let page = start.addr() + bytes - PAGE_BYTES;
        let before = PAGE_BYTES + (index - next) * SEGMENT_BYTES;
        let flags = libc::MREMAP_MAYMOVE as usize;
        let call = [page, 0, before + SEGMENT_BYTES, flags, 0, 0];
        // SAFETY: a page of ours, which stays mapped; the new mapping lies where nothing is.
        let result = unsafe { sys::syscall6(libc::SYS_mremap, call) };
        if (-4095..0).contains(&result) {
            return None;
        }
        let mapped = result as *mut u8;
        // SAFETY: nobody has seen the mapping that was just made; its first part is not wanted.
        unsafe { sys::unmap(mapped, before) };
        Some(mapped.wrapping_add(before))
    }
}

impl Memory for SessionMap {
    fn chunk(&self, index: u32) -> Option<&Chunk> {
        let index = index as usize;
        if index >= self.layout.chunks {
            return None;
        }
        let segment = self.segment(index / SEGMENT_CHUNKS)?;
        // SAFETY: the chunk lies within the mapped segment.
        let chunk = unsafe { segment.add(index % SEGMENT_CHUNKS * CHUNK_BYTES) };
        // SAFETY: aligned by the layout, made of atomics, never unmapped while `self` is used.
        Some(unsafe { &*chunk.cast::<Chunk>() })
    }

    fn owner(&self, index: u32) -> Option<&AtomicU64> {
        let index = index as usize;
        if index >= self.layout.chunks {
            return None;
        }
        // SAFETY: the index was checked, so the offset lies in the control area.
        let word = unsafe { self.base.add(self.layout.owners_offset() + index * 8) };
        // SAFETY: aligned by the layout, lives as long as `self`.
        Some(unsafe { &*word.cast::<AtomicU64>() })
    }

    fn stream(&self, index: u32) -> Option<&StreamSlot> {
        let index = index as usize;
        if index >= self.layout.streams {
            return None;
        }
        // SAFETY: the index was checked, so the offset lies in the control area.
        let slot = unsafe { self.base.add(self.layout.streams_offset() + index * 128) };
        // SAFETY: aligned by the layout, made of atomics, lives as long as `self`.
        Some(unsafe { &*slot.cast::<StreamSlot>() })
    }

    fn chunks_ready(&self) -> u32 {
        // Acquire: pairs with Release in `grow`.
        let ready = self.header().chunks_ready.load(Ordering::Acquire);
        ready.min(self.layout.chunks as u32)
    }

    fn chunk_hint(&self) -> &crate::sync::AtomicU32 {
        &self.header().chunk_hint
    }

    fn stream_high(&self) -> &crate::sync::AtomicU32 {
        &self.header().stream_high
    }

    fn streams(&self) -> u32 {
        self.layout.streams as u32
    }
}

fn stored_path(path: &CStr) -> Result<[u8; PATH_BYTES_MAX], MapError> {
    let bytes = path.to_bytes_with_nul();
    let mut stored = [0; PATH_BYTES_MAX];
    stored
        .get_mut(..bytes.len())
        .ok_or(MapError::Path)?
        .copy_from_slice(bytes);
    Ok(stored)
}

/// Length of the file, when it is a plain file of ours that nobody else can write.
fn checked_file(fd: i32) -> Result<usize, MapError> {
    // SAFETY: all-zero bytes are a valid `stat`.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let address = (&raw mut stat) as usize;
    // SAFETY: the structure is valid for the kernel to fill in.
    let result = unsafe { sys::syscall6(libc::SYS_fstat, [fd as usize, address, 0, 0, 0, 0]) };
    // SAFETY: geteuid has no arguments and cannot fail.
    let user = unsafe { sys::syscall6(libc::SYS_geteuid, [0; 6]) } as u32;
    let plain = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
    if result != 0 || !plain || stat.st_mode & 0o022 != 0 || stat.st_uid != user && user != 0 {
        return Err(MapError::Owner);
    }
    Ok(stat.st_size as usize)
}

fn read_layout(first_page: *mut u8) -> Result<Layout, MapError> {
    // SAFETY: a whole page is mapped there; SessionHeader is made of atomics.
    let header = unsafe { &*first_page.cast::<SessionHeader>() };
    // Acquire: pairs with Release in `publish`.
    if header.magic.load(Ordering::Acquire) != SESSION_MAGIC {
        return Err(MapError::NotASession);
    }
    if header.version.load(Ordering::Relaxed) != SESSION_VERSION {
        return Err(MapError::Version);
    }
    let layout = Layout {
        processes: header.processes.load(Ordering::Relaxed) as usize,
        streams: header.streams.load(Ordering::Relaxed) as usize,
        chunks: header.chunks.load(Ordering::Relaxed) as usize,
    };
    layout.is_valid().then_some(layout).ok_or(MapError::Damaged)
}

/// Puts memory behind `bytes` from `offset`, so that touching them cannot fail later.
fn allocate(fd: i32, offset: usize, bytes: usize) -> Result<(), MapError> {
    // SAFETY: a plain call on a descriptor of the caller's.
    match unsafe { libc::fallocate(fd, 0, offset as libc::off_t, bytes as libc::off_t) } {
        0 => Ok(()),
        _ => Err(MapError::Space),
    }
}
