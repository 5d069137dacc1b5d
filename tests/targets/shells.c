/* Starts a shell by a function of the C library that does it by itself.
 *   shells system|popen|wordexp as-it-is|cleared|unset|removed
 * `removed`: the recorder's libraries are gone by then. Prints what the shell says, and whether the
 * environment is as it was. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wordexp.h>

extern char **environ;

static void remove_library(void) {
    const char *preload = getenv("LD_PRELOAD");
    if (!preload)
        return;
    char path[4096], other[4200];
    snprintf(path, sizeof path, "%s", preload);
    strtok(path, ": ");
    unlink(path);
    snprintf(other, sizeof other, "%.*s-allocators.so", (int)strlen(path) - 3, path);
    unlink(other);
}

static int entries(void) {
    int count = 0;
    for (char **entry = environ; entry && *entry; entry++)
        count++;
    return count;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    free(malloc(10));
    if (!strcmp(argv[2], "cleared"))
        clearenv();
    else if (!strcmp(argv[2], "unset"))
        unsetenv("LD_PRELOAD");
    else if (!strcmp(argv[2], "removed"))
        remove_library();
    char **list = environ;
    int count = entries();
    int status = 0;
    if (!strcmp(argv[1], "system")) {
        status = system("echo 7 | tr 7 8; exit 3") >> 8;
    } else if (!strcmp(argv[1], "popen")) {
        char line[100] = "";
        FILE *stream = popen("echo 7 | tr 7 8; exit 3", "r");
        if (!stream || !fgets(line, sizeof line, stream))
            return 4;
        fputs(line, stdout);
        status = pclose(stream) >> 8;
    } else {
        wordexp_t words;
        if (wordexp("$(echo 7 | tr 7 8)", &words, 0))
            return 5;
        puts(words.we_wordv[0]);
        wordfree(&words);
    }
    printf("%s, %d\n", list == environ && count == entries() ? "as it was" : "another", status);
    return 0;
}
