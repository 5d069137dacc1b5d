// Interrupts the recorder after each of its instructions, by the processor's single steps: the
// handler allocates there itself, or leaves by longjmp.
#include "say.h"
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static uintptr_t low, high;
static volatile long inside, allocated;
static volatile long leave_at = -1;
// The handler lets so many instructions pass at first.
static volatile long patience;
static sigjmp_buf away;

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    if (!strstr(info->dlpi_name, "libheaptape.so")) return 0;
    low = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
        if (header->p_type == PT_LOAD && end > high) high = end;
    }
    return 1;
}

static void stepped(int signal, siginfo_t *info, void *context) {
    uintptr_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    // In the real allocator a handler must not allocate; that is the program's duty.
    if (at < low || at >= high) return;
    if (++inside < patience) return;
    if (leave_at == inside) siglongjmp(away, 1);
    if (leave_at >= 0) return;
    void *block = malloc(777);
    free(block);
    allocated++;
}

#define STEP_ON() __asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq" ::: "memory", "cc")
#define STEP_OFF() __asm__ volatile("pushfq\n andq $~0x100, (%%rsp)\n popfq" ::: "memory", "cc")

static void calls(void) {
    void *volatile block = malloc(10);
    block = realloc(block, 20);
    free(block);
    block = calloc(2, 3);
    free(block);
    block = memalign(64, 5);
    free(block);
}

// A thread whose first event is interrupted everywhere.
static void *be_born(void *argument) {
    STEP_ON();
    void *volatile block = malloc(10);
    STEP_OFF();
    free(block);
    return NULL;
}

int main(int count, char **arguments) {
    dl_iterate_phdr(visit, NULL);
    CHECK(high != 0 || count > 2);
    struct sigaction action = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
    static char stack[1 << 16];
    if (arguments[1][0] == 'a') {
        stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
        sigaltstack(&other, NULL);
        action.sa_flags |= SA_ONSTACK;
    }
    sigaction(SIGTRAP, &action, NULL);
    if (arguments[1][0] == 'b') {
        pthread_t thread;
        // By then the birth is under way; the handler's own call would be a birth before.
        patience = 100;
        pthread_create(&thread, NULL, be_born, NULL);
        pthread_join(thread, NULL);
        say("allocated %ld", allocated);
        return 0;
    }
    if (arguments[1][0] != 'l') {
        calls();
        STEP_ON();
        calls();
        STEP_OFF();
        say("allocated %ld", allocated);
        return 0;
    }
    // Leaves the recorder at each of the first instructions in turn, and goes on allocating.
    action.sa_flags |= SA_NODEFER;
    sigaction(SIGTRAP, &action, NULL);
    calls();
    long survived = 0;
    for (long at = 1; at <= 60; at++) {
        inside = 0;
        leave_at = at;
        if (sigsetjmp(away, 1) == 0) {
            STEP_ON();
            free(malloc(10));
            STEP_OFF();
            say("did not leave");
            return 1;
        }
        STEP_OFF();
        leave_at = -1;
        free(malloc(4321));
        survived++;
    }
    say("survived %ld", survived);
    return 0;
}
