// A program of three phases with marks between them, and a block whose address it tells.
//
// At mark "a": phase_a 100 blocks of 10 bytes. At mark "b": 50 of those, phase_b 40 of 1000.
// At mark "c": 50 of phase_a; told_first came and went, told_second (realloc) lives.
#include "heaptape.h"
#include "target.h"

static void *a[100], *b[40], *told;

FRAME void phase_a(void) {
    for (int i = 0; i < 100; i++) {
        a[i] = malloc(10);
    }
    KEEP_FRAME();
}

FRAME void phase_b(void) {
    for (int i = 0; i < 40; i++) {
        b[i] = calloc(10, 100);
    }
    KEEP_FRAME();
}

FRAME void told_first(void) {
    told = malloc(3000);
    KEEP_FRAME();
}

FRAME void told_second(void) {
    told = realloc(told, 2000);
    KEEP_FRAME();
}

FRAME void wastes(void) {
    for (int i = 0; i < 200; i++) {
        void *p = malloc(77);
        __asm__ volatile("" : : "r"(p) : "memory");
        free(p);
    }
    KEEP_FRAME();
}

static void mark(const char *name) {
    // Marks lie apart in time, whatever the clock's grain.
    usleep(2000);
    heaptape_mark(name);
    usleep(2000);
}

int main(void) {
    phase_a();
    mark("a");
    for (int i = 0; i < 50; i++) {
        free(a[i]);
    }
    phase_b();
    mark("b");
    for (int i = 0; i < 40; i++) {
        free(b[i]);
    }
    wastes();
    told_first();
    told_second();
    say("%p\n", told);
    mark("c");
    return 0;
}
