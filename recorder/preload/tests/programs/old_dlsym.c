// dlsym as old C libraries have it: it allocates, and gives the block back at the next call.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

void *dlsym(void *handle, const char *name) {
    static void *(*real)(void *, const char *);
    static char *last;
    if (!real) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!real) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    char *block = calloc(1, 40);
    if (!block || ((size_t)block & 15)) abort();
    for (int i = 0; i < 40; i++)
        if (block[i]) abort();
    strcpy(block, "twenty bytes of text");
    block = realloc(block, 100);
    if (!block || strcmp(block, "twenty bytes of text")) abort();
    free(last);
    last = block;
    return real(handle, name);
}
