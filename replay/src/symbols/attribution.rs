//! Finding an allocation's place among the frames of its stack, by the rule of
//! [`super::wrappers`].
//!
//! What comes in: the frames of a stack, the most recent first. What goes out: one of them. What
//! was found out about a frame is remembered: a tape has few frames and many stacks.

use super::bundled::is_bundled;
use super::entry;
use super::frames::{FrameId, FrameTable, Language, ResolvedFrame};
use super::pattern::{NameOrPattern, Pattern};
use super::standard_library::{is_cpp_named_like_rust, is_standard_library};
use super::wrappers::{C_LIBRARY, LOADERS, RUNTIME_LIBRARIES, THREAD_START, WRAPPERS};
use rustc_hash::{FxHashMap, FxHashSet};

/// How allocations are given a place.
#[derive(Debug, Default)]
pub struct Attribution {
    raw_sites: bool,
    extra: Vec<NameOrPattern>,
    /// The table's patterns that are plain names: most of them.
    names: FxHashSet<&'static str>,
    table: Vec<Pattern>,
    runtimes: Vec<Pattern>,
    known: FxHashMap<FrameId, bool>,
}

impl Attribution {
    /// The rule with the wrappers of `extra` patterns added, or none at all (`raw_sites`).
    #[must_use]
    pub fn new(extra: &[String], raw_sites: bool) -> Self {
        let table = WRAPPERS.iter().flat_map(|(_, patterns)| *patterns).copied();
        let (table, names) = table.partition::<Vec<&str>, _>(|text| text.contains(['*', '?', '[']));
        Self {
            raw_sites,
            extra: extra.iter().map(|text| NameOrPattern::new(text)).collect(),
            names: names.into_iter().collect(),
            table: table.into_iter().map(Pattern::new).collect(),
            runtimes: RUNTIME_LIBRARIES
                .iter()
                .map(|it| Pattern::new(it))
                .collect(),
            known: FxHashMap::default(),
        }
    }

    /// The place of an allocation among the frames of its stack, the most recent first, of
    /// `language` only when one is given. None when there is no frame.
    pub fn place(
        &mut self,
        frames: impl Iterator<Item = FrameId> + Clone,
        table: &FrameTable,
        language: Option<Language>,
    ) -> Option<FrameId> {
        let speaks = |id: &FrameId| language.is_none_or(|lang| table.get(*id).language == lang);
        let all = frames.filter(speaks);
        let mut candidates = all.clone();
        if self.raw_sites {
            return candidates.next();
        }
        let mut outermost = None;
        let mut nameless = None;
        while let Some(id) = candidates.next() {
            outermost = Some(id);
            let is_wrapper = self.is_wrapper(id, table)
                || self.is_inside_a_wrapper(id, candidates.clone(), table)
                || is_bundled(id, candidates.clone(), table, |it| {
                    self.is_wrapper(it, table)
                });
            if is_wrapper {
                continue;
            }
            let frame = table.get(id);
            if self.is_nameless_in_runtime(frame) {
                nameless = nameless.or(outermost);
                continue;
            }
            if !is_of_system(frame) {
                return outermost;
            }
            let inner = all.take_while(|other| *other != id);
            return self.entry(inner, table).or(nameless).or(outermost);
        }
        nameless
            .and_then(|_| self.entry(all, table))
            .or(nameless)
            .or(outermost)
    }

    /// Where the program's code was entered, when nothing but the C library is left.
    fn entry(&self, frames: impl Iterator<Item = FrameId>, table: &FrameTable) -> Option<FrameId> {
        entry::entry(frames, table, |frame| {
            is_of_system(frame) || self.is_of_runtime(frame)
        })
    }

    /// Rules 1 and 2.
    fn is_wrapper(&mut self, id: FrameId, table: &FrameTable) -> bool {
        if let Some(&known) = self.known.get(&id) {
            return known;
        }
        let frame = table.get(id);
        let known = match (frame.language, frame.function.as_deref()) {
            (Language::Python, function) => {
                function.is_some_and(|name| self.extra.iter().any(|p| p.matches(name)))
            }
            (Language::Native, None) => false,
            (Language::Native, Some(name)) => {
                self.is_listed(name)
                    || frame
                        .in_standard_library
                        .unwrap_or_else(|| is_standard_library(name, frame.file.as_deref()))
            }
        };
        self.known.insert(id, known);
        known
    }

