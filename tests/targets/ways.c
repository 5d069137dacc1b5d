// Unusual ways to begin, to go on and to end, each with blocks before and after it.
//
//     ways ROLE [FILE]
#include "known.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;
static char *self;
GRAB(first_grabs)
GRAB(second_grabs)
GRAB(shared_grabs)
GRAB(image_grabs)
GRAB(daemon_grabs)
GRAB(deep_grabs)

static int is_over;

static void *load(void *argument) {
    uint64_t state = (uint64_t)(intptr_t)argument;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        free(malloc(next_random(&state) % 500));
        sched_yield();
    }
    return NULL;
}

static int status_of(pid_t child) {
    int status = -1;
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void list_descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            say("open %d\n", fd);
        }
    }
}

// Another image, from a thread that is not the first, while others allocate.
static void *exec_here(void *unused) {
    second_grabs(20, 30);
    execl(self, self, "image", NULL);
    MUST(0);
    return unused;
}

static void role_exec_from_thread(void) {
    pthread_t thread;
    for (intptr_t i = 0; i < 3; i++) {
        MUST(pthread_create(&thread, NULL, load, (void *)(i + 1)) == 0);
    }
    MUST(pthread_create(&thread, NULL, exec_here, NULL) == 0);
    load((void *)9);
}

// Children that get no descriptors, or close what they have.
static void role_spawn_closed(void) {
    for (int how = 0; how < 4; how++) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t all;
        sigfillset(&all);
        MUST(posix_spawn_file_actions_init(&actions) == 0);
        MUST(posix_spawnattr_init(&attributes) == 0);
        for (int fd = 0; fd < 3 && how < 2; fd++) {
            MUST(posix_spawn_file_actions_addclose(&actions, fd) == 0);
        }
        if (how == 2) {
            MUST(posix_spawn_file_actions_addclosefrom_np(&actions, 0) == 0);
        } else if (how == 3) {
            MUST(posix_spawn_file_actions_addclosefrom_np(&actions, 3) == 0);
            MUST(posix_spawnattr_setflags(&attributes,
                                          POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID) == 0);
            MUST(posix_spawnattr_setsigmask(&attributes, &all) == 0);
        }
        // The image has nobody to talk to: it tells what it finds by its exit code.
        char *argv[] = {self, how == 3 ? "silent" : "closed", NULL};
        pid_t child = 0;
        int error = how % 2 ? posix_spawn(&child, self, &actions, &attributes, argv, environ)
                            : posix_spawnp(&child, self, &actions, NULL, argv, environ);
        MUST(error == 0);
        say("spawned %d\n", status_of(child));
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
    }
}

// Descriptors below 1024 that are open, and what the next one is.
static int closed_image(void) {
    image_grabs(50, 20);
    int open_ones = 0;
    for (int fd = 0; fd < 1024; fd++) {
        open_ones += fcntl(fd, F_GETFD) != -1;
    }
    return 20 + open_ones * 10 + open("/dev/null", O_RDONLY);
}

static char child_stack[1 << 18] __attribute__((aligned(64)));

static int in_shared_child(void *argument) {
    shared_grabs(40, 60);
    if (argument) {
        execl(self, self, "image", NULL);
    }
    return 3;
}

// A child in the same memory, on a stack of its own, as libraries make it for a quick exec.
static void role_clone(void) {
    static const int flags[] = {CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD,
                                CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | SIGCHLD};
    for (int i = 0; i < 6; i++) {
        // Parent and child share the thread's state: one of them works at a time.
        pid_t child = clone(in_shared_child, child_stack + sizeof child_stack, flags[i % 3],
                            i < 3 ? NULL : self);
        say("cloned %d\n", status_of(child));
        second_grabs(5, 30);
    }
}

static void role_daemon(const char *file, int keeps) {
    say("before\n");
    MUST(daemon(keeps, keeps) == 0);
    daemon_grabs(60, 25);
    MUST(getsid(0) != getpid() || getpgrp() == getpid());
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    dprintf(fd, "next %d, errors %d\n", fd, isatty(0) + isatty(2));
    close(fd);
}

