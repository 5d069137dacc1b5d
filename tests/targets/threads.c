// Many short threads: each keeps 5 blocks of 40 bytes, hands 3 of 80 bytes to main (which frees
// them), and wastes 2.
//
//     threads COUNT
#include "target.h"
#include <pthread.h>

enum { TOGETHER = 8 };

FRAME void thread_keeps(void) {
    for (int i = 0; i < 5; i++) {
        sink = malloc(40);
    }
    KEEP_FRAME();
}

FRAME void thread_wastes(void) {
    for (int i = 0; i < 2; i++) {
        void *p = malloc(60);
        sink = p;
        free(p);
    }
    KEEP_FRAME();
}

FRAME void thread_hands_over(void **to) {
    for (int i = 0; i < 3; i++) {
        to[i] = malloc(80);
    }
    KEEP_FRAME();
}

static void *run(void *argument) {
    thread_keeps();
    thread_wastes();
    thread_hands_over(argument);
    return NULL;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1000;
    static void *handed[TOGETHER][3];
    for (int done = 0; done < count; done += TOGETHER) {
        int now = count - done < TOGETHER ? count - done : TOGETHER;
        pthread_t ids[TOGETHER];
        for (int i = 0; i < now; i++) {
            if (pthread_create(&ids[i], NULL, run, handed[i])) {
                return 1;
            }
        }
        for (int i = 0; i < now; i++) {
            pthread_join(ids[i], NULL);
            for (int k = 0; k < 3; k++) {
                free(handed[i][k]);
            }
        }
    }
    say("%d threads\n", count);
    return 0;
}
