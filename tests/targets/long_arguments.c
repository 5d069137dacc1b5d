// Says how many bytes of arguments a program can be started with, beside an environment of one
// variable: by execve and by posix_spawn.
#include "target.h"
#include <spawn.h>
#include <sys/wait.h>

#define WORD_BYTES 100000
#define WORDS_MAX 64

static char *environment[] = {"A=1", NULL};

static int starts(long bytes, int spawns) {
    char *arguments[WORDS_MAX + 2] = {"true"};
    for (int i = 1; bytes > 0; i++) {
        long length = bytes > WORD_BYTES ? WORD_BYTES : bytes;
        arguments[i] = memset(malloc(length + 1), 'x', length);
        arguments[i][length] = 0;
        bytes -= length;
    }
    pid_t child = 0;
    if (spawns) {
        if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environment)) {
            child = 0;
        }
    } else if ((child = fork()) == 0) {
        execve("/bin/true", arguments, environment);
        _exit(77);
    }
    int status = 1;
    if (child) {
        waitpid(child, &status, 0);
    }
    for (int i = 1; arguments[i]; i++) {
        free(arguments[i]);
    }
    return status == 0;
}

int main(void) {
    for (int spawns = 0; spawns < 2; spawns++) {
        long fits = 0, fails = (long)WORD_BYTES * WORDS_MAX;
        while (fails - fits > 1) {
            long middle = (fits + fails) / 2;
            *(starts(middle, spawns) ? &fits : &fails) = middle;
        }
        printf("%ld\n", fits);
    }
}