static void role_closefrom(int from) {
    MUST(open("/dev/null", O_RDONLY) >= 0);
    closefrom(from);
    list_descriptors();
    // Enough for the recorder to need more of its session.
    for (int i = 0; i < 100000; i++) {
        free(malloc((size_t)i % 1000));
    }
    say("next %d\n", open("/dev/null", O_RDONLY));
}

// Goes down until less than `left` bytes of the stack are left, and allocates there.
FRAME static void go_down(const char *floor, size_t left) {
    volatile char frame[256];
    frame[0] = 1;
    if ((size_t)(&frame[0] - floor) > left) {
        go_down(floor, left);
    } else {
        deep_grabs(3, 50);
    }
    KEEP_FRAME();
}

static void *at_the_bottom(void *left) {
    pthread_attr_t attributes;
    void *floor = NULL;
    size_t bytes = 0;
    MUST(pthread_getattr_np(pthread_self(), &attributes) == 0);
    MUST(pthread_attr_getstack(&attributes, &floor, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    for (int i = 0; i < 10; i++) {
        go_down(floor, (size_t)(intptr_t)left);
    }
    return NULL;
}

static void at_the_bottom_of_threads(size_t stack) {
    pthread_attr_t attributes;
    MUST(pthread_attr_init(&attributes) == 0);
    MUST(stack == 0 || pthread_attr_setstacksize(&attributes, stack) == 0);
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        void *left = (void *)(intptr_t)4096;
        MUST(pthread_create(&thread, stack ? &attributes : NULL, at_the_bottom, left) == 0);
        MUST(pthread_join(thread, NULL) == 0);
    }
}

// The limit is that of the next image: its first stack, and those of its threads.
static void role_small_stack(void) {
    struct rlimit limit = {64 << 10, 64 << 10};
    MUST(setrlimit(RLIMIT_STACK, &limit) == 0);
    execl(self, self, "bottom", NULL);
    MUST(0);
}

static void *nothing(void *unused) { return unused; }

// As nobody, where that can be: root has no such limit.
static void role_few_processes(void) {
    if (geteuid() == 0) {
        MUST(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    }
    struct rlimit limit = {1, 1};
    MUST(setrlimit(RLIMIT_NPROC, &limit) == 0);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, nothing, NULL);
    if (error == 0) {
        pthread_join(thread, NULL);
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    say("a thread: %d, a child: %d\n", error, child > 0 ? status_of(child) : -errno);
}

int main(int argc, char **argv) {
    const char *role = argc > 1 ? argv[1] : "";
    self = argv[0];
    if (!strcmp(role, "closed") || !strcmp(role, "silent")) {
        return closed_image();
    }
    if (!strcmp(role, "image")) {
        image_grabs(50, 20);
        return 14;
    }
    first_grabs(100, 50);
    if (!strcmp(role, "exec-from-thread")) {
        role_exec_from_thread();
    } else if (!strcmp(role, "spawn-closed")) {
        role_spawn_closed();
    } else if (!strcmp(role, "clone")) {
        role_clone();
    } else if (!strcmp(role, "daemon")) {
        role_daemon(argv[2], 0);
    } else if (!strcmp(role, "daemon-keeps")) {
        role_daemon(argv[2], 1);
    } else if (!strcmp(role, "closefrom")) {
        role_closefrom(3);
    } else if (!strcmp(role, "small-stack")) {
        role_small_stack();
    } else if (!strcmp(role, "bottom")) {
        at_the_bottom_of_threads(0);
        at_the_bottom_of_threads((size_t)sysconf(_SC_THREAD_STACK_MIN) + 8192);
    } else if (!strcmp(role, "few-processes")) {
        role_few_processes();
    } else {
        return 2;
    }
    second_grabs(20, 30);
    say("end %s\n", role);
    return 15;
}
