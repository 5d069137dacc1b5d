// A program that knows its own heap: threads allocate by every entry point from call stacks up
// to 24 deep, hand blocks to each other, and stop at marks. It then writes what was alive at each
// mark, exactly, by allocating function and path of calls.
//
//     truth SEED THREADS OPERATIONS MARKS
//
// Output: `path P FUNCTION…` (outermost first), then for each mark K (from 1)
// `site K NAME P BYTES BLOCKS`. The bookkeeping is in mapped memory and static tables.
#include "heaptape.h"
#include "target.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>

enum { PATHS = 24, DEPTH = 12, SLOTS = 512, SHARED = 256, MARKS = 16, THREADS = 16 };

enum site {
    SITE_MALLOC, SITE_MALLOC_2, SITE_CALLOC, SITE_REALLOC_NEW, SITE_ALIGNED_ALLOC,
    SITE_POSIX_MEMALIGN, SITE_MEMALIGN, SITE_REALLOCARRAY_NEW, SITE_VALLOC, SITE_PVALLOC,
    SITE_REALLOC, SITE_REALLOCARRAY, SITES
};
static const char *const SITE_NAMES[SITES] = {
    "site_malloc", "site_malloc_2", "site_calloc", "site_realloc_new", "site_aligned_alloc",
    "site_posix_memalign", "site_memalign", "site_reallocarray_new", "site_valloc",
    "site_pvalloc", "site_realloc", "site_reallocarray",
};
enum { MAKING_SITES = SITE_REALLOC };

struct block {
    void *address;
    size_t size;
    int site, path;
};
struct amount {
    int64_t bytes, blocks;
};

static struct amount live[SITES][PATHS];
static struct amount at_mark[MARKS][SITES][PATHS];
static int path_depth[PATHS];
static uint32_t path_bits[PATHS];
static struct block shared_blocks[SHARED];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static uint64_t seed;
static int threads, operations, marks;
// So that the compiler cannot know that these fail.
static volatile size_t too_much = PTRDIFF_MAX - 4096, times_overflow = SIZE_MAX / 2;

// What a call at the end of a path does.
struct request {
    int site, path;
    size_t size, alignment;
    void *old;
};

static void account(int site, int path, size_t size, int sign) {
    __atomic_fetch_add(&live[site][path].bytes, sign * (int64_t)size, __ATOMIC_RELAXED);
    __atomic_fetch_add(&live[site][path].blocks, sign, __ATOMIC_RELAXED);
}

#define SITE(NAME, CALL)                                                                           \
    FRAME void *NAME(struct request *r) {                                                          \
        void *p = CALL;                                                                            \
        KEEP_FRAME();                                                                              \
        return p;                                                                                  \
    }

SITE(site_malloc, malloc(r->size))
SITE(site_malloc_2, malloc(r->size))
SITE(site_calloc, calloc(r->size / 8, 8))
SITE(site_realloc_new, realloc(NULL, r->size))
SITE(site_aligned_alloc, aligned_alloc(r->alignment, r->size))
SITE(site_posix_memalign, ({
         void *out;
         posix_memalign(&out, r->alignment, r->size) == 0 ? out : NULL;
     }))
SITE(site_memalign, memalign(r->alignment, r->size))
SITE(site_reallocarray_new, reallocarray(NULL, r->size / 8, 8))
SITE(site_valloc, valloc(r->size))
SITE(site_pvalloc, pvalloc(r->size))
SITE(site_realloc, realloc(r->old, r->size))
SITE(site_reallocarray, reallocarray(r->old, r->size / 8, 8))

static void *(*const SITE_FUNCTIONS[SITES])(struct request *) = {
    site_malloc, site_malloc_2, site_calloc, site_realloc_new, site_aligned_alloc,
    site_posix_memalign, site_memalign, site_reallocarray_new, site_valloc, site_pvalloc,
    site_realloc, site_reallocarray,
};

// Two distinct functions for each level of a path; the path's bits choose between them.
typedef void *level_function(struct request *, int);
static level_function *const LEVELS[DEPTH][2];
FRAME void *descend(struct request *r, int level) {
    void *p;
    if (level == path_depth[r->path]) {
        p = SITE_FUNCTIONS[r->site](r);
    } else {
        p = LEVELS[level][path_bits[r->path] >> level & 1](r, level + 1);
    }
    KEEP_FRAME();
    return p;
}
#define LEVEL(N)                                                                                   \
    FRAME void *level_##N##_a(struct request *r, int level) {                                      \
        void *p = descend(r, level);                                                               \
        KEEP_FRAME();                                                                              \
        return p;                                                                                  \
    }                                                                                              \
    FRAME void *level_##N##_b(struct request *r, int level) {                                      \
        char room[48 + 16 * (N % 5)];                                                              \
        __asm__ volatile("" : : "r"(room) : "memory");                                             \
        void *p = descend(r, level);                                                               \
        KEEP_FRAME();                                                                              \
        return p;                                                                                  \
    }
// clang-format off
#define ALL_LEVELS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
// clang-format on
ALL_LEVELS(LEVEL)
#define ROW(N) {level_##N##_a, level_##N##_b},
static level_function *const LEVELS[DEPTH][2] = {ALL_LEVELS(ROW)};

