// A handler forks and waits; its child returns from the handler, finishes what was interrupted, and
// ends. Says how often the parent has allocated.
//
//     returns CHILDREN
#include "target.h"
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

static volatile sig_atomic_t is_child;
static volatile sig_atomic_t children;
static int children_max;

static void next_signal(int microseconds) {
    struct itimerval after = {{0, 0}, {0, microseconds}};
    setitimer(ITIMER_REAL, &after, NULL);
}

static void forks(int signal) {
    (void)signal;
    int before = errno;
    if (children < children_max) {
        children++;
        pid_t child = fork();
        if (child == 0) {
            is_child = 1;
        } else {
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
    if (!is_child) {
        next_signal(1500 + children * 13);
    }
    errno = before;
}

FRAME void grabs(void) {
    sink = malloc(100);
    free(sink);
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    children_max = atoi(argv[1]);
    signal(SIGALRM, forks);
    next_signal(1500);
    unsigned long grabbed = 0;
    while (children < children_max) {
        grabs();
        grabbed++;
        if (is_child) {
            _exit(0);
        }
    }
    next_signal(0);
    for (int more = 0; more < 100000; more++) {
        grabs();
        grabbed++;
    }
    say("%lu\n", grabbed);
    return 0;
}
