// For programs that know what they did: functions that count their blocks, and checks.
#pragma once
#include "target.h"
#include <errno.h>

// A function that makes one block and counts it; `TELL(NAME)` says how many blocks and bytes it
// made, in a line that the test compares with the tape.
#define MAKER(NAME)                                                                                \
    static uint64_t NAME##_blocks, NAME##_bytes;                                                   \
    FRAME void *NAME(size_t size) {                                                                \
        void *block = malloc(size);                                                                \
        if (block) {                                                                               \
            __atomic_fetch_add(&NAME##_blocks, 1, __ATOMIC_RELAXED);                               \
            __atomic_fetch_add(&NAME##_bytes, size, __ATOMIC_RELAXED);                             \
        }                                                                                          \
        KEEP_FRAME();                                                                              \
        return block;                                                                              \
    }
#define TELL(NAME)                                                                                 \
    say("made %s %llu %llu\n", #NAME, (unsigned long long)NAME##_blocks,                           \
        (unsigned long long)NAME##_bytes)

// Ends the program when a fact does not hold; the line says where.
#define MUST(FACT)                                                                                 \
    do {                                                                                           \
        if (!(FACT)) {                                                                             \
            say("%s:%d: %s does not hold, errno %d\n", __FILE__, __LINE__, #FACT, errno);          \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

// Fills a block and gives it back: whoever else has it would see.
static inline void use_and_free(void *block, size_t size) {
    memset(block, 0x5a, size);
    free(block);
}
