//! The environment: what it tells us, and what it must tell the images that this one starts.
//!
//! Reading needs nothing of the C library but the pointer `environ`. Building writes into memory
//! that the caller brings, since an image may be replaced in a child that shares our memory.

mod ours;

pub use ours::{Ours, ours, set_own};

use crate::{library, start_block};
use core::ffi::{CStr, c_char};
use core::ptr;
use heaptape_session::{allocators, reasons};

/// Variables that can be added to an environment.
pub const ADDED_MAX: usize = 3;

const PRELOAD: &[u8] = b"LD_PRELOAD";
const SESSION: &[u8] = b"HEAPTAPE_SESSION";
const PARENT: &[u8] = b"HEAPTAPE_PARENT";
const OUT: &[u8] = b"HEAPTAPE_OUT";

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// The process's own environment; null before the C library has set it.
#[must_use]
pub fn own() -> *const *const c_char {
    let place = &raw const environ;
    // SAFETY: the C library's variable is a valid pointer, read once.
    unsafe { place.read() }
}

/// The environment to read: the process's own; before the C library has set it, and after a program
/// has given it up, the one that the kernel put on the stack.
fn known() -> *const *const c_char {
    let own = own();
    if own.is_null() {
        start_block::environment()
    } else {
        own
    }
}

/// True when the environment can be read.
#[must_use]
pub fn is_there() -> bool {
    !known().is_null()
}

/// The entries of an environment or argument list: zero-terminated, null at the end.
///
/// # Safety
/// Null, or such a list, that stays as it is while the iterator is used.
pub unsafe fn entries(list: *const *const c_char) -> impl Iterator<Item = *const c_char> + Clone {
    let at = move |index: usize| {
        if list.is_null() {
            return None;
        }
        // SAFETY: the entries before were not null, so the list goes on up to here.
        let place = unsafe { list.add(index) };
        // SAFETY: as above.
        let entry = unsafe { place.read() };
        (!entry.is_null()).then_some(entry)
    };
    (0..).map_while(at)
}

/// Name and value of an entry.
fn split(entry: &[u8]) -> (&[u8], &[u8]) {
    match entry.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            entry.get(..at).unwrap_or_default(),
            entry.get(at + 1..).unwrap_or_default(),
        ),
        None => (entry, &[]),
    }
}

/// The value of a variable in the process's own environment.
#[must_use]
pub fn value(name: &[u8]) -> Option<&'static CStr> {
    // SAFETY: the process's own list.
    for entry in unsafe { entries(known()) } {
        // SAFETY: entries are C strings.
        let text = unsafe { CStr::from_ptr(entry) };
        if split(text.to_bytes()).0 == name && text.to_bytes().len() > name.len() {
            let with_zero = text.to_bytes_with_nul();
            return CStr::from_bytes_with_nul(with_zero.get(name.len() + 1..)?).ok();
        }
    }
    None
}

/// True when the user turned the recorder off.
#[must_use]
pub fn is_turned_off() -> bool {
    value(b"HEAPTAPE").is_some_and(|value| value.to_bytes() == b"0")
}

/// Path of the session to join.
#[must_use]
pub fn session_path() -> Option<&'static CStr> {
    value(SESSION).filter(|path| !path.is_empty())
}

/// Path of the tape that the user wants without a launcher.
#[must_use]
pub fn tape_path() -> Option<&'static CStr> {
    value(OUT).filter(|path| !path.is_empty())
}

/// Slot and generation of the image that started this one.
#[must_use]
pub fn parent() -> Option<(u32, u32)> {
    let text = value(PARENT)?.to_bytes();
    let mut parts = text.split(|byte| *byte == b'.');
    let mut part = || u32::try_from(number(parts.next()?)).ok();
    Some((part()?, part()?))
}

/// The decimal number at the start of a text.
#[must_use]
pub fn number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u64, |number, digit| {
            number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'))
        })
}

/// Zero-terminated texts, one after the other, in given memory.
#[derive(Debug)]
pub struct Text<'a> {
    memory: &'a mut [u8],
    start: usize,
    at: usize,
    is_full: bool,
}

