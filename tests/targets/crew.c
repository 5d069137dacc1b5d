// Two threads that allocate and one that only waits for them: `crew PAIRS`.
#include "target.h"
#include <pthread.h>

FRAME void crew_grabs(size_t size) {
    void *block = malloc(size);
    sink = block;
    free(block);
    KEEP_FRAME();
}

static void *work(void *pairs) {
    for (uintptr_t i = 0; i < (uintptr_t)pairs; i++) {
        crew_grabs(16 + i % 100);
    }
    return pairs;
}

int main(int count, char **arguments) {
    void *pairs = (void *)(uintptr_t)(count > 1 ? atol(arguments[1]) : 1);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, work, pairs) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}
