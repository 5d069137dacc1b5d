// A child frees a block of its parent's, whose address is told, and makes one of its own.
#include "target.h"
#include <sys/wait.h>

static void *volatile told;

FRAME void parent_takes(void) {
    told = calloc(4321, 1);
    KEEP_FRAME();
}

int main(void) {
    parent_takes();
    pid_t child = fork();
    if (child == 0) {
        free(told);
        sink = malloc(10);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 90;
    }
    say("%p\n", told);
    return status;
}
