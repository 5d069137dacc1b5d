/* Frames of many shapes in C, built without frame pointers. Each shape lays its stack out in its
 * own way and then goes on to `descend`, which picks the next shape or takes the stack. */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*descend_fn)(uint32_t depth, uint64_t seed);

/* Keeps a call from becoming a tail call, and a buffer from vanishing. */
#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

void shape_plain(uint32_t depth, uint64_t seed, descend_fn descend) {
    char local[24];
    KEEP(local);
    descend(depth, seed);
    KEEP(local);
}

void shape_alloca(uint32_t depth, uint64_t seed, descend_fn descend) {
    char *block = alloca(16 + seed % 4096);
    block[0] = 1;
    KEEP(block);
    descend(depth, seed);
    KEEP(block);
}

void shape_variable_array(uint32_t depth, uint64_t seed, descend_fn descend) {
    uint64_t array[1 + seed % 300];
    array[0] = seed;
    KEEP(array);
    for (int round = 0; round < 2; round++) {
        uint64_t inner[2 + round + seed % 7];
        inner[0] = seed;
        KEEP(inner);
        if (round == 1) descend(depth, seed + inner[0] - array[0]);
        KEEP(inner);
    }
}

/* Realigned by way of rbp alone. */
void shape_aligned(uint32_t depth, uint64_t seed, descend_fn descend) {
    _Alignas(64) char local[128];
    local[0] = (char)seed;
    KEEP(local);
    descend(depth, seed);
    KEEP(local);
}

/* Arguments on the stack and an aligned local: the compiler keeps the old stack pointer in a
 * register and in a word of the frame. */
__attribute__((noinline)) static void many_arguments(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                                     uint64_t e, uint64_t f, uint32_t depth,
                                                     uint64_t seed, descend_fn descend) {
    _Alignas(64) uint64_t local[16];
    char *block = alloca(8 + seed % 512);
    local[0] = a + b + c + d + e + f;
    KEEP(local);
    KEEP(block);
    descend(depth, seed);
    KEEP(local);
}

void shape_realigned(uint32_t depth, uint64_t seed, descend_fn descend) {
    many_arguments(1, 2, 3, 4, 5, seed, depth, seed, descend);
    KEEP(descend);
}

__attribute__((noinline)) static void variadic(int count, ...) {
    va_list list;
    va_start(list, count);
    double sum = 0;
    for (int i = 0; i < count; i++) sum += va_arg(list, double);
    uint32_t depth = va_arg(list, uint32_t);
    uint64_t seed = va_arg(list, uint64_t);
    descend_fn descend = va_arg(list, descend_fn);
    KEEP(&sum);
    descend(depth, seed);
    KEEP(&sum);
    va_end(list);
}

void shape_variadic(uint32_t depth, uint64_t seed, descend_fn descend) {
    variadic(3, 1.0, 2.0, 3.0, depth, seed, descend);
    KEEP(descend);
}

void shape_large_frame(uint32_t depth, uint64_t seed, descend_fn descend) {
    char local[20000];
    local[0] = 1;
    KEEP(local);
    descend(depth, seed);
    KEEP(local);
}

static __thread struct {
    uint32_t depth;
    uint64_t seed;
    descend_fn descend;
    int is_done;
} pending;

static int compare(const void *left, const void *right) {
    if (!pending.is_done) {
        pending.is_done = 1;
        pending.descend(pending.depth, pending.seed);
    }
    return *(const int *)left - *(const int *)right;
}

void shape_sort(uint32_t depth, uint64_t seed, descend_fn descend) {
    int numbers[6] = {3, 1, 2, 6, 5, 4};
    pending.depth = depth;
    pending.seed = seed;
    pending.descend = descend;
    pending.is_done = 0;
    qsort(numbers, 6, sizeof *numbers, compare);
    KEEP(numbers);
}

