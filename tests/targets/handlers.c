// Signal handlers that allocate: raised, sent by a timer between the calls of the allocator, on
// the thread's own stack and on alternate ones of few bytes with a forbidden page below.
//
//     handlers raised|timer|tiny BYTES
//
// BYTES are what a tiny stack has beyond what the kernel itself needs.
#include "known.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

MAKER(handler_makes)
MAKER(main_makes)

// The C library's allocator must not be interrupted by a handler that allocates: that is the
// program's duty. All else may be.
static volatile sig_atomic_t is_inside;
static volatile int handled;

static void on_signal(int number) {
    if (!is_inside) {
        int error = errno;
        errno = 77;
        void *block = handler_makes(50 + (size_t)number);
        MUST(block && errno == 77);
        use_and_free(block, 50);
        sink = handler_makes(20);
        MUST(errno == 77);
        errno = error;
    }
    handled++;
}

static void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    MUST(sigaction(number, &action, NULL) == 0);
}

static void make_and_free(size_t size) {
    is_inside = 1;
    void *block = main_makes(size);
    use_and_free(block, size);
    is_inside = 0;
}

static void raised(void) {
    handle(SIGUSR1, 0);
    handle(SIGUSR2, SA_NODEFER | SA_RESTART);
    for (int i = 0; i < 500; i++) {
        raise(i % 2 ? SIGUSR1 : SIGUSR2);
        make_and_free(30);
    }
    MUST(handled == 500);
}

static void by_timer(void) {
    handle(SIGALRM, SA_RESTART);
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    MUST(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (handled < 300) {
        for (int i = 0; i < 100; i++) {
            make_and_free(40);
        }
        for (volatile int i = 0; i < 20000; i++) {
        }
    }
    MUST(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

// A stack of `bytes` whose overflow is deadly.
static char *guarded(size_t bytes) {
    size_t pages = (bytes + 4095) / 4096 * 4096;
    char *memory = mapped(pages + 4096);
    MUST(mprotect(memory, 4096, PROT_NONE) == 0);
    return memory + 4096;
}

static size_t stack_bytes;

// The thread's very first call that a recorder could see is the handler's.
static void *on_tiny_stack(void *memory) {
    stack_t stack = {.ss_sp = memory, .ss_size = stack_bytes};
    MUST(sigaltstack(&stack, NULL) == 0);
    raise(SIGUSR1);
    for (int i = 0; i < 20; i++) {
        make_and_free(60);
        raise(SIGUSR1);
    }
    return NULL;
}

static void tiny(size_t bytes) {
    handle(SIGUSR1, SA_ONSTACK);
    stack_bytes = (size_t)sysconf(_SC_MINSIGSTKSZ) + bytes;
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, on_tiny_stack, guarded(stack_bytes)) == 0);
        MUST(pthread_join(thread, NULL) == 0);
    }
    MUST(handled == 210);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "raised")) {
        raised();
    } else if (!strcmp(how, "timer")) {
        by_timer();
    } else if (!strcmp(how, "tiny")) {
        tiny(argc > 2 ? (size_t)atoi(argv[2]) : 0);
    }
    TELL(handler_makes);
    TELL(main_makes);
    return 6;
}
