// Asks each entry point for what is usual, empty, too much and wrong, and says what it answers:
// null or not, how far aligned, whether the bytes are zero, and errno.
#include "known.h"
#include <malloc.h>
#include <stddef.h>

enum { UNTOUCHED = 4711 };
static const size_t huge[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4095, SIZE_MAX};
static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 4096, 200000};
enum { HUGE = sizeof huge / sizeof *huge, SIZES = sizeof sizes / sizeof *sizes };
static uint64_t made;

// What malloc's blocks are aligned to, or more when it was asked for.
static void check_aligned(const char *call, void *block, size_t alignment, size_t size) {
    MUST(block && errno == UNTOUCHED);
    MUST((uintptr_t)block % alignment == 0);
    MUST(malloc_usable_size(block) >= size);
    memset(block, 0xa5, size);
    made++;
    free(block);
    MUST(errno == UNTOUCHED);
    say("%s %zu %zu good\n", call, alignment, size);
    errno = UNTOUCHED;
}

static void check_refused(const char *call, void *block) {
    int error = errno;
    MUST(block == NULL);
    say("%s refused, errno %d\n", call, error);
    errno = UNTOUCHED;
}

static void usual(void) {
    for (int i = 0; i < SIZES; i++) {
        size_t size = sizes[i];
        check_aligned("malloc", malloc(size), 16, size);
        unsigned char *zeroed = calloc(size, 1);
        for (size_t k = 0; zeroed && k < size; k++) {
            MUST(zeroed[k] == 0);
        }
        check_aligned("calloc", zeroed, 16, size);
        check_aligned("calloc of none", calloc(0, size), 16, 0);
        check_aligned("realloc of nothing", realloc(NULL, size), 16, size);
        check_aligned("reallocarray of nothing", reallocarray(NULL, size, 2), 16, 2 * size);
        check_aligned("valloc", valloc(size), 4096, size);
        check_aligned("pvalloc", pvalloc(size), 4096, size);
        for (size_t alignment = 8; alignment <= 1 << 20; alignment *= 4) {
            void *block = NULL;
            MUST(posix_memalign(&block, alignment, size) == 0);
            check_aligned("posix_memalign", block, alignment, size);
            check_aligned("aligned_alloc", aligned_alloc(alignment, size), alignment, size);
            check_aligned("memalign", memalign(alignment, size), alignment, size);
        }
    }
}

static void too_much(void) {
    // volatile: a block that was refused another size is as good as before.
    char *volatile kept = malloc(100);
    memset(kept, 0x3c, 100);
    made++;
    for (int i = 0; i < HUGE; i++) {
        size_t size = huge[i];
        check_refused("malloc", malloc(size));
        check_refused("calloc", calloc(size, 1));
        check_refused("calloc", calloc(1, size));
        check_refused("calloc of many", calloc(size, 3));
        check_refused("realloc", realloc(kept, size));
        check_refused("realloc of nothing", realloc(NULL, size));
        check_refused("reallocarray", reallocarray(kept, size, 1));
        check_refused("reallocarray of many", reallocarray(kept, size / 2, 5));
        check_refused("aligned_alloc", aligned_alloc(64, size));
        check_refused("memalign", memalign(4096, size));
        check_refused("valloc", valloc(size));
        check_refused("pvalloc", pvalloc(size));
        void *block = (void *)1;
        int result = posix_memalign(&block, 64, size);
        say("posix_memalign %d, errno %d\n", result, errno);
        MUST(result == ENOMEM && block == (void *)1);
    }
    for (size_t count = (size_t)1 << 32; count; count <<= 4) {
        check_refused("an overflow of calloc", calloc(count, (size_t)1 << 32));
        check_refused("an overflow of reallocarray", reallocarray(kept, count, (size_t)1 << 32));
    }
    // What failed to grow is as it was.
    for (int i = 0; i < 100; i++) {
        MUST(kept[i] == 0x3c);
    }
    free(kept);
}

static void wrong(void) {
    static const size_t bad[] = {0, 1, 2, 3, 4, 7, 12, 24, 100, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *block = (void *)1;
        int result = posix_memalign(&block, bad[i], 64);
        say("posix_memalign %zu: %d, errno %d\n", bad[i], result, errno);
        MUST(result == EINVAL && block == (void *)1);
        // The C library rounds up, or refuses: what it does it does recorded as well.
        block = memalign(bad[i], 64);
        say("memalign %zu: %d, errno %d\n", bad[i], block != NULL, errno);
        made += block != NULL;
        free(block);
        errno = UNTOUCHED;
        block = aligned_alloc(bad[i], 64);
        say("aligned_alloc %zu: %d, errno %d\n", bad[i], block != NULL, errno);
        made += block != NULL;
        free(block);
        errno = UNTOUCHED;
    }
}

static void changes(void) {
    // Contents are kept from size to size, up and down; an empty size frees.
    unsigned char *block = malloc(1);
    made++;
    block[0] = 99;
    for (size_t size = 1; size < 3000000; size = size * 3 + 1) {
        block = realloc(block, size);
        MUST(block && block[0] == 99 && (uintptr_t)block % 16 == 0 && errno == UNTOUCHED);
        made++;
    }
    for (size_t size = 3000000; size > 0; size /= 5) {
        block = reallocarray(block, size, 1);
        MUST(block && block[0] == 99 && errno == UNTOUCHED);
        made++;
    }
    void *gone = realloc(block, 0);
    say("realloc to nothing: %d, errno %d\n", gone != NULL, errno);
    void *other = malloc(8);
    made++;
    gone = reallocarray(other, 0, 8);
    say("reallocarray to nothing: %d, errno %d\n", gone != NULL, errno);
    free(NULL);
    MUST(errno == UNTOUCHED);
    // A block that is mapped goes by a system call.
    void *mapped_block = malloc(64 << 20);
    made++;
    free(mapped_block);
    MUST(errno == UNTOUCHED);
}

int main(void) {
    errno = UNTOUCHED;
    usual();
    too_much();
    wrong();
    changes();
    say("in all %llu\n", (unsigned long long)made);
    return 13;
}
