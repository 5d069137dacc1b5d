// Says hello; needs nothing of anybody.
#include "say.h"

int main(void) {
    free(malloc(60));
    say("hello");
    return 5;
}
