// Takes the address of malloc: linked to a fixed place, the program has an entry of that name.
#include "target.h"

static void *(*volatile allocate)(size_t) = malloc;

FRAME void indirect_grabs(void) {
    for (int i = 0; i < 80; i++) {
        sink = allocate(90);
    }
    KEEP_FRAME();
}

int main(void) {
    indirect_grabs();
    sink = malloc(7);
    say("address\n");
    return 0;
}
