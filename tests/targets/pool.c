// A pool that reports its blocks in a domain of its own, beside malloc's.
//
// At the end: pool_user has 30 blocks of 24 bytes, moved one of 500; malloc_user has 7 of 64.
#include "heaptape.h"
#include "target.h"

static char memory[1 << 16];
static size_t used;
static uint16_t domain;

static void *take(size_t size) {
    void *p = memory + used;
    used += (size + 15) / 16 * 16;
    return p;
}

FRAME void pool_user(void) {
    for (int i = 0; i < 50; i++) {
        void *p = take(24);
        heaptape_report_alloc(domain, p, 24);
        if (i % 5 >= 3) {
            heaptape_report_free(domain, p);
        }
    }
    KEEP_FRAME();
}

FRAME void pool_mover(void) {
    void *old = take(100), *new = take(500);
    heaptape_report_realloc(domain, NULL, old, 100);
    heaptape_report_realloc(domain, old, new, 500);
    void *gone = take(60);
    heaptape_report_alloc(domain, gone, 60);
    heaptape_report_realloc(domain, gone, NULL, 0);
    KEEP_FRAME();
}

FRAME void malloc_user(void) {
    for (int i = 0; i < 7; i++) {
        sink = malloc(64);
    }
    KEEP_FRAME();
}

// Mapped memory is a domain apart, recorded when it is asked for.
FRAME void map_user(void) {
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + (1 << 19), 1 << 18);
    KEEP_FRAME();
}

int main(void) {
    domain = heaptape_domain("pool");
    if (heaptape_domain("pool") != domain) {
        return 1;
    }
    pool_user();
    pool_mover();
    malloc_user();
    map_user();
    heaptape_report_alloc(0, memory, 1);
    return 0;
}
