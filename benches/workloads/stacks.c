// Pairs of malloc and free under varied call stacks of about 14 frames: `stacks PAIRS`.
//
// One thread. A few hundred routes through eight functions recur; at the end of a route a few
// blocks are swapped for new ones in a window of 2,048, so that a block lives for 2,048 pairs.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUTES 400
#define WINDOW 2048
#define PAIRS_PER_ROUTE 8
#define NOINLINE __attribute__((noinline, noclone))

typedef uint64_t step(unsigned left, uint64_t route);

static step *const steps[8];
static unsigned char *window[WINDOW];
static unsigned next_slot;

static uint64_t scramble(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static NOINLINE uint64_t swap_blocks(uint64_t route) {
    uint64_t sum = 0;
    for (int i = 0; i < PAIRS_PER_ROUTE; i++) {
        unsigned slot = next_slot++ % WINDOW;
        free(window[slot]);
        route = scramble(route);
        window[slot] = malloc(16 + route % 240);
        window[slot][0] = (unsigned char)route;
        sum += window[slot][0];
    }
    return sum;
}

#define STEP(n) \
    static NOINLINE uint64_t step##n(unsigned left, uint64_t route) { \
        if (left == 0) return swap_blocks(route + n) + n; \
        return steps[route >> (3 * left) & 7](left - 1, route) ^ n; \
    }
STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
static step *const steps[8] = {step0, step1, step2, step3, step4, step5, step6, step7};

int main(int count, char **arguments) {
    long pairs = count > 1 ? atol(arguments[1]) : 1000000;
    uint64_t sum = 0;
    for (long i = 0; i < pairs / PAIRS_PER_ROUTE; i++) {
        uint64_t route = scramble(scramble(i) % ROUTES);
        sum += step0(6 + route % 5, route);
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
