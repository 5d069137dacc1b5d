// The same pair of malloc and free again and again: `pair SHAPE DEPTH PAIRS`, for counting.
//
// `fixed`: DEPTH calls once, then all pairs from there. `rebuilt`: DEPTH calls for each pair.
// `sites`: DEPTH calls once, then pairs in turn from eight places, up to two calls further down.
// `walk`: a random walk through a tree of calls DEPTH deep, a pair at each leaf.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone, noipa))

static long left;
static uint64_t seed = 1;
static uintptr_t sum;

static NOINLINE void pair(void) {
    void *block = malloc(48);
    sum += (uintptr_t)block & 15;
    free(block);
    left--;
}

static NOINLINE int fixed(int depth) {
    if (depth > 0) return fixed(depth - 1) + 1;
    while (left > 0) pair();
    return 0;
}

static NOINLINE int down(int depth) {
    if (depth > 0) return down(depth - 1) + 1;
    pair();
    return 0;
}

static NOINLINE int site(int place) {
    switch (place) {
    case 0: return pair(), 1;
    case 1: return pair(), 2;
    case 2: return pair(), 3;
    case 3: return pair(), 4;
    default: return site(place - 4) + 1;
    }
}

static NOINLINE int sites(int depth) {
    if (depth > 0) return sites(depth - 1) + 1;
    int found = 0;
    for (int place = 0; left > 0; place = (place + 1) & 7) found += site(place);
    return found;
}

static NOINLINE int walk(int depth) {
    if (left <= 0) return 0;
    if (depth == 0) return pair(), 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    int is_second = seed >> 62 & 1, found;
    if (seed >> 63) found = walk(depth - 1) + 1;
    else found = walk(depth - 1) + 2;
    if (is_second) found += walk(depth - 1);
    return found + 1;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int depth = atoi(arguments[2]);
    left = atol(arguments[3]);
    if (!strcmp(arguments[1], "fixed")) fixed(depth);
    else if (!strcmp(arguments[1], "rebuilt")) while (left > 0) down(depth);
    else if (!strcmp(arguments[1], "sites")) sites(depth);
    else if (!strcmp(arguments[1], "walk")) while (left > 0) walk(depth);
    else return 2;
    printf("%d\n", (int)(sum & 15));
    return 0;
}
