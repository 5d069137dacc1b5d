// Threads that are cancelled or leave: while a request is pending the allocator must not act on it
// (it is no cancellation point), cleanup handlers run and allocate, and a request
// that acts at once is met between calls, and within calls that do nothing.
//
//     cancelled PENDING_BLOCKS
#include "known.h"
#include <pthread.h>
#include <sched.h>

MAKER(pending_makes)
MAKER(cleanup_makes)
MAKER(busy_makes)

static int pending_blocks, cleaned;
static volatile size_t too_much = SIZE_MAX;

static void clean(void *block) {
    free(block);
    sink = cleanup_makes(12);
    __atomic_fetch_add(&cleaned, 1, __ATOMIC_RELAXED);
}

// Its own request is pending all the time.
static void *pending(void *unused) {
    MUST(pthread_cancel(pthread_self()) == 0);
    for (int i = 0; i < pending_blocks; i++) {
        void *block = pending_makes(16 + (size_t)i % 64);
        void *moved = realloc(block, 100);
        MUST(moved);
        use_and_free(moved, 100);
    }
    pthread_cleanup_push(clean, pending_makes(99));
    pthread_testcancel();
    MUST(0);
    pthread_cleanup_pop(0);
    return unused;
}

// Cancelled at once, wherever it is; it allocates only while that is off.
static void *busy(void *ready) {
    int old;
    pthread_cleanup_push(clean, busy_makes(60));
    for (int i = 0;; i++) {
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
        __atomic_store_n((int *)ready, 1, __ATOMIC_RELEASE);
        for (volatile int turn = 0; turn < 20000; turn++) {
        }
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
        void *block = busy_makes(20);
        use_and_free(block, 20);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    }
    pthread_cleanup_pop(0);
}

// Calls that leave the allocator as it was may be interrupted for ever at any instruction.
static void *idle(void *ready) {
    int old;
    pthread_cleanup_push(clean, busy_makes(61));
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    for (;;) {
        __atomic_store_n((int *)ready, 1, __ATOMIC_RELEASE);
        free(NULL);
        sink = malloc(too_much);
    }
    pthread_cleanup_pop(0);
}

// Waits in a cancellation point, between allocations.
static void *deferred(void *ready) {
    pthread_cleanup_push(clean, busy_makes(62));
    for (;;) {
        void *block = busy_makes(30);
        use_and_free(block, 30);
        __atomic_store_n((int *)ready, 1, __ATOMIC_RELEASE);
        usleep(100);
    }
    pthread_cleanup_pop(0);
}

static void *leaves(void *unused) {
    pthread_cleanup_push(clean, busy_makes(63));
    pthread_exit(busy_makes(64));
    pthread_cleanup_pop(0);
    return unused;
}

static void *start_and_join(void *(*body)(void *), int cancels) {
    int ready = 0;
    pthread_t thread;
    void *result = NULL;
    MUST(pthread_create(&thread, NULL, body, &ready) == 0);
    if (cancels) {
        while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
            sched_yield();
        }
        MUST(pthread_cancel(thread) == 0);
    }
    MUST(pthread_join(thread, &result) == 0);
    return result;
}
int main(int argc, char **argv) {
    pending_blocks = argc > 1 ? atoi(argv[1]) : 1000;
    for (int i = 0; i < 5; i++) {
        MUST(start_and_join(pending, 0) == PTHREAD_CANCELED);
    }
    for (int i = 0; i < 100; i++) {
        MUST(start_and_join(busy, 1) == PTHREAD_CANCELED);
        MUST(start_and_join(idle, 1) == PTHREAD_CANCELED);
        MUST(start_and_join(deferred, 1) == PTHREAD_CANCELED);
        void *block = start_and_join(leaves, 0);
        use_and_free(block, 64);
    }
    // Each went on until it asked for its end.
    MUST(pending_makes_blocks == 5 * ((uint64_t)pending_blocks + 1));
    MUST(cleaned == 405);
    TELL(pending_makes);
    TELL(cleanup_makes);
    TELL(busy_makes);
    return 9;
}
