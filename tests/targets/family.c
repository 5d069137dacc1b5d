// One program for every way to make a process. Each role allocates in a function of its own, a
// known number of blocks, which are never freed unless the role says so.
//
//     family ROLE [ARGUMENTS…]
#include "target.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

GRAB(parent_grabs)
GRAB(child_grabs)
GRAB(vfork_child_grabs)
GRAB(after_exec_grabs)
GRAB(after_child_grabs)

static int status_of(pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) {
        _exit(90);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The child frees what it inherited, allocates, and leaves by the way that ENDING names.
static void child(const char *ending, void **inherited, int count) {
    child_grabs(300, 200);
    for (int i = 0; i < count; i++) {
        free(inherited[i]);
    }
    if (!strcmp(ending, "exit")) {
        exit(3);
    } else if (!strcmp(ending, "_exit")) {
        _exit(4);
    } else if (!strcmp(ending, "raw")) {
        syscall(SYS_exit_group, 5);
    } else if (!strcmp(ending, "kill")) {
        raise(SIGKILL);
    } else if (!strcmp(ending, "abort")) {
        raise(SIGTERM);
    }
    _exit(91);
}

static pid_t make_child(const char *how) {
    if (!strcmp(how, "clone")) {
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    }
    return !strcmp(how, "_Fork") ? _Fork() : fork();
}

// `fork HOW ENDING`: a child that works, in an image of its own process. `slow-fork`: it sleeps
// before its end, so that it is surely noticed while it lives.
static int role_fork(const char *how, const char *ending, int is_slow) {
    parent_grabs(100, 50);
    void *inherited[10];
    for (int i = 0; i < 10; i++) {
        inherited[i] = malloc(1000);
    }
    pid_t pid = make_child(how);
    if (pid == 0) {
        if (is_slow) {
            child_grabs(1, 1);
            usleep(400 * 1000);
        }
        child(ending, inherited, 10);
    }
    int code = status_of(pid);
    after_child_grabs(20, 70);
    say("child %d\n", code);
    return 0;
}

static int role_exec(char **argv) {
    parent_grabs(100, 50);
    execvp(argv[0], argv);
    return 127;
}

static int role_fork_exec(char **argv) {
    parent_grabs(100, 50);
    pid_t pid = fork();
    if (pid == 0) {
        child_grabs(30, 20);
        execvp(argv[0], argv);
        _exit(127);
    }
    say("child %d\n", status_of(pid));
    return 0;
}

// The child of vfork runs on its parent's memory: what it allocates is the parent's.
static int role_vfork(char **argv) {
    parent_grabs(100, 50);
    pid_t pid = vfork();
    if (pid == 0) {
        vfork_child_grabs(40, 60);
        if (argv[0]) {
            execvp(argv[0], argv);
        }
        _exit(7);
    }
    int code = status_of(pid);
    after_child_grabs(20, 70);
    say("child %d\n", code);
    return 0;
}

static int role_spawn(char **argv) {
    parent_grabs(100, 50);
    for (int i = 0; i < 3; i++) {
        pid_t pid;
        int error = i % 2 ? posix_spawn(&pid, argv[0], NULL, NULL, argv, environ)
                          : posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
        if (error) {
            return 1;
        }
        say("child %d\n", status_of(pid));
    }
    return 0;
}

// exec that fails leaves the program as it was, and recorded.
static int role_failed_exec(void) {
    parent_grabs(100, 50);
    char *none[] = {"nothing", NULL};
    if (execv("/nonexistent/program", none) != -1 || errno != ENOENT) {
        return 1;
    }
    after_exec_grabs(60, 40);
    say("still here\n");
    return 0;
}

// `daemon FILE MILLISECONDS`: forks twice; the grandchild works on after all others have ended.
static int role_daemon(const char *file, int milliseconds) {
    parent_grabs(100, 50);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            // A daemon holds none of its caller's descriptors.
            for (int fd = 0; fd < 3; fd++) {
                close(fd);
            }
            usleep((useconds_t)milliseconds * 1000);
            child_grabs(300, 200);
            FILE *f = fopen(file, "w");
            fputs("done\n", f);
            fclose(f);
            _exit(0);
        }
        _exit(0);
    }
    say("child %d\n", status_of(pid));
    return 0;
}

int main(int argc, char **argv) {
    const char *role = argc > 1 ? argv[1] : "";
    if (!strcmp(role, "fork")) {
        return role_fork(argv[2], argv[3], 0);
    } else if (!strcmp(role, "slow-fork")) {
        return role_fork(argv[2], argv[3], 1);
    } else if (!strcmp(role, "exec")) {
        return role_exec(argv + 2);
    } else if (!strcmp(role, "fork-exec")) {
        return role_fork_exec(argv + 2);
    } else if (!strcmp(role, "vfork")) {
        return role_vfork(argv + 2);
    } else if (!strcmp(role, "spawn")) {
        return role_spawn(argv + 2);
    } else if (!strcmp(role, "failed-exec")) {
        return role_failed_exec();
    } else if (!strcmp(role, "daemon")) {
        return role_daemon(argv[2], atoi(argv[3]));
    } else if (!strcmp(role, "work")) {
        after_exec_grabs(500, 30);
        return argc > 2 ? atoi(argv[2]) : 0;
    }
    return 2;
}