impl<'a> Text<'a> {
    /// Texts in `memory`.
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self {
            memory,
            start: 0,
            at: 0,
            is_full: false,
        }
    }

    /// Appends to the current text.
    pub fn put(&mut self, part: &[u8]) {
        match self.memory.get_mut(self.at..self.at + part.len()) {
            Some(place) => {
                place.copy_from_slice(part);
                self.at += part.len();
            }
            None => self.is_full = true,
        }
    }

    /// Appends a decimal number.
    pub fn put_number(&mut self, number: u32) {
        let mut digits = [0u8; 10];
        let mut rest = number;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.put(digits.get(10 - count..).unwrap_or_default());
    }

    /// Ends the current text; its length, or `None` when something did not fit.
    pub fn end(&mut self) -> Option<usize> {
        self.put(&[0]);
        let length = self.at - 1 - self.start.min(self.at - 1);
        (!self.is_full).then_some(length)
    }

    /// As [`Text::end`], and begins the next; where the ended one stands.
    pub fn finish(&mut self) -> Option<*const c_char> {
        self.end()?;
        let text = self.memory.get(self.start..)?.as_ptr();
        self.start = self.at;
        Some(text.cast())
    }
}

/// What an environment is to say about us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry<'a> {
    /// The new image records into the session at this path, as a child of this slot and
    /// generation.
    On {
        /// The session.
        session: &'a [u8],
        /// Our slot.
        slot: u32,
        /// Its generation.
        generation: u32,
        /// The library that it is to load; empty: unknown, as in the list. `None`: none of ours,
        /// it is linked with the recorder.
        library: Option<&'a [u8]>,
    },
    /// The new image must not load us.
    Off,
}

/// Bytes of text that [`build`] may need for `list`.
///
/// # Safety
/// `list` must be null or an environment.
#[must_use]
pub unsafe fn text_bytes(list: *const *const c_char) -> usize {
    const FIXED: usize = 128 + heaptape_session::map::PATH_BYTES_MAX + library::PATH_BYTES_MAX;
    // SAFETY: as for this function.
    unsafe { entries(list) }
        // SAFETY: entries are C strings.
        .map(|entry| unsafe { CStr::from_ptr(entry) }.to_bytes())
        .filter(|entry| split(entry).0 == PRELOAD)
        .fold(FIXED, |sum, entry| sum + entry.len())
}

/// Builds a copy of the environment `list` in `out` (as many places as the list has entries, and
/// [`ADDED_MAX`] and one more) that says what `carry` tells. False when the memory is too small.
///
/// # Safety
/// `list` must be null or an environment, and outlive `out`.
pub unsafe fn build(
    list: *const *const c_char,
    carry: Carry<'_>,
    out: &mut [*const c_char],
    text: &mut Text<'_>,
) -> bool {
    let mut places = out.iter_mut();
    let mut put = |entry: *const c_char| places.next().map(|place| *place = entry).is_some();
    let mut preload: &[u8] = &[];
    let mut is_stored = true;
    // SAFETY: as for this function.
    for entry in unsafe { entries(list) } {
        // SAFETY: entries are C strings.
        let (name, value) = split(unsafe { CStr::from_ptr(entry) }.to_bytes());
        if name == PRELOAD && preload.is_empty() {
            preload = value;
        } else if name != SESSION && name != PARENT && name != PRELOAD {
            is_stored &= put(entry);
        }
    }
    if let Some(entry) = preload_entry(preload, carry, text) {
        is_stored &= put(entry);
    }
    if let Carry::On {
        session,
        slot,
        generation,
        ..
    } = carry
    {
        text.put(SESSION);
        text.put(b"=");
        text.put(session);
        is_stored &= text.finish().is_some_and(&mut put);
        text.put(PARENT);
        text.put(b"=");
        text.put_number(slot);
        text.put(b".");
        text.put_number(generation);
        is_stored &= text.finish().is_some_and(&mut put);
    }
    is_stored && put(ptr::null())
}

