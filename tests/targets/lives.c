// A child that ends long before its parent.
//
//     lives CHILD PARENT
//
// The child sleeps CHILD milliseconds and ends; the parent waits for it and sleeps PARENT more.
#include "target.h"
#include <sys/wait.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    sink = malloc(100);
    pid_t child = fork();
    if (child == 0) {
        sink = malloc(200);
        usleep((useconds_t)atoi(argv[1]) * 1000);
        _exit(3);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 90;
    }
    usleep((useconds_t)atoi(argv[2]) * 1000);
    return WEXITSTATUS(status) == 3 ? 0 : 91;
}
