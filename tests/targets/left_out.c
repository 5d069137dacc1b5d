// Makes small blocks and says its process id. When the file `1` is there a child frees them, and a
// block of its own.
#include "target.h"
#include <sys/wait.h>

enum { BLOCKS = 200 };
static void *volatile blocks[BLOCKS];

int main(void) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(100);
    }
    say("pid %d\n", (int)getpid());
    while (access("1", F_OK) != 0) {
        usleep(2000);
    }
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
        }
        sink = malloc(5000);
        free(sink);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 90;
    }
    return status;
}