__attribute__((noinline)) static uint64_t recurse(uint32_t levels, uint32_t depth, uint64_t seed,
                                                  descend_fn descend) {
    if (levels == 0) {
        descend(depth, seed);
        return 1;
    }
    uint64_t below = recurse(levels - 1, depth, seed, descend);
    KEEP(&below);
    return below + 1;
}

void shape_recursion(uint32_t depth, uint64_t seed, descend_fn descend) {
    KEEP(recurse(seed % 6, depth, seed, descend));
}

/* Registers are all taken, so every callee-saved one is saved. */
void shape_pressure(uint32_t depth, uint64_t seed, descend_fn descend) {
    volatile uint64_t source[8] = {seed, 2, 3, 4, 5, 6, 7, 8};
    uint64_t a = source[0], b = source[1], c = source[2], d = source[3];
    uint64_t e = source[4], f = source[5], g = source[6], h = source[7];
    descend(depth, seed);
    source[0] = a + b;
    source[1] = b + c;
    source[2] = c * d;
    source[3] = d + e;
    source[4] = e * f;
    source[5] = f + g;
    source[6] = g + h;
    source[7] = h + a;
}

__attribute__((noinline, noreturn)) static void leave(uint32_t depth, uint64_t seed,
                                                      descend_fn descend, jmp_buf target) {
    descend(depth, seed);
    longjmp(target, 1);
}

/* A call that never returns is the last instruction of its function. */
void shape_long_jump(uint32_t depth, uint64_t seed, descend_fn descend) {
    jmp_buf target;
    if (setjmp(target) == 0) leave(depth, seed, descend, target);
    KEEP(&target);
}

static void once(void) { pending.descend(pending.depth, pending.seed); }

void shape_once(uint32_t depth, uint64_t seed, descend_fn descend) {
    pthread_once_t control = PTHREAD_ONCE_INIT;
    pending.depth = depth;
    pending.seed = seed;
    pending.descend = descend;
    pthread_once(&control, once);
    KEEP(&control);
}

/* The handler of SIGUSR1 goes on with what is pending. */
void shape_signal(uint32_t depth, uint64_t seed, descend_fn descend) {
    pending.depth = depth;
    pending.seed = seed;
    pending.descend = descend;
    raise(SIGUSR1);
    KEEP(&pending);
}

void handle_signal(int signal) {
    (void)signal;
    pending.descend(pending.depth, pending.seed);
    KEEP(&pending);
}

/* Work without a stack taken: what is interrupted at every instruction. */
static int by_value(const void *left, const void *right) {
    return *(const int *)left < *(const int *)right ? -1 : 1;
}

__attribute__((noinline)) static uint64_t busy_arguments(uint64_t a, uint64_t b, uint64_t c,
                                                         uint64_t d, uint64_t e, uint64_t f,
                                                         uint64_t g, uint64_t h) {
    _Alignas(64) uint64_t local[8];
    char *block = alloca(8 + h % 64);
    local[h % 8] = a + b + c + d + e + f + g;
    KEEP(local);
    KEEP(block);
    return local[h % 8];
}

__attribute__((noinline)) static uint64_t busy_recursion(uint32_t levels, uint64_t seed) {
    if (levels == 0) return busy_arguments(1, 2, 3, 4, 5, 6, seed, levels);
    uint64_t one = busy_recursion(levels - 1, seed + 1);
    uint64_t two = levels % 3 == 0 ? busy_recursion(levels - 1, seed + 2) : seed;
    return one * 31 + two;
}

uint64_t busy_work(uint64_t seed) {
    int numbers[9];
    char text[64];
    for (int i = 0; i < 9; i++) numbers[i] = (int)((seed * 7919 + (uint64_t)i * 104729) % 1000);
    qsort(numbers, 9, sizeof *numbers, by_value);
    memset(text, 'x', sizeof text);
    text[seed % 60] = 0;
    uint64_t sum = strlen(text) + (uint64_t)numbers[0];
    KEEP(numbers);
    KEEP(text);
    return sum + busy_recursion(5, seed);
}
