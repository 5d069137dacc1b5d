// Coroutines on small stacks, with a forbidden page below each, that allocate, hand blocks to one
// another and free them in turn; several threads run some each. Some go into a library that was
// loaded a moment ago and never allocated before.
//
//     coroutines STACK_BYTES LIBRARY
#include "known.h"
#include <dlfcn.h>
#include <pthread.h>
#include <ucontext.h>

enum { COROUTINES = 16, TURNS = 50, THREADS = 3, LOADS = 20 };
MAKER(coroutine_makes)
MAKER(coroutine_keeps)

static size_t stack_bytes;
static __thread ucontext_t main_context, contexts[COROUTINES];
static __thread void *handed[COROUTINES];
static __thread void (*in_library)(int);
static __thread int is_done[COROUTINES];

static void yield(int number) { MUST(swapcontext(&contexts[number], &main_context) == 0); }

// Goes down some frames, and yields there.
FRAME static void level(int number, int depth) {
    if (depth > 0) {
        level(number, depth - 1);
        KEEP_FRAME();
        return;
    }
    int other = (number + 1) % COROUTINES;
    void *block = handed[number];
    handed[number] = NULL;
    free(block);
    block = coroutine_makes(24 + (size_t)number);
    yield(number);
    memset(block, number, 24);
    if (handed[other] == NULL) {
        handed[other] = block;
    } else {
        free(block);
    }
    yield(number);
}

static void body(int number) {
    for (int turn = 0; turn < TURNS; turn++) {
        level(number, turn % 4);
        sink = coroutine_keeps(10);
    }
    is_done[number] = 1;
    // Back to the thread by uc_link.
}

static void library_body(void) { in_library(3); }

static void *guarded_stack(void) {
    char *memory = mapped(4096 + (stack_bytes + 4095) / 4096 * 4096);
    MUST(mprotect(memory, 4096, PROT_NONE) == 0);
    return memory + 4096;
}

static void begin(ucontext_t *context, void *stack, void (*run)(void), int number) {
    MUST(getcontext(context) == 0);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = stack_bytes;
    context->uc_link = &main_context;
    makecontext(context, run, 1, number);
}

// Its first call that a recorder could see comes from a coroutine.
static void *in_thread(void *stacks) {
    for (int i = 0; i < COROUTINES; i++) {
        begin(&contexts[i], ((void **)stacks)[i], (void (*)(void))body, i);
    }
    for (int left = COROUTINES; left > 0;) {
        left = 0;
        for (int i = 0; i < COROUTINES; i++) {
            if (!is_done[i]) {
                MUST(swapcontext(&main_context, &contexts[i]) == 0);
                left += !is_done[i];
            }
        }
    }
    for (int i = 0; i < COROUTINES; i++) {
        free(handed[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    MUST(argc == 3);
    stack_bytes = (size_t)atoi(argv[1]);
    pthread_t threads[THREADS];
    static void *stacks[THREADS][COROUTINES];
    for (int i = 0; i < THREADS; i++) {
        for (int k = 0; k < COROUTINES; k++) {
            stacks[i][k] = guarded_stack();
        }
        MUST(pthread_create(&threads[i], NULL, in_thread, stacks[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    void *stack = guarded_stack();
    for (int i = 0; i < LOADS; i++) {
        void *library = dlopen(argv[2], RTLD_NOW);
        MUST(library);
        *(void **)&in_library = dlsym(library, "plugin_made");
        MUST(in_library);
        ucontext_t context;
        begin(&context, stack, library_body, 0);
        MUST(swapcontext(&main_context, &context) == 0);
        MUST(dlclose(library) == 0);
    }
    TELL(coroutine_makes);
    TELL(coroutine_keeps);
    say("made plugin_made %d %d\n", 3 * LOADS, 3 * LOADS * 100);
    return 7;
}
