// Pairs of malloc and free in several threads, each for itself: `scaling THREADS PAIRS`.
//
// Each thread swaps PAIRS blocks in a window of 64 under two dozen stacks. Prints the processor
// time that a pair took on average, in nanoseconds: what threads slept is not in it.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW 64
#define NOINLINE __attribute__((noinline, noclone))

struct task {
    uint64_t pairs, took_ns, sum;
};

static uint64_t used(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static NOINLINE void swap(void **place, size_t size) {
    free(*place);
    *place = malloc(size);
}

static NOINLINE uint64_t deeper(unsigned left, uint64_t route, void **place) {
    if (left == 0) {
        swap(place, 16 + route % 240);
        return 1;
    }
    if (route & 1) return deeper(left - 1, route >> 1, place) + 2;
    return deeper(left - 1, route >> 1, place) + 3;
}

static void *work(void *argument) {
    struct task *task = argument;
    void *window[WINDOW] = {0};
    uint64_t route = (uint64_t)(uintptr_t)argument, start = used();
    for (uint64_t i = 0; i < task->pairs; i++) {
        route = route * 6364136223846793005u + 1442695040888963407u;
        task->sum += deeper(2 + route % 4, route >> 33, &window[route >> 58]);
    }
    task->took_ns = used() - start;
    for (int i = 0; i < WINDOW; i++) free(window[i]);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int threads = atoi(arguments[1]);
    uint64_t pairs = strtoull(arguments[2], NULL, 10), took = 0;
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    // A line of the cache and its neighbour for each: only the recorder may share anything.
    struct task **tasks = calloc((size_t)threads, sizeof *tasks);
    for (int i = 0; i < threads; i++) {
        tasks[i] = aligned_alloc(128, 128);
        *tasks[i] = (struct task){.pairs = pairs};
        if (pthread_create(&ids[i], NULL, work, tasks[i])) return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        took += tasks[i]->took_ns;
    }
    printf("%.3f\n", (double)took / (double)pairs / threads);
    return 0;
}
