// Makes 100 blocks every few milliseconds and says so.
//
//     patient ROUNDS
#include "target.h"

FRAME void round_grabs(void) {
    for (int i = 0; i < 100; i++) {
        sink = malloc(48);
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    say("pid %d\n", getpid());
    for (int i = 0; i < rounds; i++) {
        round_grabs();
        say("round %d\n", i);
        usleep(5000);
    }
    say("end\n");
    return 0;
}
