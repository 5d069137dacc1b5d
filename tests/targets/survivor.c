// Allocates and frees in a sequence that is known, until it is killed; reports what is done.
//
//     survivor FILE THREADS
//
// FILE (4096 bytes, shared): u64 pid, then for each thread one u64: how many blocks it has made.
// A thread's k-th block (from 0) has 16 + k * 7919 % 500 bytes, and lives until 100 later ones
// were made. The report comes after every 64 blocks, so it is never ahead of what was done.
#include "target.h"
#include <fcntl.h>
#include <pthread.h>

enum { ALIVE = 100, THREADS = 4 };

#define MAKER(N)                                                                                   \
    FRAME void *make_block_##N(uint64_t k) {                                                       \
        void *p = malloc(16 + k * 7919 % 500);                                                     \
        KEEP_FRAME();                                                                              \
        return p;                                                                                  \
    }
MAKER(0)
MAKER(1)
MAKER(2)
MAKER(3)
static void *(*const MAKERS[THREADS])(uint64_t) = {
    make_block_0, make_block_1, make_block_2, make_block_3,
};
static uint64_t *report;

static void *run(void *argument) {
    uint64_t number = (uint64_t)(intptr_t)argument;
    void **ring = mapped(ALIVE * sizeof *ring);
    for (uint64_t k = 0;; k++) {
        free(ring[k % ALIVE]);
        ring[k % ALIVE] = MAKERS[number](k);
        if (k % 64 == 63) {
            __atomic_store_n(&report[1 + number], k + 1, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
    report = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (report == MAP_FAILED) {
        return 2;
    }
    close(fd);
    pthread_t id;
    for (int i = 1; i < atoi(argv[2]); i++) {
        pthread_create(&id, NULL, run, (void *)(intptr_t)i);
    }
    __atomic_store_n(&report[0], (uint64_t)getpid(), __ATOMIC_RELEASE);
    run(NULL);
    return 0;
}
