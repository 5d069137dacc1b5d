/* Threads that allocate and free at random among so many places each, and say in the end how many
 * calls they made and what is alive, by function:
 *
 *     limited THREADS STEPS PLACES [ROUNDS [fork]]
 *
 * ROUNDS times new threads are started; with `fork` a child does the same halfway, while the
 * threads go on, and says it in lines that begin with "child". */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 64

struct work {
    unsigned long random;
    long steps, places;
    long allocations, frees;
    long small, small_bytes, large, large_bytes;
};

__attribute__((noinline)) void *grab_small(size_t bytes) {
    char *block = malloc(bytes);
    block[0] = 1;
    return block;
}

__attribute__((noinline)) void *grab_large(size_t bytes) {
    char *block = malloc(bytes);
    block[0] = 2;
    return block;
}

/* The bookkeeping is no part of the heap. */
static void *table(size_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
}

static void *labour(void *argument) {
    struct work *work = argument;
    size_t places = (size_t)work->places;
    void **blocks = table(places * sizeof *blocks);
    size_t *sizes = table(places * sizeof *sizes);
    for (long step = 0; step < work->steps; step++) {
        work->random = work->random * 6364136223846793005UL + 1442695040888963407UL;
        long place = (long)((work->random >> 33) % (unsigned long)work->places);
        int is_large = (work->random >> 20) & 1;
        if (blocks[place]) {
            int was_large = *(char *)blocks[place] == 2;
            *(was_large ? &work->large : &work->small) -= 1;
            *(was_large ? &work->large_bytes : &work->small_bytes) -= (long)sizes[place];
            free(blocks[place]);
            blocks[place] = NULL;
            work->frees++;
            continue;
        }
        size_t bytes = is_large ? 400 + (work->random >> 40) % 400 : 16 + (work->random >> 40) % 200;
        blocks[place] = is_large ? grab_large(bytes) : grab_small(bytes);
        sizes[place] = bytes;
        *(is_large ? &work->large : &work->small) += 1;
        *(is_large ? &work->large_bytes : &work->small_bytes) += (long)bytes;
        work->allocations++;
    }
    return NULL;
}

/* Adds what `threads` new threads do to `all`. */
static void round_of(int threads, int fork_now, const char *argv[], struct work *all) {
    static struct work works[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    static unsigned long seed;
    for (int i = 0; i < threads; i++) {
        works[i] = (struct work){
            .random = ++seed * 7919, .steps = atol(argv[2]), .places = atol(argv[3])};
        pthread_create(&ids[i], NULL, labour, &works[i]);
    }
    if (fork_now) {
        pid_t child = fork();
        if (child == 0) {
            struct work own = {.random = 99, .steps = 2 * atol(argv[2]), .places = atol(argv[3])};
            labour(&own);
            printf("child %ld %ld %ld %ld %ld %ld\n", own.allocations, own.frees, own.small,
                   own.small_bytes, own.large, own.large_bytes);
            fflush(stdout);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        all->allocations += works[i].allocations;
        all->frees += works[i].frees;
        all->small += works[i].small;
        all->small_bytes += works[i].small_bytes;
        all->large += works[i].large;
        all->large_bytes += works[i].large_bytes;
    }
}

int main(int argc, const char *argv[]) {
    int threads = atoi(argv[1]);
    int rounds = argc > 4 ? atoi(argv[4]) : 1;
    struct work all = {0};
    for (int i = 0; i < rounds; i++)
        round_of(threads, argc > 5 && i == rounds / 2, argv, &all);
    printf("all %ld %ld %ld %ld %ld %ld\n", all.allocations, all.frees, all.small,
           all.small_bytes, all.large, all.large_bytes);
    return 3;
}
