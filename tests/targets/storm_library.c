// A library whose constructor and destructor allocate, with a thread of the constructor's.
#include "target.h"
#include <pthread.h>

static void *kept;

FRAME void *NAME(size_t size) {
    void *block = malloc(size);
    KEEP_FRAME();
    return block;
}

static void *in_thread(void *unused) {
    free(NAME(102));
    return unused;
}

__attribute__((constructor)) static void begin(void) {
    pthread_t thread;
    kept = NAME(100);
    free(NAME(101));
    if (pthread_create(&thread, NULL, in_thread, NULL) == 0) {
        pthread_join(thread, NULL);
    }
}

__attribute__((destructor)) static void end(void) {
    free(kept);
    free(NAME(103));
}
