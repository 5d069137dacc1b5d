// Calls exec in its forms with pointers that lead nowhere: each says so and the program goes on.
#include "known.h"
#include <fcntl.h>
#include <spawn.h>

extern char **environ;

#define REFUSED(CALL)                                                                              \
    do {                                                                                           \
        errno = 0;                                                                                 \
        int result = (CALL);                                                                       \
        say("%d %d\n", result, errno);                                                             \
    } while (0)

int main(void) {
    char *words[] = {"ls", NULL}, *good[] = {"A=1", NULL};
    char *bad_text[] = {"A=1", (char *)8, NULL};
    char **nowhere = (char **)8;
    char *bad = (char *)8;
    // The last bytes before a page that cannot be read.
    char *edge = (char *)mapped(2 * 4096) + 4096;
    MUST(mprotect(edge, 4096, PROT_NONE) == 0);
    memcpy(edge - 4, "/bin", 4);
    char **cut = (char **)edge - 1;
    char *cut_text[] = {edge - 4, NULL};
    sink = malloc(10);

    REFUSED(execve("/bin/ls", words, nowhere));
    REFUSED(execve("/bin/ls", nowhere, good));
    REFUSED(execve("/bin/ls", words, bad_text));
    REFUSED(execve("/bin/ls", bad_text, good));
    REFUSED(execve("/bin/ls", words, cut_text));
    REFUSED(execve("/bin/ls", cut_text, good));
    REFUSED(execve(bad, words, good));
    REFUSED(execve(NULL, words, good));
    REFUSED(execve(edge - 4, words, good));
    REFUSED(execve((char *)-4096, words, good));
    REFUSED(execv(bad, words));
    REFUSED(execveat(AT_FDCWD, bad, words, good, 0));
    REFUSED(execveat(AT_FDCWD, bad, words, good, AT_EMPTY_PATH));
    REFUSED(execveat(AT_FDCWD, "/bin/ls", words, nowhere, 0));
    REFUSED(execvpe("ls", words, nowhere));
    REFUSED(execvpe("ls", words, bad_text));
    REFUSED(execle("/bin/ls", "ls", NULL, nowhere));
    pid_t pid;
    REFUSED(posix_spawn(&pid, "/bin/ls", NULL, NULL, words, nowhere));
    REFUSED(posix_spawnp(&pid, "ls", NULL, NULL, words, bad_text));
    memcpy(cut, words, sizeof *cut);
    REFUSED(execve("/bin/ls", cut, good));

    // A text that ends with the page is whole, and so is a long environment.
    memcpy(edge - 8, "B=2\0A=1\0", 8);
    char *list[600] = {edge - 8, edge - 4};
    char *block = mapped(128 << 10);
    for (int i = 2; i < 599; i++) {
        list[i] = block + i * 200;
        memset(list[i], 'x', 199);
    }
    REFUSED(posix_spawn(&pid, "/no/such/program", NULL, NULL, words, list));
    say("on\n");
    execve("/bin/true", words, list);
    return 1;
}
