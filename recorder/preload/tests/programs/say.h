// Tells the test what this program did, without allocating: one line a call.
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length] = '\n';
    if (write(1, line, length + 1) != length + 1) _exit(99);
}

// The events that the tape must hold: operation, dead address, new address, size, log2 alignment.
static void event(int operation, const void *old, const void *block, size_t size, int alignment) {
    say("event %d %lu %lu %lu %d", operation, (unsigned long)old, (unsigned long)block,
        (unsigned long)size, alignment);
}

static void check(int truth, const char *what) {
    if (!truth) {
        say("failed: %s", what);
        _exit(98);
    }
}
#define CHECK(truth) check(truth, #truth)
