// Many threads that live at the same time: each keeps 40 blocks of 24 bytes and frees 60 of 100
// bytes, in two halves; between the halves all have begun and none has ended.
//
//     crowd COUNT
#include "target.h"
#include <pthread.h>

static pthread_barrier_t all_live;

FRAME void crowd_keeps(void) {
    for (int i = 0; i < 20; i++) {
        sink = malloc(24);
    }
    KEEP_FRAME();
}

FRAME void crowd_wastes(void) {
    for (int i = 0; i < 30; i++) {
        void *p = malloc(100);
        sink = p;
        free(p);
    }
    KEEP_FRAME();
}

static void *run(void *argument) {
    crowd_keeps();
    crowd_wastes();
    pthread_barrier_wait(&all_live);
    crowd_keeps();
    crowd_wastes();
    return argument;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 2000;
    pthread_attr_t small;
    if (pthread_attr_init(&small) || pthread_attr_setstacksize(&small, 64 << 10) ||
        pthread_barrier_init(&all_live, NULL, (unsigned)count)) {
        return 1;
    }
    pthread_t *ids = calloc((size_t)count, sizeof *ids);
    for (int i = 0; i < count; i++) {
        if (pthread_create(&ids[i], &small, run, NULL)) {
            return 2;
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(ids[i], NULL);
    }
    say("%d live at once\n", count);
    return 0;
}
