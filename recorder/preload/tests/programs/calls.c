// Every entry point, with the cases that fail or are empty.
#include "say.h"
#include <malloc.h>

void *reallocarray(void *, size_t, size_t);
void cfree(void *) __attribute__((weak));
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));

int main(void) {
    void *a, *b, *volatile gone;
    size_t huge = SIZE_MAX / 2;

    event(0, 0, a = malloc(10), 10, 0);
    event(32, a, 0, 0, 0), free(a);
    event(0, 0, a = malloc(0), 0, 0);
    event(32, a, 0, 0, 0), free(a);
    free(NULL);
    errno = 77;
    CHECK(malloc(huge) == NULL && errno == ENOMEM);

    event(1, 0, a = calloc(3, 7), 21, 0);
    event(1, 0, b = calloc(0, 7), 0, 0);
    event(32, b, 0, 0, 0), free(b);
    CHECK(calloc(SIZE_MAX, 2) == NULL);

    event(2, 0, b = realloc(NULL, 100), 100, 0);
    gone = b;
    b = realloc(b, 5000);
    event(64, gone, b, 5000, 0);
    gone = b;
    b = realloc(b, 20);
    event(64, gone, b, 20, 0);
    CHECK(realloc(b, huge) == NULL);
    event(36, b, 0, 0, 0);
    CHECK(realloc(b, 0) == NULL);
    event(2, 0, b = realloc(NULL, 0), 0, 0);
    event(32, b, 0, 0, 0), free(b);

    event(3, 0, b = reallocarray(NULL, 4, 6), 24, 0);
    gone = b;
    b = reallocarray(b, 9, 9);
    event(65, gone, b, 81, 0);
    errno = 77;
    CHECK(reallocarray(b, SIZE_MAX, 3) == NULL && errno == ENOMEM);
    event(36, b, 0, 0, 0);
    CHECK(reallocarray(b, 0, 3) == NULL);

    b = (void *)1;
    CHECK(posix_memalign(&b, 3, 8) == EINVAL && b == (void *)1);
    CHECK(posix_memalign(&b, 64, huge) == ENOMEM && b == (void *)1);
    CHECK(posix_memalign(&b, 4096, 8) == 0 && (uintptr_t)b % 4096 == 0);
    event(4, 0, b, 8, 12);
    event(32, b, 0, 0, 0), free(b);
    event(5, 0, b = aligned_alloc(64, 128), 128, 6);
    CHECK((uintptr_t)b % 64 == 0);
    if (free_aligned_sized) {
        event(35, b, 0, 0, 0), free_aligned_sized(b, 64, 128);
    } else {
        event(32, b, 0, 0, 0), free(b);
    }
    event(6, 0, b = memalign(256, 5), 5, 8);
    CHECK((uintptr_t)b % 256 == 0);
    if (cfree) {
        event(33, b, 0, 0, 0), cfree(b);
    } else {
        event(32, b, 0, 0, 0), free(b);
    }
    CHECK(memalign(64, huge) == NULL);
    event(7, 0, b = valloc(9), 9, 0);
    CHECK((uintptr_t)b % 4096 == 0);
    event(32, b, 0, 0, 0), free(b);
    event(8, 0, b = pvalloc(9), 9, 0);
    CHECK((uintptr_t)b % 4096 == 0);
    event(32, b, 0, 0, 0), free(b);
    event(0, 0, b = malloc(33), 33, 0);
    if (free_sized) {
        event(34, b, 0, 0, 0), free_sized(b, 33);
    } else {
        event(32, b, 0, 0, 0), free(b);
    }

    event(0, 0, b = malloc(5UL << 30), 5UL << 30, 0);
    event(32, b, 0, 0, 0), free(b);
    // What free and a successful malloc do to errno is nothing.
    errno = 41;
    event(32, a, 0, 0, 0), free(a);
    CHECK(errno == 41);
    event(0, 0, a = malloc(1), 1, 0);
    CHECK(errno == 41 && malloc_usable_size(a) >= 1);
    return 7;
}
