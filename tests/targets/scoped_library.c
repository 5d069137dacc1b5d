// The library of `scopes.c`.
#include "target.h"

static int count;

FRAME void *scoped_makes(size_t size) {
    count++;
    void *block = malloc(size);
    KEEP_FRAME();
    return block;
}

FRAME void scoped_frees(void *block) {
    free(block);
    KEEP_FRAME();
}

int scoped_count(void) { return count; }

__attribute__((constructor)) static void begin(void) { free(scoped_makes(70)); }
