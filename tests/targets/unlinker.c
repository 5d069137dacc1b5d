// Removes the session's file after a few allocations, and makes many more.
#include "known.h"

MAKER(grabs)

int main(void) {
    for (int i = 0; i < 100; i++) {
        grabs(8);
    }
    const char *session = getenv("HEAPTAPE_SESSION");
    MUST(session == NULL || unlink(session) == 0);
    for (int i = 0; i < 300000; i++) {
        grabs(16);
    }
    TELL(grabs);
    return 0;
}
