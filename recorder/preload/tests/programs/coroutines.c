/* Stacks that the program switches itself. Each coroutine goes down some frames, takes the stack,
 * yields to the next one in the middle, and goes on when its turn comes again. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

typedef void (*descend_fn)(uint32_t depth, uint64_t seed);

enum { COROUTINES = 4, STACK_BYTES = 1 << 18 };

static __thread ucontext_t contexts[COROUTINES], scheduler;
static __thread descend_fn descend_next;
static __thread int current;

static void yield(void) { swapcontext(&contexts[current], &scheduler); }

__attribute__((noinline)) static void level(uint32_t depth, uint64_t seed) {
    volatile char local[48];
    local[0] = (char)depth;
    if (depth == 0) {
        descend_next(6, seed);
        yield();
        descend_next(3, seed + 1);
        return;
    }
    level(depth - 1, seed * 31 + depth);
    yield();
    descend_next(2, seed + local[0]);
}

static void body(uint32_t depth, uint32_t seed) { level(depth, seed); }

void run_coroutines(uint64_t seed, descend_fn descend) {
    char *stacks[COROUTINES];
    int is_done[COROUTINES] = {0};
    descend_next = descend;
    for (int i = 0; i < COROUTINES; i++) {
        /* Of changing sizes, so that stacks come and go at overlapping addresses. */
        size_t bytes = STACK_BYTES * (1 + (seed + (uint64_t)i) % 3);
        stacks[i] = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i];
        contexts[i].uc_stack.ss_size = bytes;
        contexts[i].uc_link = &scheduler;
        makecontext(&contexts[i], (void (*)(void))body, 2, (uint32_t)(3 + i), (uint32_t)seed + i);
    }
    for (int turn = 0; turn < 12; turn++) {
        for (current = 0; current < COROUTINES; current++) {
            if (turn > current + 4) is_done[current] = 1;
            if (!is_done[current]) swapcontext(&scheduler, &contexts[current]);
        }
    }
    for (int i = 0; i < COROUTINES; i++)
        munmap(stacks[i], STACK_BYTES * (1 + (seed + (uint64_t)i) % 3));
}
