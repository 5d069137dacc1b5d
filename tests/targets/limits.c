// Programs that make life hard for a recorder. Each works before and after what it does, and says
// what a recorder could have changed.
//
//     limits ROLE [NUMBER]
#include "target.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

FRAME void before_grabs(void) {
    for (int i = 0; i < 1000; i++) {
        sink = malloc(64);
    }
    KEEP_FRAME();
}

static int after_failures;

FRAME void after_grabs(void) {
    for (int i = 0; i < 1000; i++) {
        sink = malloc(96);
        after_failures += sink == NULL;
    }
    KEEP_FRAME();
}

// Fills the rings: several MiB of records of many stacks.
FRAME void churn(uint64_t *random, int depth, int count) {
    if (depth > 0) {
        if (next_random(random) % 2) {
            churn(random, depth - 1, count);
        } else {
            churn(random, depth - 1, count);
        }
    } else {
        for (int i = 0; i < count; i++) {
            void *p = malloc(next_random(random) % 2000);
            sink = p;
            free(p);
        }
    }
    KEEP_FRAME();
}

static void work(int rounds) {
    uint64_t random = 1;
    for (int i = 0; i < rounds; i++) {
        churn(&random, 8, 100);
    }
}

static void list_descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            say("open %d\n", fd);
        }
    }
}

// Each child is forked while its parent has no memory to give, and allocates at the same time.
FRAME void fork_children(int count) {
    uint64_t random = 1;
    int failures = 0;
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            churn(&random, 4, 10);
            _exit(0);
        }
        int status = 0;
        while (!waitpid(child, &status, WNOHANG)) {
            churn(&random, 4, 10);
        }
        failures += child < 0 || status != 0;
    }
    say("%d children failed\n", failures);
    KEEP_FRAME();
}

static void limit(int what, rlim_t value) {
    struct rlimit r = {value, value};
    if (setrlimit(what, &r)) {
        _exit(8);
    }
}

int main(int argc, char **argv) {
    const char *role = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    errno = 0;
    before_grabs();
    if (errno) {
        say("errno changed to %d\n", errno);
    }
    if (!strcmp(role, "descriptors")) {
        list_descriptors();
        close_range(3, ~0u, 0);
        work(2000);
        say("next %d\n", open("/dev/null", O_RDONLY));
    } else if (!strcmp(role, "all-descriptors")) {
        close_range(0, ~0u, 0);
        work(2000);
    } else if (!strcmp(role, "folder")) {
        if (chdir("/")) {
            return 3;
        }
        work(2000);
    } else if (!strcmp(role, "file-size")) {
        limit(RLIMIT_FSIZE, 1000);
        work(2000);
    } else if (!strcmp(role, "open-files")) {
        limit(RLIMIT_NOFILE, 3);
        work(2000);
        say("next %d\n", open("/dev/null", O_RDONLY));
    } else if (!strcmp(role, "forks")) {
        struct rlimit before, none = {1 << 16, RLIM_INFINITY};
        if (getrlimit(RLIMIT_DATA, &before) || setrlimit(RLIMIT_DATA, &none)) {
            return 3;
        }
        fork_children(number);
        setrlimit(RLIMIT_DATA, &before);
    } else if (!strcmp(role, "address-space")) {
        char text[64] = "";
        int fd = open("/proc/self/statm", O_RDONLY);
        if (read(fd, text, sizeof text - 1) < 0) {
            return 3;
        }
        close(fd);
        limit(RLIMIT_AS, (rlim_t)strtoul(text, NULL, 10) * 4096 + ((rlim_t)number << 20));
        work(2000);
        // All that is left: then nobody can map anything.
        size_t blocks = 0;
        void **last = NULL;
        for (void **p; (p = malloc(100000)); blocks++) {
            *p = last;
            last = p;
        }
        say("refused, as it must be: %d\n", errno == ENOMEM);
        while (last) {
            void **next = *last;
            free(last);
            last = next;
        }
        work(10);
    } else if (!strcmp(role, "work")) {
        work(number);
    } else {
        return 2;
    }
    after_grabs();
    if (after_failures) {
        say("%d allocations failed\n", after_failures);
    }
    say("end %s\n", role);
    return 17;
}
