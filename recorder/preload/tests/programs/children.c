// Children of every kind. Each mode says which blocks it allocated, by size.
#include "say.h"
#include <pthread.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;
static const char *self;

static int wait_for(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void *prepared;
static void prepare(void) { prepared = malloc(501); }
static void after(void) { free(prepared); }

static void forks(void) {
    void *inherited = malloc(600);
    pthread_atfork(prepare, after, after);
    pid_t pid = fork();
    if (pid == 0) {
        free(inherited);
        void *own = malloc(601);
        free(own);
        exit(11);
    }
    CHECK(wait_for(pid) == 11);
    // Without the C library: only the kernel knows of it.
    pid = syscall(SYS_fork);
    if (pid == 0) {
        free(inherited);
        free(malloc(602));
        _exit(12);
    }
    CHECK(wait_for(pid) == 12);
    // A child that allocates nothing.
    pid = fork();
    if (pid == 0) _exit(13);
    CHECK(wait_for(pid) == 13);
    free(inherited);
    say("own %d", getpid());
}

static void vforks(void) {
    char *const arguments[] = {(char *)self, "leaf", "700", NULL};
    for (int i = 0; i < 2; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            // This memory is the parent's, and lives on in it.
            prepared = malloc(701);
            if (i == 0) execv(self, arguments);
            _exit(14);
        }
        CHECK(wait_for(pid) == (i == 0 ? 21 : 14));
        free(prepared);
    }
    exit(15);
}

static void spawns(void) {
    char *const arguments[] = {(char *)self, "leaf", "800", NULL};
    char *const empty[] = {NULL};
    char *const some[] = {"A=1", "LD_PRELOAD=", "B=2", NULL};
    char *const off[] = {"HEAPTAPE=0", NULL};
    char *const *lists[] = {environ, empty, some, off};
    for (int i = 0; i < 4; i++) {
        pid_t pid;
        CHECK(posix_spawn(&pid, self, NULL, NULL, arguments, lists[i]) == 0);
        CHECK(wait_for(pid) == 21);
    }
    pid_t pid;
    CHECK(posix_spawn(&pid, "/nonexistent", NULL, NULL, arguments, environ) == ENOENT);
    quick_exit(16);
}

static void execs(int which) {
    char *const arguments[] = {(char *)self, "leaf", "900", NULL};
    char *many[700];
    for (int i = 0; i < 699; i++) many[i] = "FILLER=some value that nobody reads";
    many[699] = NULL;
    free(malloc(901));
    errno = 0;
    CHECK(execv("/nonexistent", arguments) == -1 && errno == ENOENT);
    CHECK(execv("/etc/passwd", arguments) == -1 && errno == EACCES);
    free(malloc(902));
    char *slash = strrchr(self, '/');
    switch (which) {
    case 0: execv(self, arguments); break;
    case 1: execve(self, arguments, (char *const[]){NULL}); break;
    case 2: execl(self, self, "leaf", "900", NULL); break;
    case 3: execle(self, self, "leaf", "900", "1", "2", "3", "4", "5", NULL, many); break;
    case 4: setenv("PATH", "/nonexistent:/usr/bin", 1), chdir("/");
            execlp("env", "env", self, "leaf", "900", NULL); break;
    case 5: execvp(self, arguments); break;
    case 6: execvpe(self, arguments, many); break;
    case 7: fexecve(open(self, 0), arguments, environ); break;
    case 8: execveat(AT_FDCWD, self, arguments, environ, 0); break;
    case 9: syscall(SYS_execve, self, arguments, environ); break;
    case 10: execveat(open(self, 0), "", arguments, environ, AT_EMPTY_PATH); break;
    }
    say("failed: exec %d: %s", which, strerror(errno));
    _exit(97);
}

int main(int count, char **arguments) {
    self = arguments[0];
    if (!strcmp(arguments[1], "leaf")) {
        free(malloc(atoi(arguments[2])));
        return 21;
    }
    if (!strcmp(arguments[1], "forks")) forks();
    if (!strcmp(arguments[1], "vforks")) vforks();
    if (!strcmp(arguments[1], "spawns")) spawns();
    if (!strcmp(arguments[1], "execs")) execs(atoi(arguments[2]));
    return 0;
}
