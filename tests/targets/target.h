// Shared by the target programs: no heap is used here.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// A function that stays a frame of its own, and calls that are never turned into jumps.
#define FRAME __attribute__((noinline, noipa))
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

// Where blocks go that are not used.
static void *volatile sink __attribute__((unused));

// A function that allocates COUNT blocks of SIZE bytes and never frees them.
#define GRAB(NAME)                                                                                 \
    FRAME void NAME(int count, size_t size) {                                                      \
        for (int i = 0; i < count; i++) {                                                          \
            sink = malloc(size);                                                                   \
        }                                                                                          \
        KEEP_FRAME();                                                                              \
    }

static inline uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Zeroed memory that is not from the heap.
static inline void *mapped(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        abort();
    }
    return p;
}

// Writes a line without the heap.
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...) {
    char line[1024];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    __builtin_va_end(arguments);
    for (int done = 0; done < length;) {
        ssize_t n = write(1, line + done, (size_t)(length - done));
        if (n <= 0) {
            abort();
        }
        done += (int)n;
    }
}
