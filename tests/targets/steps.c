// Allocates step by step: each when a file of the step's number is there. `outlived`: the first
// thread leaves before the first step, and another does them all.
//
//     steps [outlived]
#include "target.h"
#include <pthread.h>

GRAB(first_grabs)
GRAB(second_grabs)
GRAB(third_grabs)

static void wait_for(const char *file) {
    while (access(file, F_OK) != 0) {
        usleep(2000);
    }
}

static void *run(void *nothing) {
    wait_for("1");
    void *kept = malloc(77);
    first_grabs(10, 100);
    say("1\n");
    wait_for("2");
    second_grabs(20, 100);
    free(kept);
    say("2\n");
    wait_for("3");
    third_grabs(30, 100);
    return nothing;
}

int main(int argc, char **argv) {
    say("pid %d\n", (int)getpid());
    if (argc > 1 && !strcmp(argv[1], "outlived")) {
        pthread_t other;
        if (pthread_create(&other, NULL, run, NULL)) {
            return 1;
        }
        pthread_exit(NULL);
    }
    run(NULL);
    return 0;
}
