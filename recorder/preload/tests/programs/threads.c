// Threads that allocate, rename themselves, and free each other's blocks.
#include "say.h"
#include <pthread.h>
#include <sys/prctl.h>

enum { THREADS = 4, BLOCKS = 2000 };
static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static void *work(void *argument) {
    long me = (long)argument;
    char name[16];
    snprintf(name, sizeof name, "worker-%ld", me);
    blocks[me][0] = malloc(8 + me);
    if (me % 2) pthread_setname_np(pthread_self(), name);
    else prctl(PR_SET_NAME, name);
    for (int i = 1; i < BLOCKS; i++) blocks[me][i] = malloc(8 + me);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < BLOCKS; i++) free(blocks[(me + 1) % THREADS][i]);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}
