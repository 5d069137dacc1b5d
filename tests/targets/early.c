// Allocates before any constructor runs, and before the C library knows the environment: 2 blocks
// of 4242 and 4343 bytes, of which the first is freed.
#include "target.h"

static void *volatile first, *volatile second;

FRAME void early_grabs(void) {
    first = malloc(4242);
    second = malloc(4343);
    KEEP_FRAME();
}

__attribute__((section(".preinit_array"), used)) static void (*const begin)(void) = early_grabs;

int main(void) {
    free(first);
    return second == NULL;
}
