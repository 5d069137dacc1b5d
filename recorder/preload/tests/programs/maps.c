// Address space: every call of the mmap family that succeeds, and some that fail.
#include "say.h"
#include <sys/mman.h>

static void map(int operation, void *old, size_t old_size, void *block, size_t size) {
    say("map %d %lu %lu %lu %lu", operation, (unsigned long)old, old_size, (unsigned long)block,
        size);
}

int main(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS, access = PROT_READ | PROT_WRITE;
    char *a = mmap(NULL, 10000, access, flags, -1, 0);
    map(96, 0, 0, a, 10000);
    CHECK(mmap(NULL, 0, access, flags, -1, 0) == MAP_FAILED && errno == EINVAL);
    char *b = mmap64(NULL, 4096, access, flags, -1, 0);
    map(96, 0, 0, b, 4096);
    char *c = mremap(a, 12288, 40960, MREMAP_MAYMOVE);
    map(160, a, 12288, c, 40960);
    CHECK(mremap(c, 40960, -1, 0) == MAP_FAILED);
    CHECK(mmap(c + 4096, 4096, access, flags | MAP_FIXED, -1, 0) == c + 4096);
    map(96, 0, 0, c + 4096, 4096);
    map(128, c, 8192, 0, 0);
    CHECK(munmap(c, 8192) == 0);
    errno = 0;
    CHECK(munmap(c + 1, 8192) == -1 && errno == EINVAL);
    // The old mapping stays.
    char *d = mremap(b, 4096, 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK(d != MAP_FAILED);
    map(160, 0, 0, d, 4096);
    map(128, d, 4096, 0, 0);
    CHECK(munmap(d, 4096) == 0);
    map(128, b, 4096, 0, 0);
    CHECK(munmap(b, 4096) == 0);
    char *before = sbrk(0);
    CHECK(sbrk(8192) == before);
    map(97, 0, 0, before, 8192);
    map(129, before + 4096, 4096, 0, 0);
    CHECK(sbrk(-4096) == before + 8192);
    map(129, before, 4096, 0, 0);
    CHECK(brk(before) == 0);
    CHECK(brk(before + 100) == 0);
    map(97, 0, 0, before, 100);
    return 0;
}
