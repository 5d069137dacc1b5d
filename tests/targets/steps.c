// Allocates step by step: each when a file of the step's number is there.
#include "target.h"

GRAB(first_grabs)
GRAB(second_grabs)
GRAB(third_grabs)

static void wait_for(const char *file) {
    while (access(file, F_OK) != 0) {
        usleep(2000);
    }
}

int main(void) {
    say("pid %d\n", (int)getpid());
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
    return 0;
}
