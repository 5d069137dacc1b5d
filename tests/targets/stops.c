// Stops itself by a signal, and goes on.
//
//     stops SIGNAL [own]: `own`: in a process group of its own
#include "known.h"
#include <signal.h>

int main(int argc, char **argv) {
    MUST(argc > 1);
    if (argc > 2) {
        MUST(setpgid(0, 0) == 0);
    }
    sink = malloc(10);
    say("ready %d\n", (int)getpid());
    raise(atoi(argv[1]));
    sink = malloc(20);
    say("back\n");
    return 42;
}
