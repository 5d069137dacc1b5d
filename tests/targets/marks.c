/* Marks, in a program that is linked in whatever way the test says. Also C++. */
#include "heaptape.h"
#include <stdio.h>
#include <stdlib.h>

static void *volatile kept;

static __attribute__((noinline)) void keep(size_t size) { kept = malloc(size); }

int main(void) {
    keep(1000);
    heaptape_mark("first");
    keep(2000);
    heaptape_mark("second");
    keep(4000);
    heaptape_report_alloc(heaptape_domain("own"), (const void *)&keep, 77);
    puts("marked");
    return 0;
}
