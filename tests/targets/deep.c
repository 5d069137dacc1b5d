// Recursion deeper than most recorders look: LEVELS frames of `down` in each thread, a block of 24
// bytes that is freed at once on every level that EVERY divides, and one of 1000 bytes and the
// thread's number at the bottom, where `handler` makes it in a signal handler.
//
//     deep LEVELS EVERY [THREADS [handler]]
#include "target.h"
#include <pthread.h>
#include <signal.h>

#define THREADS 16
#define STACK_BYTES ((size_t)512 << 20)

static long levels, every;
static int is_in_handler;

static void handle(int signal) {
    (void)signal;
    sink = malloc(1000);
    KEEP_FRAME();
}

FRAME static void bottom(long number) {
    if (is_in_handler)
        raise(SIGUSR1);
    else
        sink = malloc(1000 + (size_t)number);
    KEEP_FRAME();
}

FRAME static void down(long level, long number) {
    if (level % every == 0) {
        sink = malloc(24);
        void *block = sink; free(block);
    }
    if (level > 1)
        down(level - 1, number);
    else
        bottom(number);
    KEEP_FRAME();
}

static void *run(void *number) {
    down(levels, (long)number);
    return NULL;
}

int main(int count, char **arguments) {
    levels = atol(arguments[1]);
    every = atol(arguments[2]);
    long threads = count > 3 ? atol(arguments[3]) : 1;
    is_in_handler = count > 4;
    signal(SIGUSR1, handle);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_t made[THREADS];
    for (long number = 0; number < threads && number < THREADS; number++)
        if (pthread_create(&made[number], &attributes, run, (void *)number))
            return 2;
    for (long number = 0; number < threads && number < THREADS; number++)
        pthread_join(made[number], NULL);
    puts("done");
    return 0;
}
