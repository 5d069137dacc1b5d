// Says all that a program can see of its surroundings, at moments when a recorder works: in a
// constructor, in main before and after it allocated, in a thread, in children, in the next image.
//
//     surroundings [image]
#include "known.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char **environ;
MAKER(surroundings_grabs)

static int starts_with(const char *text, const char *start) {
    return !strncmp(text, start, strlen(start));
}

// Lines of /proc/self/status that a library could change.
static void say_status(void) {
    static const char *const names[] = {
        "Name:",   "Umask:",  "State:",  "TracerPid:", "Uid:",    "Gid:",        "Groups:",
        "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:",    "SigIgn:", "SigCgt:",     "CapInh:",
        "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:",    "NoNewPrivs:", "Seccomp:", "Cpus_allowed:",
    };
    char text[8192];
    int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof text - 1);
    MUST(length > 0);
    close(fd);
    text[length] = 0;
    char *rest = text;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (starts_with(line, names[i])) {
                say("%s\n", line);
            }
        }
    }
}

static void say_descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags != -1) {
            say("descriptor %d %x %x\n", fd, (unsigned)flags, (unsigned)fcntl(fd, F_GETFL));
        }
    }
}

// How signals are answered; not where: addresses differ from run to run.
static void say_signals(void) {
    for (int number = 1; number <= 64; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 &&
            (action.sa_handler != SIG_DFL || action.sa_flags)) {
            say("signal %d ignored %d flags %x\n", number, action.sa_handler == SIG_IGN,
                (unsigned)action.sa_flags);
        }
    }
    stack_t stack;
    MUST(sigaltstack(NULL, &stack) == 0);
    say("alternate stack %d\n", stack.ss_flags);
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        struct itimerval timer;
        MUST(getitimer(which, &timer) == 0);
        say("timer %d %ld\n", which, (long)timer.it_value.tv_sec);
    }
}

static void say_environment(void) {
    for (char **entry = environ; *entry; entry++) {
        if (!starts_with(*entry, "LD_PRELOAD=") && !starts_with(*entry, "HEAPTAPE_")) {
            say("environment %s\n", *entry);
        }
    }
    char folder[4096];
    MUST(getcwd(folder, sizeof folder));
    say("folder %s\n", folder);
    for (int what = 0; what < RLIM_NLIMITS; what++) {
        struct rlimit limit;
        MUST(getrlimit(what, &limit) == 0);
        say("limit %d %llx %llx\n", what, (unsigned long long)limit.rlim_cur,
            (unsigned long long)limit.rlim_max);
    }
}

static void say_process(void) {
    int death = -1, reaper = -1;
    prctl(PR_GET_PDEATHSIG, &death);
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    say("leader %d %d, nice %d, scheduler %d, death signal %d, reaper %d, dumpable %d, slack %d\n",
        getpgrp() == getpid(), getsid(0) == getpid(), getpriority(PRIO_PROCESS, 0),
        sched_getscheduler(0), death, reaper, prctl(PR_GET_DUMPABLE), prctl(PR_GET_TIMERSLACK));
    unsigned vector = 0;
    unsigned short plain = 0;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(vector), "=m"(plain));
    say("floating point %x %x, secure %lu\n", vector & ~0x3fu, plain, getauxval(AT_SECURE));
    errno = 0;
    pid_t child = waitpid(-1, NULL, WNOHANG);
    say("children %d %d\n", child, errno);
}

static void say_all(const char *moment) {
    int error = errno;
    say("== %s, errno %d\n", moment, error);
    say_status();
    say_descriptors();
    say_signals();
    say_environment();
    say_process();
}

static void grab(int count) {
    errno = 41;
    for (int i = 0; i < count; i++) {
        sink = surroundings_grabs(16 + (size_t)i % 100);
    }
    MUST(errno == 41);
}

__attribute__((constructor)) static void before_main(void) {
    say_all("constructor");
    grab(10);
}

static void *in_thread(void *unused) {
    grab(100);
    say_all("thread");
    return unused;
}

// All signals are blocked in some threads: that must stay so.
static void *in_deaf_thread(void *unused) {
    sigset_t all;
    sigfillset(&all);
    MUST(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    grab(1000);
    say_all("deaf thread");
    return unused;
}

static void run(void *(*body)(void *)) {
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, body, NULL) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static void reap(pid_t child) {
    int status = -1;
    MUST(waitpid(child, &status, 0) == child);
    MUST(status == 0);
}

int main(int argc, char **argv) {
    say_all("main");
    grab(20000);
    say_all("main, after it allocated");
    if (argc > 1) {
        // The image that was started by the one below.
        TELL(surroundings_grabs);
        return 0;
    }
    run(in_thread);
    run(in_deaf_thread);
    say_all("main, after threads");
    pid_t child = fork();
    if (child == 0) {
        say_all("child");
        grab(100);
        say_all("child, after it allocated");
        _exit(0);
    }
    reap(child);
    child = vfork();
    if (child == 0) {
        execl(argv[0], argv[0], "image", NULL);
        _exit(9);
    }
    reap(child);
    say_all("main, after children");
    TELL(surroundings_grabs);
    return 0;
}
