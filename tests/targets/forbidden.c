// Forbids itself things, and goes on with what is left to it.
//
//     forbidden BAN ACT…
//
// Each act allocates in a function of its own, a known number of blocks that are never freed.
#include "target.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

GRAB(before_grabs)
GRAB(after_grabs)
GRAB(thread_grabs)
GRAB(child_grabs)
GRAB(parent_grabs)
GRAB(other_grabs)

static struct sock_filter code[256];
static unsigned short count;

static void emit(unsigned short operation, unsigned char yes, unsigned char no, unsigned value) {
    code[count++] = (struct sock_filter){operation, yes, no, value};
}

// A filter that says `named` to the calls of the list, and `other` to all others.
static struct sock_fprog filter(const int *calls, unsigned named, unsigned other) {
    count = 0;
    emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
    emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
    emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
    for (; *calls >= 0; calls++) {
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)*calls);
        emit(BPF_RET | BPF_K, 0, 0, named);
    }
    emit(BPF_RET | BPF_K, 0, 0, other);
    return (struct sock_fprog){count, code};
}

// What is left to a program that allocates, starts threads and children, and waits for them.
static const int needed[] = {
    SYS_write, SYS_brk, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_clone,
    SYS_clone3, SYS_set_robust_list, SYS_rseq, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_wait4,
    SYS_getrandom, SYS_sched_getaffinity, SYS_exit, SYS_exit_group, -1};
// What is left to one that only allocates.
static const int few[] = {SYS_write, SYS_brk, SYS_mmap, SYS_munmap, SYS_exit_group, -1};
// What a recorder could want.
static const int unneeded[] = {
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_nanosleep, SYS_kill, SYS_sigaltstack, SYS_readlink,
    SYS_fgetxattr, SYS_faccessat, SYS_geteuid, SYS_getegid, SYS_prctl, SYS_getcwd, SYS_openat,
    SYS_close, SYS_pread64, -1};
// As before, but what a program needs that is loaded.
static const int unneeded_by_loader[] = {
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_nanosleep, SYS_kill, SYS_sigaltstack, SYS_readlink,
    SYS_fgetxattr, SYS_faccessat, SYS_geteuid, SYS_getegid, SYS_prctl, SYS_getcwd, -1};

static long install(struct sock_fprog program, int by_syscall, unsigned flags) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        return -1;
    }
    return by_syscall ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program)
                      : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static const unsigned allow = SECCOMP_RET_ALLOW, death = SECCOMP_RET_KILL_PROCESS;
static const unsigned refusal = SECCOMP_RET_ERRNO | EPERM;

// Calls that fail, and so forbid nothing.
static long fail_to_forbid(void) {
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL);
    say("strict with a flag %ld %d\n", result, errno);
    result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0);
    say("no filter %ld %d\n", result, errno);
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1u << 31, &(struct sock_fprog){0});
    say("a filter with unknown flags %ld %d\n", result, errno);
    struct sock_fprog program = filter(few, allow, death);
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1u << 31, &program);
    say("a good one with unknown flags %ld %d\n", result, errno);
    result = prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
    say("the counter stays %ld\n", result);
    result = syscall(SYS_prctl, PR_SET_NAME, "renamed", 0, 0, 0);
    say("a name %ld\n", result);
    return 0;
}

