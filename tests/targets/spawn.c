// posix_spawn whose child must first open a FIFO, which waits for somebody at its other end.
//
//     spawn FIFO PROGRAM ARGUMENTS…
#include "target.h"
#include <fcntl.h>
#include <spawn.h>

extern char **environ;

FRAME void parent_grabs(void) {
    for (int i = 0; i < 100; i++) {
        sink = malloc(50);
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    if (argc < 3) {
        return 2;
    }
    parent_grabs();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, argv[1], O_RDONLY, 0);
    say("pid %d\n", getpid());
    pid_t pid;
    return posix_spawn(&pid, argv[2], &actions, NULL, argv + 2, environ);
}
