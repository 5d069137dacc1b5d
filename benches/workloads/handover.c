// Blocks that another thread frees: `handover BLOCKS`.
//
// Two producers and two consumers, in pairs; blocks are handed over in batches under a mutex, so
// nobody spins and CPU time is work.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 256
#define BATCHES_QUEUED 32

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    void *batches[BATCHES_QUEUED][BATCH];
    long filled, emptied, total;
};

static struct queue queues[2] = {
    {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER},
    {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER},
};

static __attribute__((noinline)) void *make(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    unsigned char *block = malloc(16 + (*seed >> 40) % 500);
    block[0] = 1;
    return block;
}

static void step(struct queue *queue, long *counter) {
    pthread_mutex_lock(&queue->mutex);
    ++*counter;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

static void *produce(void *argument) {
    struct queue *queue = argument;
    uint64_t seed = (uint64_t)(queue - queues) + 1;
    for (long batch = 0; batch < queue->total; batch++) {
        pthread_mutex_lock(&queue->mutex);
        while (batch - queue->emptied >= BATCHES_QUEUED)
            pthread_cond_wait(&queue->changed, &queue->mutex);
        pthread_mutex_unlock(&queue->mutex);
        for (int i = 0; i < BATCH; i++)
            queue->batches[batch % BATCHES_QUEUED][i] = make(&seed);
        step(queue, &queue->filled);
    }
    return NULL;
}

static void *consume(void *argument) {
    struct queue *queue = argument;
    for (long batch = 0; batch < queue->total; batch++) {
        pthread_mutex_lock(&queue->mutex);
        while (queue->filled <= batch)
            pthread_cond_wait(&queue->changed, &queue->mutex);
        pthread_mutex_unlock(&queue->mutex);
        for (int i = 0; i < BATCH; i++)
            free(queue->batches[batch % BATCHES_QUEUED][i]);
        step(queue, &queue->emptied);
    }
    return NULL;
}

int main(int count, char **arguments) {
    long blocks = count > 1 ? atol(arguments[1]) : 1000000;
    pthread_t threads[4];
    for (int i = 0; i < 2; i++) {
        queues[i].total = blocks / 2 / BATCH;
        pthread_create(&threads[2 * i], NULL, produce, &queues[i]);
        pthread_create(&threads[2 * i + 1], NULL, consume, &queues[i]);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%ld\n", queues[0].emptied + queues[1].emptied);
    return 0;
}
