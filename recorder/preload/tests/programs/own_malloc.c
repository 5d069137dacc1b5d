// A program with an allocator of its own inside.
#include "say.h"

static char memory[1 << 20];
static size_t used;

void *malloc(size_t size) {
    void *block = memory + used;
    used += (size + 15) & ~15ul;
    return block;
}
void free(void *block) {}
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *block, size_t size) { return malloc(size); }

int main(void) {
    say("%s", malloc(10) >= (void *)memory ? "own" : "other");
    return 0;
}
