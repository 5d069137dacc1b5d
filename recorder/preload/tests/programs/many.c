// Makes many pairs, after doing what the arguments say to make recording hard.
#include "say.h"
#include <fcntl.h>
#include <sys/resource.h>

int main(int count, char **arguments) {
    long pairs = atol(arguments[1]);
    for (int i = 2; i < count; i++) {
        if (!strcmp(arguments[i], "close"))
            for (int fd = 0; fd < 1024; fd++)
                if (fd != 1) close(fd);
        if (!strcmp(arguments[i], "chdir")) CHECK(chdir("/") == 0);
        if (!strncmp(arguments[i], "as=", 3)) {
            struct rlimit limit = {atol(arguments[i] + 3), atol(arguments[i] + 3)};
            CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        }
        if (!strcmp(arguments[i], "size")) {
            struct rlimit limit = {0, 0};
            CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        }
        if (!strcmp(arguments[i], "full")) {
            free(malloc(24));
            struct rlimit limit = {0, 0};
            CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        }
        if (!strcmp(arguments[i], "files")) {
            struct rlimit limit = {0, 0};
            CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        }
    }
    void *volatile block;
    for (long i = 0; i < pairs; i++) {
        block = malloc(24);
        CHECK(block != NULL);
        free(block);
    }
    say("done %ld", pairs);
    return 3;
}
