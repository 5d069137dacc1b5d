// A program that defines the allocator it uses: blocks are cut from one piece and never reused.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 1 << 22, UNIT = 16 };
static _Alignas(UNIT) char memory[BYTES];
static size_t used;

void *malloc(size_t size) {
    size_t whole = (size + 2 * UNIT - 1) / UNIT * UNIT;
    size_t at = __atomic_fetch_add(&used, whole, __ATOMIC_RELAXED);
    if (size > BYTES || at + whole > BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(memory + at, &size, sizeof size);
    return memory + at + UNIT;
}

void free(void *block) {
    (void)block;
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size);
}

void *realloc(void *block, size_t size) {
    size_t before = 0;
    if (block) {
        memcpy(&before, (char *)block - UNIT, sizeof before);
    }
    void *fresh = malloc(size);
    if (fresh && block) {
        memcpy(fresh, block, before < size ? before : size);
    }
    return fresh;
}

int main(void) {
    for (int i = 0; i < 100; i++) {
        if (!malloc(48)) {
            return 1;
        }
    }
    return write(1, "own\n", 4) == 4 ? 12 : 1;
}
