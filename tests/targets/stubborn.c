// Goes on whatever becomes of whoever records it.
//
//     stubborn flood|spin FILE
//
// Both say `pid PID` and make 100 blocks. `flood` makes and frees 3,000,000 blocks from then on.
// `spin` does nothing at all, in a tight loop, until FILE's first byte is not 0, and then makes
// 100 blocks more. Both say `end` and leave with 16.
#include "known.h"
#include <fcntl.h>

enum { FLOOD = 3000000 };
GRAB(early_grabs)
GRAB(late_grabs)

FRAME void flood_makes(int count) {
    for (int i = 0; i < count; i++) {
        use_and_free(malloc(16 + (size_t)i % 256), 16);
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    MUST(argc == 3);
    int fd = open(argv[2], O_RDONLY);
    volatile char *word = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    MUST(word != MAP_FAILED && close(fd) == 0);
    early_grabs(100, 48);
    say("pid %d\n", getpid());
    while (*word == 0) {
    }
    if (!strcmp(argv[1], "flood")) {
        flood_makes(FLOOD);
    }
    late_grabs(100, 24);
    say("end\n");
    return 16;
}
