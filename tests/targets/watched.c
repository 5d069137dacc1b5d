// Forks a child. Each says who it is, makes blocks when the file `1` is there, and ends when the
// file `end` is there. The parent made some before.
#include "target.h"
#include <sys/wait.h>

GRAB(before_grabs)
GRAB(parent_grabs)
GRAB(child_grabs)

static void wait_for(const char *file) {
    while (access(file, F_OK) != 0) {
        usleep(2000);
    }
}

int main(void) {
    before_grabs(5, 1000);
    pid_t child = fork();
    int is_child = child == 0;
    say("%s %d\n", is_child ? "child" : "parent", (int)getpid());
    wait_for("1");
    if (is_child) {
        child_grabs(20, 50);
    } else {
        parent_grabs(30, 70);
    }
    wait_for("end");
    if (!is_child) {
        int status = 0;
        return waitpid(child, &status, 0) != child || status != 0;
    }
    _exit(0);
}