static struct request any_request(uint64_t *random, int site) {
    struct request r = {.site = site, .path = (int)(next_random(random) % PATHS)};
    switch (next_random(random) % 64) {
    case 0: r.size = 0; break;
    case 1: r.size = 200000 + next_random(random) % 400000; break;
    case 2: case 3: r.size = next_random(random) % 20000; break;
    default: r.size = next_random(random) % 300; break;
    }
    r.alignment = (size_t)16 << next_random(random) % 8;
    if (site == SITE_CALLOC || site == SITE_REALLOCARRAY || site == SITE_REALLOCARRAY_NEW) {
        r.size = (r.size + 8) / 8 * 8;
    }
    if (site == SITE_ALIGNED_ALLOC) {
        r.size = (r.size + r.alignment) / r.alignment * r.alignment;
    }
    if (site == SITE_POSIX_MEMALIGN || site == SITE_PVALLOC) {
        r.size += 1;
    }
    return r;
}

static void make(struct block *b, uint64_t *random) {
    struct request r = any_request(random, (int)(next_random(random) % MAKING_SITES));
    b->address = descend(&r, 0);
    if (!b->address) {
        say("an allocation failed\n");
        _exit(9);
    }
    memset(b->address, 1, r.size < 64 ? r.size : 64);
    b->size = r.size, b->site = r.site, b->path = r.path;
    account(b->site, b->path, b->size, 1);
}

static void give_back(struct block *b) {
    if (b->address) {
        account(b->site, b->path, b->size, -1);
        free(b->address);
        b->address = NULL;
    }
}

static void grow(struct block *b, uint64_t *random) {
    int site = next_random(random) % 2 ? SITE_REALLOC : SITE_REALLOCARRAY;
    struct request r = any_request(random, site);
    r.size += 8, r.old = b->address;
    account(b->site, b->path, b->size, -1);
    b->address = descend(&r, 0);
    b->size = r.size, b->site = r.site, b->path = r.path;
    account(b->site, b->path, b->size, 1);
}

// Calls that fail or do nothing: none of them changes what lives.
static void fail(struct block *b) {
    free(NULL);
    if (malloc(too_much) || calloc(times_overflow, 4) || reallocarray(NULL, times_overflow, 4)) {
        _exit(9);
    }
    if (b->address && realloc(b->address, too_much)) {
        _exit(9);
    }
    void *p;
    if (posix_memalign(&p, 24, 100) != EINVAL) {
        _exit(9);
    }
}

// The block changes owners: what this thread had goes to whoever comes next.
static void exchange(struct block *b, uint64_t *random) {
    struct block *place = &shared_blocks[next_random(random) % SHARED];
    pthread_mutex_lock(&shared_lock);
    struct block theirs = *place;
    *place = *b;
    pthread_mutex_unlock(&shared_lock);
    *b = theirs;
}

static void work(struct block *blocks, uint64_t *random) {
    for (int i = 0; i < operations; i++) {
        struct block *b = &blocks[next_random(random) % SLOTS];
        switch (next_random(random) % 16) {
        case 0: case 1: exchange(b, random); break;
        case 2: case 3: if (b->address) grow(b, random); break;
        case 4: if (i % 64 == 0) fail(b); break;
        case 5:
            if (b->address) {
                account(b->site, b->path, b->size, -1);
                if (realloc(b->address, 0)) {
                    _exit(9);
                }
                b->address = NULL;
            }
            break;
        default: b->address ? give_back(b) : make(b, random); break;
        }
    }
}

static void *run(void *argument) {
    int number = (int)(intptr_t)argument;
    uint64_t random = seed * 1000003 + (uint64_t)number;
    struct block *blocks = mapped(SLOTS * sizeof *blocks);
    for (int mark = 0; mark < marks; mark++) {
        work(blocks, &random);
        pthread_barrier_wait(&barrier);
        if (number == 0) {
            memcpy(at_mark[mark], live, sizeof live);
            heaptape_mark("truth");
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10), threads = atoi(argv[2]);
    operations = atoi(argv[3]), marks = atoi(argv[4]);
    if (threads > THREADS || marks > MARKS) {
        return 2;
    }
    uint64_t random = seed;
    for (int path = 0; path < PATHS; path++) {
        path_depth[path] = path % 12 + 1;
        path_bits[path] = (uint32_t)next_random(&random);
        char names[512] = "";
        for (int level = 0; level < path_depth[path]; level++) {
            char name[20];
            snprintf(name, sizeof name, " level_%d_%c", level, path_bits[path] >> level & 1 ? 'b' : 'a');
            strcat(names, name);
        }
        say("path %d%s\n", path, names);
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    pthread_t ids[THREADS];
    for (int i = 1; i < threads; i++) {
        pthread_create(&ids[i], NULL, run, (void *)(intptr_t)i);
    }
    run(NULL);
    for (int i = 1; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    for (int mark = 0; mark < marks; mark++) {
        for (int site = 0; site < SITES; site++) {
            for (int path = 0; path < PATHS; path++) {
                struct amount a = at_mark[mark][site][path];
                if (a.blocks) {
                    say("site %d %s %d %lld %lld\n", mark + 1, SITE_NAMES[site], path,
                        (long long)a.bytes, (long long)a.blocks);
                }
            }
        }
    }
    return 0;
}
