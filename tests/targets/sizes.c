// Blocks of unusual sizes, one function each; writes `NAME BYTES BLOCKS` of what lives at the mark.
#include "heaptape.h"
#include "target.h"

static void *volatile keep[64];
static int kept;

#define GRAB_SIZED(NAME, SIZE)                                                                     \
    FRAME void NAME(int count) {                                                                   \
        unsigned long long bytes = 0;                                                              \
        int blocks = 0;                                                                            \
        for (int i = 0; i < count; i++) {                                                          \
            void *p = malloc(SIZE);                                                                \
            if (p) {                                                                               \
                keep[kept++] = p;                                                                  \
                bytes += SIZE;                                                                     \
                blocks++;                                                                          \
            }                                                                                      \
        }                                                                                          \
        say(#NAME " %llu %d\n", bytes, blocks);                                                    \
    }

GRAB_SIZED(nothing, 0ull)
GRAB_SIZED(one_byte, 1ull)
GRAB_SIZED(just_below_4_gib, 4294967294ull)
GRAB_SIZED(at_the_escape, 4294967295ull)
GRAB_SIZED(exactly_4_gib, 4294967296ull)
GRAB_SIZED(five_gib, 5368709120ull)
GRAB_SIZED(refused, 9223372036854775000ull)

int main(void) {
    nothing(5);
    one_byte(7);
    just_below_4_gib(1);
    at_the_escape(1);
    exactly_4_gib(2);
    five_gib(1);
    refused(3);
    heaptape_mark("all");
    return 0;
}
