// Threads that record faster than anybody reads, until each has waited for room or is done.
//
//     flood THREADS
//
// Writes `pid PID` first. When the parent is gone, each thread goes on until one of its calls has
// lasted for 50 naps of a thread that only naps, or until it has made four million blocks more.
// At the end it writes the longest call of all threads in naps, and then `end`.
#include "target.h"
#include <pthread.h>

enum { BLOCKS = 4000000, NAPS = 50 };
static pid_t parent;
static volatile int is_alone;
static volatile int is_over;
static volatile uint64_t naps;
static volatile uint64_t longest;

FRAME void flood_grabs(size_t size) {
    free(malloc(size));
    KEEP_FRAME();
}

static void *nap(void *argument) {
    while (!is_over) {
        usleep(1000);
        naps++;
        is_alone = getppid() != parent;
    }
    return argument;
}

static void *flood(void *argument) {
    uint64_t worst = 0;
    for (int blocks = 0; blocks < BLOCKS && worst < NAPS;) {
        uint64_t before = naps;
        flood_grabs(16 + (size_t)blocks % 512);
        if (is_alone) {
            blocks++;
            uint64_t lasted = naps - before;
            worst = lasted > worst ? lasted : worst;
        }
    }
    uint64_t seen = longest;
    while (worst > seen && !__atomic_compare_exchange_n(&longest, &seen, worst, 0,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return argument;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    parent = getppid();
    pthread_t napper, *ids = mapped((size_t)threads * sizeof *ids + 1);
    say("pid %d\n", getpid());
    if (pthread_create(&napper, NULL, nap, NULL)) {
        return 90;
    }
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&ids[i], NULL, flood, NULL)) {
            return 90;
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    is_over = 1;
    pthread_join(napper, NULL);
    say("longest %llu\nend\n", (unsigned long long)longest);
    return 0;
}
