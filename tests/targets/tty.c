// Tells what it sees of its terminal, its group and its standard input.
#include "target.h"

int main(void) {
    say("terminals %d%d%d\n", isatty(0), isatty(1), isatty(2));
    if (isatty(0)) {
        say("foreground %d\n", tcgetpgrp(0) == getpgrp());
    }
    char text[100];
    ssize_t n = isatty(0) ? 0 : read(0, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = 0;
    say("input <%s>\n", text);
    return 0;
}
