// Starts another program (by exec, or by posix_spawn) and passes its exit code on.
#include "say.h"
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **arguments) {
    free(malloc(50));
    if (!strcmp(arguments[1], "exec")) {
        execvp(arguments[2], arguments + 2);
        return 127;
    }
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, arguments[2], NULL, NULL, arguments + 2, environ)) return 127;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}