static long forbid(const char *ban) {
    if (!strcmp(ban, "nothing")) {
        return fail_to_forbid();
    } else if (!strcmp(ban, "counter")) {
        return prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    } else if (!strcmp(ban, "counter-by-syscall")) {
        return syscall(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    } else if (!strcmp(ban, "strict")) {
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
    } else if (!strcmp(ban, "strict-by-syscall")) {
        return syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
    } else if (!strcmp(ban, "all-but-few")) {
        return install(filter(few, allow, death), 0, 0);
    } else if (!strcmp(ban, "all-but-needed")) {
        return install(filter(needed, allow, death), 0, 0);
    } else if (!strcmp(ban, "all-but-needed-by-syscall")) {
        return install(filter(needed, allow, death), 1, 0);
    } else if (!strcmp(ban, "all-but-needed-trap")) {
        return install(filter(needed, allow, SECCOMP_RET_TRAP), 1, 0);
    } else if (!strcmp(ban, "threads")) {
        return install(filter(needed, allow, death), 1, SECCOMP_FILTER_FLAG_TSYNC);
    } else if (!strcmp(ban, "threads-few")) {
        static const int calls[] = {SYS_write,    SYS_brk,   SYS_mmap,       SYS_munmap,
                                    SYS_mprotect, SYS_futex, SYS_exit_group, -1};
        return install(filter(calls, allow, death), 1, SECCOMP_FILTER_FLAG_TSYNC);
    } else if (!strcmp(ban, "unneeded")) {
        return install(filter(unneeded, death, allow), 1, 0);
    } else if (!strcmp(ban, "unneeded-by-loader")) {
        return install(filter(unneeded_by_loader, death, allow), 1, 0);
    } else if (!strcmp(ban, "unneeded-fail")) {
        return install(filter(unneeded, refusal, allow), 1, 0);
    } else if (!strcmp(ban, "sleep")) {
        static const int calls[] = {SYS_nanosleep, SYS_clock_nanosleep, -1};
        return install(filter(calls, death, allow), 1, 0);
    } else if (!strcmp(ban, "-")) {
        return 0;
    } else if (!strcmp(ban, "twice")) {
        static const int first[] = {SYS_nanosleep, -1}, second[] = {SYS_getpid, -1};
        return install(filter(first, death, allow), 1, 0) ||
               install(filter(second, death, allow), 0, 0);
    }
    return -1;
}

static void *in_thread(void *unused) {
    (void)unused;
    thread_grabs(40, 30);
    return NULL;
}

enum { OTHERS = 200000 };
static volatile int made;

// Allocates while its process forbids itself something, then never comes back.
static void *other(void *unused) {
    (void)unused;
    while (made < OTHERS) {
        other_grabs(10, 16);
        made += 10;
    }
    for (;;) {
        syscall(SYS_futex, &made, FUTEX_WAIT_PRIVATE, OTHERS, NULL, NULL, 0);
    }
    return NULL;
}

static int status_of(pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Blocks under 2^depth different stacks.
FRAME void branch(int depth) {
    if (depth == 0) {
        free(malloc(24));
        return;
    }
    branch(depth - 1);
    KEEP_FRAME();
    branch(depth - 1);
    KEEP_FRAME();
}

static void act(char **words) {
    const char *what = *words;
    if (!strcmp(what, "after")) {
        after_grabs(200, 50);
        say("after\n");
    } else if (!strcmp(what, "branches")) {
        branch(16);
        say("branches\n");
    } else if (!strcmp(what, "thread")) {
        pthread_t thread;
        int result = pthread_create(&thread, NULL, in_thread, NULL);
        say("thread %d %d\n", result, pthread_join(thread, NULL));
    } else if (!strcmp(what, "fork")) {
        pid_t pid = fork();
        if (pid == 0) {
            child_grabs(30, 20);
            exit(3);
        }
        say("child %d\n", status_of(pid));
    } else if (!strcmp(what, "vfork-forbid")) {
        // The child's own ban, and another image in its place.
        pid_t pid = vfork();
        if (pid == 0) {
            if (forbid(words[1])) {
                _exit(80);
            }
            execv(words[2], words + 2);
            _exit(81);
        }
        parent_grabs(10, 5);
        say("image %d\n", status_of(pid));
    } else if (!strcmp(what, "vfork-end")) {
        pid_t pid = vfork();
        if (pid == 0) {
            _exit(forbid(words[1]) ? 80 : 9);
        }
        parent_grabs(10, 5);
        say("ended %d\n", status_of(pid));
    } else if (!strcmp(what, "exec")) {
        execv(words[1], words + 1);
        say("not there %d\n", errno);
    } else if (!strcmp(what, "exit")) {
        exit(5);
    } else if (!strcmp(what, "_exit")) {
        _exit(6);
    } else if (!strcmp(what, "raw-exit")) {
        syscall(SYS_exit, 7);
    }
}

int main(int argc, char **argv) {
    const char *ban = argc > 1 ? argv[1] : "";
    int has_other = !strncmp(ban, "threads", 7);
    before_grabs(300, 100);
    if (has_other) {
        pthread_t thread;
        pthread_create(&thread, NULL, other, NULL);
        while (made < 1000) {
        }
    }
    long result = forbid(ban);
    say("%s %ld\n", ban, result);
    while (has_other && made < OTHERS) {
    }
    for (int i = 2; i < argc; i++) {
        act(argv + i);
        if (!strncmp(argv[i], "vfork", 5)) {
            break; // The rest is the child's.
        }
    }
    return 11;
}
