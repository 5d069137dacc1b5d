//! What has to do with the interpreter itself and its heap, on every version, with the allocators
//! that it has by default.

macro_rules! versions {
    ($($name:ident $version:literal,)*) => {
        $(
            mod $name {
                use super::super::{Run, same_as_bare};

                super::super::modules! { |module| super::super::of_version($version, module);
                    test_asyncio default 1000,
                    test_capi default 50,
                    test_embed default 0,
                    test_gc default 30,
                    test_multiprocessing_fork default 200,
                    test_multiprocessing_forkserver default 200,
                    test_multiprocessing_main_handling default 20,
                    test_multiprocessing_spawn default 200,
                    test_threading default 100,
                    test_tracemalloc default 30,
                }
            }
        )*
    };
}

versions! {
    v3_9 "3.9",
    v3_10 "3.10",
    v3_11 "3.11",
    v3_12 "3.12",
    v3_13 "3.13",
    v3_14 "3.14",
    v3_15 "3.15",
}
