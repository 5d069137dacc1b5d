// A child of a fork that nobody sees lends its memory to a child of its own before it does anything
// else; that one allocates and ends, or executes `true`. Then it allocates itself.
//
//     lent raw|_Fork|fork vfork|exec|clone|share|spawn
//
// Writes the process id of the first child.
#include "target.h"
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

GRAB(parent_grabs)
GRAB(child_grabs)
GRAB(lent_grabs)

static void *inherited[50];
static const char *way;
// Not mapped when it is needed: the recorder would see that.
static char lent_stack[1 << 18] __attribute__((aligned(16)));

static pid_t make_child(const char *how) {
    if (!strcmp(how, "raw")) {
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    }
    return !strcmp(how, "_Fork") ? _Fork() : fork();
}

static int work(void *nothing) {
    (void)nothing;
    char *words[] = {"true", NULL};
    lent_grabs(7, 70);
    free(inherited[0]);
    if (!strcmp(way, "exec")) {
        execvp(words[0], words);
    }
    _exit(0);
}

static void lend(void) {
    char *words[] = {"true", NULL};
    pid_t lent = -1;
    int status = 1;
    if (!strcmp(way, "spawn")) {
        if (posix_spawnp(&lent, words[0], NULL, NULL, words, environ)) {
            _exit(91);
        }
    } else if (!strcmp(way, "clone") || !strcmp(way, "share")) {
        int waits = strcmp(way, "share") ? CLONE_VFORK : 0;
        lent = clone(work, lent_stack + sizeof lent_stack, CLONE_VM | waits | SIGCHLD, NULL);
    } else {
        lent = vfork();
        if (lent == 0) {
            work(NULL);
        }
    }
    if (waitpid(lent, &status, 0) != lent || status != 0) {
        _exit(92);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        return 93;
    }
    way = argv[2];
    parent_grabs(10, 30);
    for (int i = 0; i < 50; i++) {
        inherited[i] = malloc(100);
    }
    pid_t child = make_child(argv[1]);
    if (child == 0) {
        lend();
        child_grabs(20, 40);
        for (int i = 1; i < 50; i++) {
            free(inherited[i]);
        }
        _exit(0);
    }
    int status = 1;
    if (waitpid(child, &status, 0) != child) {
        return 94;
    }
    say("%d\n", (int)child);
    return status != 0;
}
