// A double fork whose process in the middle makes no event.
//
//     lineage WAITS FIRST MIDDLE EXIT GRANDCHILD
//
// The first process makes 50 blocks of 100 to 149 bytes, 6225 in all. The grandchild frees 20 of
// them and makes 7 of 33 bytes. WAITS: 1 when the first process waits for its child before it
// ends. The others are microseconds that pass: in the first process before it ends, in the one in
// the middle before its fork and before its end, in the grandchild before its first event.
#include "target.h"
#include <sys/wait.h>

enum { BLOCKS = 50, FREED = 20 };
static void *volatile blocks[BLOCKS];

FRAME void first_grabs(void) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(100 + (size_t)i);
    }
    KEEP_FRAME();
}

FRAME void grandchild_grabs(void) {
    for (int i = 0; i < 7; i++) {
        sink = malloc(33);
    }
    KEEP_FRAME();
}

static void pass(const char *microseconds) {
    usleep((useconds_t)atoi(microseconds));
}

static void middle(char **delays) {
    setsid();
    pass(delays[1]);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        pass(delays[3]);
        for (int i = 0; i < FREED; i++) {
            free(blocks[i]);
        }
        grandchild_grabs();
        _exit(6);
    }
    pass(delays[2]);
    _exit(grandchild < 0 ? 90 : 5);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        return 2;
    }
    first_grabs();
    pid_t child = fork();
    if (child == 0) {
        middle(argv + 2);
    }
    int status = 0;
    if (child < 0 || (atoi(argv[1]) && waitpid(child, &status, 0) != child)) {
        return 90;
    }
    pass(argv[2]);
    return WEXITSTATUS(status);
}
