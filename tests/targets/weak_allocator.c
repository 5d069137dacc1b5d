/* Looks whether an allocator is there, which it is not. */
#include <stdio.h>
#include <stdlib.h>

extern void *je_malloc(size_t) __attribute__((weak));
extern void *mi_malloc(size_t) __attribute__((weak));
extern void *tc_malloc(size_t) __attribute__((weak));
extern void *mallocx(size_t, int) __attribute__((weak));
extern void *_Znwm(size_t) __attribute__((weak));

int main(void) {
    void *volatile found[] = {je_malloc, mi_malloc, tc_malloc, mallocx, _Znwm};
    for (int i = 0; i < 5; i++) puts(found[i] ? "there" : "absent");
    free(malloc(10));
    return 0;
}
