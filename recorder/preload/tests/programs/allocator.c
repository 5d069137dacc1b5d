// A small allocator to preload behind the recorder: its own functions call each other through the
// dynamic linker, as such libraries do, and it maps its memory itself.
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <dlfcn.h>
#include <sys/mman.h>

static char *next, *end;
static char *mine_low = (char *)UINTPTR_MAX, *mine_high;
static int mine_calls;

void *malloc(size_t size) {
    size_t *block;
    mine_calls++;
    size = (size + 15) & ~15ul;
    if (next == NULL || size + 16 > (size_t)(end - next)) {
        size_t length = size + (1 << 20);
        next = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (next == MAP_FAILED) return next = NULL;
        end = next + length;
        if (next < mine_low) mine_low = next;
        if (end > mine_high) mine_high = end;
    }
    block = (size_t *)next;
    next += size + 16;
    block[0] = size;
    return block + 2;
}

void free(void *block) {
    // A block of another allocator here would be an error of the recorder.
    if (block && ((char *)block < mine_low || (char *)block >= mine_high)) __builtin_trap();
}

void *calloc(size_t count, size_t size) {
    void *block = malloc(count * size);
    if (block) memset(block, 0, count * size);
    return block;
}

void *realloc(void *old, size_t size) {
    void *block = malloc(size);
    if (old && block) {
        size_t had = ((size_t *)old)[-2];
        memcpy(block, old, had < size ? had : size);
        free(old);
    }
    return block;
}

void *memalign(size_t alignment, size_t size) {
    char *block = malloc(size + alignment);
    return block ? (void *)(((uintptr_t)block + alignment - 1) & ~(alignment - 1)) : NULL;
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **place, size_t alignment, size_t size) {
    void *block = memalign(alignment, size);
    if (!block) return 12;
    *place = block;
    return 0;
}
void *valloc(size_t size) { return memalign(4096, size); }
void *pvalloc(size_t size) { return memalign(4096, size); }
