// Its first thread leaves at once; another takes 4 MiB ten times and uses them.
#include "target.h"
#include <pthread.h>

static void *run(void *nothing) {
    for (int i = 0; i < 10; i++) {
        usleep(30000);
        char *taken = malloc(4 << 20);
        sink = taken;
        memset(taken, 1, 4 << 20);
    }
    usleep(400000);
    return nothing;
}

int main(void) {
    pthread_t other;
    if (pthread_create(&other, NULL, run, NULL)) {
        return 1;
    }
    pthread_exit(NULL);
}
