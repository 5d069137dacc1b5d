// A program that every kind of C library and linker can build: allocates and writes a line.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    size_t total = 0;
    for (int i = 1; i <= 1000; i++) {
        char *p = malloc((size_t)i);
        memset(p, i, (size_t)i);
        total += (size_t)p[0];
        free(p);
    }
    printf("%u of %s\n", (unsigned)(total % 1000), argc > 1 ? argv[1] : "nobody");
    fprintf(stderr, "on stderr\n");
    return 21;
}
