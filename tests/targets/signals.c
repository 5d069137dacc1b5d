// Waits for signals, says which came, and leaves with 42 after one that it was told to end by.
//
//     signals [FINAL_SIGNAL]: without one, the default actions stay
#include "target.h"
#include <signal.h>

static volatile sig_atomic_t last;
static void note(int signal) { last = signal; }

int main(int argc, char **argv) {
    int final = argc > 1 ? atoi(argv[1]) : 0;
    if (final) {
        struct sigaction action = {.sa_handler = note};
        sigaction(final, &action, NULL);
    }
    free(malloc(100));
    say("ready %d\n", getpid());
    for (int i = 0;; i++) {
        usleep(10000);
        say(".");
        if (last) {
            say("\ngot %d\n", (int)last);
            return 42;
        }
        if (i == 2000) {
            return 1;
        }
    }
}