/// The entry of LD_PRELOAD with our library in it, or not; `None` when it would be empty.
fn preload_entry(old: &[u8], carry: Carry<'_>, text: &mut Text<'_>) -> Option<*const c_char> {
    let is_separator = |byte: &u8| matches!(byte, b':' | b' ');
    let parts = || old.split(is_separator).filter(|part| !part.is_empty());
    let library = match carry {
        Carry::On { library, .. } => library,
        Carry::Off => None,
    };
    let (is_on, wanted) = (library.is_some(), library.unwrap_or_default());
    let has_us = parts().any(library::is_ours);
    let mut is_first = true;
    let ours = (is_on && !has_us && !wanted.is_empty()).then_some(wanted);
    let others = parts().filter(|part| is_on || !library::is_ours(part));
    // Where one of ours stands already, the one that is wanted takes its place.
    let others = others.map(|part| match library::is_ours(part) && !wanted.is_empty() {
        true => wanted,
        false => part,
    });
    let mut chosen = ours.into_iter().chain(others).peekable();
    chosen.peek()?;
    text.put(PRELOAD);
    text.put(b"=");
    for part in chosen {
        if !is_first {
            text.put(b":");
        }
        text.put(part);
        is_first = false;
    }
    text.finish()
}

/// What the environment `list` says of how an image is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loading {
    /// `LD_PRELOAD` names a library that brings an allocator.
    pub brings_allocator: bool,
    /// `LD_PRELOAD` names what cannot be recorded: the reason.
    pub reason: Option<&'static str>,
    /// The dynamic loader is to list libraries, as `ldd` asks it to: it would list ours too.
    pub starts_nothing: bool,
}

/// Looks for what decides how an image is loaded.
///
/// # Safety
/// `list` must be null or an environment.
#[must_use]
pub unsafe fn loading(list: *const *const c_char) -> Loading {
    let mut loading = Loading::default();
    // SAFETY: as for this function.
    for entry in unsafe { entries(list) } {
        // SAFETY: entries are C strings.
        let (name, value) = split(unsafe { CStr::from_ptr(entry) }.to_bytes());
        if name == PRELOAD {
            let mut parts = value.split(|byte| matches!(byte, b':' | b' '));
            loading.brings_allocator |=
                parts.any(|part| !library::is_ours(part) && allocators::brings_allocator(part));
            loading.reason = loading.reason.or(reasons::of_preloaded(value));
        }
        loading.starts_nothing |= name == b"LD_TRACE_LOADED_OBJECTS";
    }
    loading
}

/// True when the environment `list` names a session, and not the one at `path`: the new image is
/// to be recorded by somebody else (`heaptape run` inside a recorded program).
///
/// # Safety
/// `list` must be null or an environment.
#[must_use]
pub unsafe fn leads_elsewhere(list: *const *const c_char, path: &CStr) -> bool {
    // SAFETY: as for this function.
    unsafe { entries(list) }
        // SAFETY: entries are C strings.
        .map(|entry| split(unsafe { CStr::from_ptr(entry) }.to_bytes()))
        .any(|(name, value)| name == SESSION && value != path.to_bytes())
}

