// A child is interrupted within its very first call of the allocator, after a number of
// instructions, by a signal whose handler forks; and the handler's child goes on where its parent
// was.
//
//     first_event fork|raw STRIDE
//
// Each round interrupts STRIDE instructions later, until the call is over before. Both children
// then make blocks. Writes a line for each round: the process ids.
#include "target.h"
#include "heaptape.h"
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

GRAB(child_grabs)
GRAB(grandchild_grabs)

enum { TRAP_FLAG = 0x100 };
static volatile long steps_left;
static volatile int is_over, is_raw, is_grandchild;
static volatile pid_t grandchild;
static int status;
static pid_t *shared;

static pid_t make_child(void) {
    return is_raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
}

// The signal comes as soon as it may, behind this handler.
static void on_step(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    if (is_over || steps_left-- == 0) {
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        if (!is_over) {
            raise(SIGUSR1);
        }
    }
}

static void on_signal(int number) {
    (void)number;
    grandchild = make_child();
    if (grandchild == 0) {
        is_grandchild = 1;
        // Without the C library's help this is when it is seen.
        heaptape_mark("begun");
        shared[1] = (pid_t)syscall(SYS_getpid);
    } else if (waitpid(grandchild, &status, 0) != grandchild) {
        status = 1;
    }
}

static void first_event(void *block) {
    __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(TRAP_FLAG) : "cc", "memory");
    free(block);
    is_over = 1;
}

static void child(void *block) {
    first_event(block);
    if (is_grandchild) {
        grandchild_grabs(20, 300);
        _exit(0);
    }
    child_grabs(10, 200);
    if (status != 0) {
        _exit(91);
    }
    _exit(grandchild ? 0 : 1);
}

int main(int argc, char **argv) {
    is_raw = argc > 1 && !strcmp(argv[1], "raw");
    long stride = argc > 2 ? atol(argv[2]) : 100;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    struct sigaction interrupt = {.sa_handler = on_signal};
    sigaddset(&step.sa_mask, SIGUSR1);
    sigaction(SIGTRAP, &step, NULL);
    sigaction(SIGUSR1, &interrupt, NULL);
    void *block = malloc(100);
    for (long steps = 0; status == 0; steps += stride) {
        steps_left = steps;
        pid_t first = make_child();
        if (first == 0) {
            child(block);
        }
        if (waitpid(first, &status, 0) != first) {
            return 92;
        }
        if (status == 0) {
            say("%d %d\n", (int)first, (int)shared[1]);
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? 0 : 93;
}
