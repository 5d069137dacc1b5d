// Forks while other threads allocate and free all the time.
//
//     forks THREADS FORKS
//
// Each child makes 20 blocks of 40 bytes and ends.
#include "target.h"
#include <pthread.h>
#include <sys/wait.h>

enum { KEPT = 16 };
static volatile int is_over;

FRAME void child_grabs(void) {
    for (int i = 0; i < 20; i++) {
        sink = malloc(40);
    }
    KEEP_FRAME();
}

static void *load(void *argument) {
    uint64_t state = (uint64_t)(intptr_t)argument;
    void *kept[KEPT] = {0};
    while (!is_over) {
        uint64_t number = next_random(&state);
        void **place = &kept[number % KEPT];
        free(*place);
        *place = malloc(16 + number / KEPT % 200);
        if (number % 64 == 0) {
            // Many threads and few processors: none may keep the others from their turn.
            usleep(200);
        }
    }
    for (int i = 0; i < KEPT; i++) {
        free(kept[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 2 ? atoi(argv[1]) : 0, forks = argc > 2 ? atoi(argv[2]) : 0;
    pthread_t *ids = mapped((size_t)threads * sizeof *ids + 1);
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&ids[i], NULL, load, (void *)(intptr_t)(i + 1))) {
            return 90;
        }
    }
    int good = 0;
    for (int i = 0; i < forks; i++) {
        pid_t child = fork();
        if (child == 0) {
            child_grabs();
            _exit(0);
        }
        int status = 0;
        good += child > 0 && waitpid(child, &status, 0) == child && status == 0;
    }
    is_over = 1;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    say("%d children\n", good);
    return 0;
}