/// True when the environment `list` turns the recorder off itself.
///
/// # Safety
/// `list` must be null or an environment.
#[must_use]
pub unsafe fn turns_off(list: *const *const c_char) -> bool {
    // SAFETY: as for this function.
    unsafe { entries(list) }
        // SAFETY: entries are C strings.
        .map(|entry| unsafe { CStr::from_ptr(entry) }.to_bytes())
        .any(|entry| entry == b"HEAPTAPE=0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    const ON: Carry<'static> = Carry::On {
        session: b"/run/s",
        slot: 4_294_967_295,
        generation: 10,
        library: Some(b"/x/libus.so"),
    };

    /// The entries that `build` makes of `list`, with our library's path as `US`.
    fn built(list: &[&str], carry: Carry<'_>) -> Vec<String> {
        library::find(b"/folder");
        let ours = library::path().expect("a path").to_string_lossy();
        let texts: Vec<CString> = list
            .iter()
            .map(|text| CString::new(text.replace("US", &ours)).expect("no zero"))
            .collect();
        let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        pointers.push(ptr::null());
        let mut out = vec![ptr::null(); list.len() + ADDED_MAX + 1];
        // SAFETY: a list of C strings that ends with null.
        let mut memory = vec![0; unsafe { text_bytes(pointers.as_ptr()) }];
        let mut text = Text::new(&mut memory);
        // SAFETY: as above.
        assert!(unsafe { build(pointers.as_ptr(), carry, &mut out, &mut text) });
        // SAFETY: what was built is such a list.
        let entries = unsafe { entries(out.as_ptr()) };
        entries
            .map(|entry| {
                // SAFETY: entries are C strings.
                let text = unsafe { CStr::from_ptr(entry) };
                text.to_string_lossy().replace("/x/libus.so", "US")
            })
            .collect()
    }

    #[test]
    fn the_session_is_carried_on() {
        let added = ["HEAPTAPE_SESSION=/run/s", "HEAPTAPE_PARENT=4294967295.10"];
        let expect = |list: &[&str], kept: &[&str]| {
            let expected: Vec<&str> = kept.iter().chain(&added).copied().collect();
            assert_eq!(built(list, ON), expected, "{list:?}");
        };
        expect(&[], &["LD_PRELOAD=US"]);
        expect(&["A=1", "B"], &["A=1", "B", "LD_PRELOAD=US"]);
        expect(&["LD_PRELOAD=", "A=1"], &["A=1", "LD_PRELOAD=US"]);
        expect(&["LD_PRELOAD=a.so b.so"], &["LD_PRELOAD=US:a.so:b.so"]);
        expect(&["LD_PRELOAD=a.so:US"], &["LD_PRELOAD=a.so:US"]);
        let old = [
            "HEAPTAPE_SESSION=/old",
            "HEAPTAPE_PARENT=1.1",
            "HEAPTAPE_OUT=x",
        ];
        expect(&old, &["HEAPTAPE_OUT=x", "LD_PRELOAD=US"]);
    }

    #[test]
    fn an_image_that_records_itself_gets_the_session_alone() {
        let Carry::On {
            session,
            slot,
            generation,
            ..
        } = ON
        else {
            panic!("it is on");
        };
        let linked = Carry::On {
            session,
            slot,
            generation,
            library: None,
        };
        let added = ["HEAPTAPE_SESSION=/run/s", "HEAPTAPE_PARENT=4294967295.10"];
        assert_eq!(built(&[], linked), added);
        let kept = built(&["LD_PRELOAD=US:a.so", "HEAPTAPE_SESSION=/old"], linked);
        assert_eq!(kept, ["LD_PRELOAD=a.so", added[0], added[1]]);
    }

    #[test]
    fn an_image_that_cannot_be_recorded_gets_nothing_of_ours() {
        let old = [
            "A=1",
            "LD_PRELOAD=US",
            "HEAPTAPE_SESSION=/old",
            "HEAPTAPE_PARENT=1.1",
        ];
        assert_eq!(built(&old, Carry::Off), ["A=1"]);
        assert_eq!(
            built(&["LD_PRELOAD=a.so:US b.so"], Carry::Off),
            ["LD_PRELOAD=a.so:b.so"]
        );
        assert_eq!(built(&[], Carry::Off), [] as [&str; 0]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let entry = CString::new("A=1").expect("no zero");
        let list = [entry.as_ptr(), ptr::null()];
        for (places, bytes) in [(1, 4000), (4, 4000), (5, 20)] {
            let mut out = vec![ptr::null(); places];
            let mut memory = vec![0; bytes];
            let mut text = Text::new(&mut memory);
            // SAFETY: a list of C strings that ends with null.
            assert!(!unsafe { build(list.as_ptr(), ON, &mut out, &mut text) });
        }
    }

    #[test]
    fn numbers_come_and_go() {
        for value in [0, 9, 10, 65_535, u32::MAX] {
            let mut memory = [0; 16];
            let mut text = Text::new(&mut memory);
            text.put_number(value);
            let length = text.end().expect("it fits");
            let digits = &memory[..length];
            assert_eq!(digits, value.to_string().as_bytes());
            assert_eq!(number(digits), u64::from(value));
        }
        assert_eq!(number(b"12x3"), 12);
    }
}
