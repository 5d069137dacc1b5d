// A program that allocates nothing, and whose forked child makes 7 blocks after its end.
//
//     quiet exit|exec
//
// It ends, or becomes `true`. The child is told of it by the end of a pipe.
#include "target.h"
#include <fcntl.h>
#include <string.h>

int main(int argc, char **argv) {
    int ends[2];
    if (argc != 2 || pipe2(ends, O_CLOEXEC) != 0) {
        return 2;
    }
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        if (read(ends[0], &byte, 1) != 0) {
            _exit(90);
        }
        // By then the end, or the exec, was seen.
        usleep(200000);
        for (int i = 0; i < 7; i++) {
            sink = malloc(33);
        }
        _exit(3);
    }
    if (strcmp(argv[1], "exec") == 0) {
        execlp("true", "true", (char *)0);
    }
    _exit(child < 0 ? 90 : 0);
}
