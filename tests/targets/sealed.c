// Forks children that can open no file at all, and say nothing of themselves therefore.
//
//     sealed COUNT
//
// Each child makes 20 blocks of 40 bytes, and exits with 4 at once.
#include "target.h"
#include <sys/resource.h>
#include <sys/wait.h>

FRAME void child_grabs(void) {
    for (int i = 0; i < 20; i++) {
        sink = malloc(40);
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0;
    struct rlimit none = {3, 3};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) {
        return 90;
    }
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            child_grabs();
            _exit(4);
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 4) {
            return 91;
        }
    }
    return 0;
}