    fn is_listed(&self, name: &str) -> bool {
        let plain = without_aliases(name);
        let bare = without_parameters(name);
        self.extra
            .iter()
            .any(|extra| extra.matches(name) || extra.matches(bare))
            || [name, plain].iter().any(|name| self.names.contains(name))
            || !is_cpp_named_like_rust(name)
                && self
                    .table
                    .iter()
                    .any(|pattern| pattern.matches(name) || pattern.matches(plain))
    }

    /// Rule 4, but for who calls it.
    fn is_nameless_in_runtime(&self, frame: &ResolvedFrame) -> bool {
        frame.function.is_none() && frame.language == Language::Native && self.is_of_runtime(frame)
    }

    fn is_of_runtime(&self, frame: &ResolvedFrame) -> bool {
        self.runtimes.iter().any(|it| it.matches(&frame.module))
    }

    /// Rule 3. The C library's functions are followed through all their callers in it; elsewhere
    /// the first caller that has a name decides.
    fn is_inside_a_wrapper(
        &mut self,
        id: FrameId,
        callers: impl Iterator<Item = FrameId>,
        table: &FrameTable,
    ) -> bool {
        let frame = table.get(id);
        let in_c_library = frame.module.starts_with(C_LIBRARY);
        let may_be_inside = in_c_library || frame.function.is_none();
        if !may_be_inside || frame.language != Language::Native {
            return false;
        }
        for caller in callers {
            let next: &ResolvedFrame = table.get(caller);
            if next.module != frame.module {
                return false;
            }
            if self.is_wrapper(caller, table) {
                return true;
            }
            if next.function.is_some() && !in_c_library {
                return false;
            }
        }
        false
    }
}

/// True for frames of the C library and the dynamic loader, and for what they start a thread of
/// C++ with, also where it is linked into the program.
fn is_of_system(frame: &ResolvedFrame) -> bool {
    let mut starts = LOADERS.iter().chain([&C_LIBRARY]);
    frame.language == Language::Native
        && (starts.any(|start| frame.module.starts_with(start))
            || frame.function.as_deref() == Some(THREAD_START))
}

/// `pool::take(unsigned long) const` → `pool::take`.
fn without_parameters(name: &str) -> &str {
    let Some(end) = name.rfind(')') else {
        return name;
    };
    let mut open = 0;
    for (at, letter) in name.get(..=end).unwrap_or(name).char_indices().rev() {
        match letter {
            ')' => open += 1,
            '(' => open -= 1,
            _ => {}
        }
        if open == 0 {
            // `operator()` alone has no parameters to take off.
            let bare = name.get(..at);
            return bare
                .filter(|bare| !bare.ends_with("operator"))
                .unwrap_or(name);
        }
    }
    name
}

