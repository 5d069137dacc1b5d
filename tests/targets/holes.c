// Allocates from two places below a chain of calls; linked so that load segments have holes
// between them.
#include "target.h"

GRAB(alpha)
GRAB(beta)

FRAME static void outer(void) {
    for (int i = 0; i < 10; i++) {
        alpha(1, 1000);
        beta(2, 2000);
    }
    KEEP_FRAME();
}

int main(void) {
    outer();
    KEEP_FRAME();
    return 0;
}
