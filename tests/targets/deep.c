// Recursion deeper than most recorders look: LEVELS frames of `down` in each thread, a block of 24
// bytes that is freed at once on every level that EVERY divides, and one of 1000 bytes at the
// bottom: made there, in a signal handler, or in a forked child.
//
//     deep LEVELS EVERY [THREADS [handler|fork]]
#include "target.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define THREADS 16
#define STACK_BYTES ((size_t)512 << 20)

static long levels, every;
static int is_in_handler, is_in_child;

static void handle(int signal) {
    (void)signal;
    sink = malloc(1000);
    KEEP_FRAME();
}

FRAME static void bottom(void) {
    pid_t child = is_in_child ? fork() : 0;
    if (child)
        waitpid(child, NULL, 0);
    else if (is_in_handler)
        raise(SIGUSR1);
    else
        sink = malloc(1000);
    if (is_in_child && !child)
        exit(0);
    KEEP_FRAME();
}

FRAME static void down(long level) {
    if (level % every == 0) {
        // Its own variable: other threads write to `sink` too.
        void *block = malloc(24);
        sink = block;
        free(block);
    }
    if (level > 1)
        down(level - 1);
    else
        bottom();
    KEEP_FRAME();
}

static void *run(void *unused) {
    down(levels);
    return unused;
}

int main(int count, char **arguments) {
    levels = atol(arguments[1]);
    every = atol(arguments[2]);
    long threads = count > 3 ? atol(arguments[3]) : 1;
    is_in_handler = count > 4 && !strcmp(arguments[4], "handler");
    is_in_child = count > 4 && !strcmp(arguments[4], "fork");
    signal(SIGUSR1, handle);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_t made[THREADS];
    for (long number = 0; number < threads && number < THREADS; number++)
        if (pthread_create(&made[number], &attributes, run, NULL))
            return 2;
    for (long number = 0; number < threads && number < THREADS; number++)
        pthread_join(made[number], NULL);
    puts("done");
    return 0;
}