/// `__GI___libc_malloc` → `malloc`. Names with a namespace stay as they are.
fn without_aliases(name: &str) -> &str {
    if name.contains(['(', ':', '<']) {
        return name;
    }
    let mut plain = name;
    loop {
        let before = plain;
        plain = plain.trim_start_matches('_');
        for prefix in ["GI_", "libc_", "IO_"] {
            plain = plain.strip_prefix(prefix).unwrap_or(plain);
        }
        if plain == before {
            return plain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: Option<&str>, file: Option<&str>) -> ResolvedFrame {
        ResolvedFrame {
            function: function.map(Into::into),
            file: file.map(Into::into),
            line: 1,
            module: module.into(),
            offset: if function.is_none() { 0x77 } else { 0 },
            language: Language::Native,
            inlined: false,
            in_standard_library: None,
        }
    }

    fn place_of(attribution: &mut Attribution, frames: &[ResolvedFrame]) -> String {
        let mut table = FrameTable::default();
        let ids: Vec<FrameId> = frames.iter().map(|f| table.intern(f.clone())).collect();
        let place = attribution.place(ids.into_iter(), &table, None);
        place.map_or_else(String::new, |id| {
            let frame = table.get(id);
            frame
                .function
                .as_deref()
                .map_or(frame.address(), ToOwned::to_owned)
        })
    }

    /// Of frames of which the module is known and perhaps the function.
    fn place_by_names(frames: &[(&str, Option<&str>)]) -> String {
        let frames = frames
            .iter()
            .map(|&(module, function)| frame(module, function, None));
        let frames: Vec<ResolvedFrame> = frames.collect();
        place_of(&mut Attribution::new(&[], false), &frames)
    }

    #[test]
    fn listed_functions_are_wrappers_and_others_are_not() {
        let attribution = Attribution::new(&["my_alloc*".to_owned()], false);
        for name in [
            "operator new(unsigned long)",
            "operator new[](unsigned long, std::nothrow_t const&)",
            "__rust_alloc_zeroed",
            "__rustc::__rust_alloc",
            "alloc::raw_vec::finish_grow",
            "alloc::raw_vec::RawVec<T,A>::grow_one",
            "<alloc::alloc::Global as core::alloc::Allocator>::allocate",
            "<counting::Counter as core::alloc::global::GlobalAlloc>::alloc",
            "malloc",
            "__libc_malloc",
            "__GI___strdup",
            "_IO_getdelim",
            "_rjem_malloc",
            "je_mallocx",
            "_rjem_je_arena_palloc",
            "mi_heap_zalloc_aligned_at",
            "mi_new_n",
            "_mi_malloc_generic",
            "tc_malloc_skip_new_handler",
            "tc_newarray_nothrow",
            "tcmalloc::allocate_full_cpp_throw_oom(unsigned long)",
            "std::allocator<int>::allocate(unsigned long)",
            "std::allocator_traits<std::allocator<int> >::allocate(std::allocator<int>&)",
            "__gnu_cxx::new_allocator<int>::allocate(unsigned long, void const*)",
            "PyMem_RawMalloc",
            "_PyObject_GC_New",
            "tracemalloc_alloc",
            "my_allocate",
            "heaptape_report_alloc",
            "heaptape_report_realloc",
            "heaptape_report_free",
            "heaptape_inline_alloc",
            "heaptape_inline_realloc",
        ] {
            assert!(attribution.is_listed(name), "{name}");
        }
        for name in [
            "main",
            "xmalloc",
            "Foo::operator new(unsigned long)",
            "fopen",
            "malloc_stats",
            "je_malloc_stats_of_mine",
            "je_malloc_usable_size",
            "rjem_reallocate",
            "mi_malloc_cfg",
            "mi_newton",
            "tc_malloc_lines",
            "tc_newline",
            "std::sort<int*>(int*, int*)",
            "PyObject_Call",
            "operator newt",
            "strdupa",
            "heaptape_mark",
        ] {
            assert!(!attribution.is_listed(name), "{name}");
        }
    }

    #[test]
    fn the_place_is_the_programs_frame() {
        let header = Some("/usr/include/c++/12/bits/new_allocator.h");
        let frames = [
            frame("libstdc++.so.6", Some("operator new(unsigned long)"), None),
            frame(
                "app",
                Some("std::__new_allocator<int>::allocate(unsigned long)"),
                header,
            ),
            frame(
                "app",
                Some("std::vector<int>::push_back(int const&)"),
                header,
            ),
            frame("app", Some("grow(int)"), Some("/app/grow.cc")),
            frame("app", Some("main"), Some("/app/main.cc")),
        ];
        assert_eq!(
            place_of(&mut Attribution::new(&[], false), &frames),
            "grow(int)"
        );
        let mut raw = Attribution::new(&[], true);
        assert_eq!(place_of(&mut raw, &frames), "operator new(unsigned long)");
        let mut more = Attribution::new(&["grow(*".to_owned()], false);
        assert_eq!(place_of(&mut more, &frames), "main");
        let mut all = Attribution::new(&["*".to_owned()], false);
        assert_eq!(
            place_of(&mut all, &frames),
            "main",
            "all wrappers: the outermost"
        );
        assert_eq!(place_of(&mut all, &[]), "");
    }

    #[test]
    fn a_nameless_frame_inside_a_wrapper_is_one() {
        let stripped = [
            frame("libc.so.6", None, None),
            frame("libc.so.6", Some("asprintf"), None),
            frame("app", Some("main"), None),
        ];
        let mut attribution = Attribution::new(&[], false);
        assert_eq!(place_of(&mut attribution, &stripped), "main");
        let other = [
            frame("libz.so.1", None, None),
            frame("libc.so.6", Some("asprintf"), None),
        ];
        let mut attribution = Attribution::new(&[], false);
        assert_eq!(place_of(&mut attribution, &other), "libz.so.1+0x77");
        let not_a_wrapper = [
            frame("libc.so.6", None, None),
            frame("libc.so.6", Some("fopen"), None),
        ];
        let mut attribution = Attribution::new(&[], false);
        assert_eq!(place_of(&mut attribution, &not_a_wrapper), "libc.so.6+0x77");
    }

    #[test]
    fn nameless_frames_of_a_runtime_belong_to_the_program_that_called_it() {
        let place = place_by_names;
        let new = ("libstdc++.so.6", Some("operator new(unsigned long)"));
        let main = ("app", Some("main"));
        for runtime in [
            "libstdc++.so.6",
            "libstdc++.so.6.0.30",
            "libc++.so.1",
            "libc++abi.so.1.0",
            "libstd-d1237ef7159db0a2.so",
        ] {
            let nameless = (runtime, None);
            let allocate = ("app", Some("std::pmr::memory_resource::allocate()"));
            assert_eq!(place(&[new, nameless, allocate, main]), "main");
            assert_eq!(place(&[new, nameless, nameless, ("app", None)]), "app+0x77");
            // Nobody of the program's stands next to it.
            let alone = format!("{runtime}+0x77");
            let loader = ("ld-linux-x86-64.so.2", Some("call_init"));
            let dlopen = ("libc.so.6", Some("dlopen"));
            assert_eq!(place(&[new, nameless]), alone);
            assert_eq!(place(&[new, nameless, loader]), alone);
            assert_eq!(place(&[nameless, loader, dlopen, main]), alone);
            assert_eq!(place(&[nameless, ("libc.so.6", None)]), alone);
            // Names are judged as ever.
            let demangle = (runtime, Some("__cxa_demangle"));
            assert_eq!(place(&[nameless, demangle, main]), "__cxa_demangle");
        }
        for other in [
            "libstdc++extra.so",
            "libc++filt.so",
            "libstd.so",
            "libz.so.1",
        ] {
            let own = format!("{other}+0x77");
            assert_eq!(place(&[new, (other, None), main]), own);
        }
    }

    #[test]
    fn a_closure_that_was_inlined_is_where_its_thread_enters_the_program() {
        let place = place_by_names;
        let new = ("libstdc++.so.6", Some("operator new(unsigned long)"));
        let runtime = ("libstdc++.so.6", None);
        let start = ("libc.so.6", Some("start_thread"));
        let run = "std::thread::_State_impl<std::thread::_Invoker<std::tuple<work()::{lambda()#1}> \
                   > >::_M_run()";
        let grow = ("app", Some("std::vector<int>::resize(unsigned long)"));
        assert_eq!(place(&[new, grow, ("app", Some(run)), runtime, start]), run);
        assert_eq!(place(&[new, grow, ("app", Some(run)), runtime]), run);
        // What a function of the C library calls back is named after the closure, too.
        let set = ("app", Some("std::__future_base::_State::_M_do_set()"));
        let once = ("libc.so.6", Some("__pthread_once_slow"));
        assert_eq!(place(&[new, ("app", Some(run)), set, once, start]), run);
        // Without one it is the outermost; with a function of the program it is that.
        assert_eq!(
            place(&[new, grow, set, once]),
            "std::__future_base::_State::_M_do_set()"
        );
        let body = ("app", Some("body()"));
        assert_eq!(
            place(&[new, grow, body, ("app", Some(run)), start]),
            "body()"
        );
        // The library's own threads have nothing of the program.
        let worker = ("libstdc++.so.6", Some("std::pool::work()"));
        assert_eq!(place(&[new, worker, start]), "start_thread");

        let short = "std::sys::backtrace::__rust_begin_short_backtrace";
        let rust = [
            (
                "app",
                Some("<alloc::vec::Vec<T> as alloc::vec::spec_from_elem>::from_elem"),
            ),
            ("app", Some(short)),
            (
                "app",
                Some("std::thread::Builder::spawn_unchecked_::{closure#1}"),
            ),
            (
                "app",
                Some("std::sys::thread::unix::Thread::new::thread_start"),
            ),
            start,
        ];
        assert_eq!(place(&rust), short);
    }

    #[test]
    fn the_c_librarys_workers_are_part_of_its_wrappers() {
        let place = |frames: &[(&str, &str)]| {
            let named = frames.iter().map(|&(module, name)| (module, Some(name)));
            place_by_names(&named.collect::<Vec<_>>())
        };
        let (libc, app) = ("libc.so.6", "app");
        let realpath = [(libc, "realpath_stk"), (libc, "realpath"), (app, "main")];
        assert_eq!(place(&realpath), "main");
        let vasprintf = [
            (libc, "_IO_str_overflow"),
            (libc, "__vfprintf_internal"),
            (libc, "__vasprintf_internal"),
            (libc, "asprintf"),
            (app, "main"),
        ];
        assert_eq!(place(&vasprintf), "main");
        let fopen = [(libc, "__fopen_internal"), (libc, "fopen"), (app, "main")];
        assert_eq!(place(&fopen), "__fopen_internal");
        // A callback's caller is no reason.
        let callback = [(app, "grow"), (libc, "getline"), (app, "main")];
        assert_eq!(place(&callback), "grow");
        let between = [(libc, "qsort"), (app, "grow"), (libc, "getline")];
        assert_eq!(place(&between), "qsort");
    }
}
