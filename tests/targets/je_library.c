/* An allocator with a prefix that itself stands on malloc. */
#include <stdlib.h>

void *je_malloc(size_t size) { return malloc(size); }
void *je_calloc(size_t count, size_t size) { return calloc(count, size); }
void *je_realloc(void *block, size_t size) { return realloc(block, size); }
void je_free(void *block) { free(block); }
int je_posix_memalign(void **place, size_t alignment, size_t size) {
    return posix_memalign(place, alignment, size);
}
