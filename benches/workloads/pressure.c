// Pairs of malloc and free as fast as they go, and how long single calls took:
// `pressure THREADS SECONDS`.
//
// Each thread swaps blocks in a window of 64 under two dozen stacks. Prints pairs, then of the
// calls that took longer than 0.5 ms: how many, their sum and the longest, in microseconds.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW 64
#define PAIRS_PER_LOOK 64
#define LONG_NS 500000
#define NOINLINE __attribute__((noinline, noclone))

struct result {
    uint64_t pairs, waits, waited_ns, longest_ns;
};
static uint64_t end_ns;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void note(struct result *result, uint64_t took) {
    if (took > LONG_NS) {
        result->waits++;
        result->waited_ns += took;
    }
    if (took > result->longest_ns) result->longest_ns = took;
}

static NOINLINE void swap(void **place, size_t size, struct result *result) {
    uint64_t before = now();
    free(*place);
    *place = malloc(size);
    note(result, now() - before);
    result->pairs++;
}

static NOINLINE uint64_t deeper(unsigned left, uint64_t route, void **place,
                                struct result *result) {
    if (left == 0) {
        swap(place, 16 + route % 240, result);
        return 1;
    }
    if (route & 1) return deeper(left - 1, route >> 1, place, result) + 2;
    return deeper(left - 1, route >> 1, place, result) + 3;
}

static void *work(void *argument) {
    struct result *result = argument;
    void *window[WINDOW] = {0};
    uint64_t route = (uint64_t)(uintptr_t)argument, sum = 0;
    while (now() < end_ns)
        for (int i = 0; i < PAIRS_PER_LOOK; i++) {
            route = route * 6364136223846793005u + 1442695040888963407u;
            sum += deeper(2 + route % 4, route >> 33, &window[route >> 58], result);
        }
    for (int i = 0; i < WINDOW; i++) free(window[i]);
    return (void *)(uintptr_t)sum;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    int seconds = count > 2 ? atoi(arguments[2]) : 10;
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    struct result *results = calloc((size_t)threads, sizeof *results), all = {0};
    end_ns = now() + (uint64_t)seconds * 1000000000;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, &results[i])) return 1;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        all.pairs += results[i].pairs;
        all.waits += results[i].waits;
        all.waited_ns += results[i].waited_ns;
        if (results[i].longest_ns > all.longest_ns) all.longest_ns = results[i].longest_ns;
    }
    printf("%llu %llu %llu %llu\n", (unsigned long long)all.pairs, (unsigned long long)all.waits,
           (unsigned long long)all.waited_ns / 1000, (unsigned long long)all.longest_ns / 1000);
    return 0;
}
