/* Exports what an interpreter of Python does, and is none: what it has in place of structures is
   text. `VERSION` is what it says of itself. */
#include "heaptape.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct allocator {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
};

static void *own_malloc(void *context, size_t size) { return (void)context, malloc(size); }
static void *own_calloc(void *context, size_t count, size_t size) {
    return (void)context, calloc(count, size);
}
static void *own_realloc(void *context, void *block, size_t size) {
    return (void)context, realloc(block, size);
}
static void own_free(void *context, void *block) { (void)context, free(block); }

static struct allocator allocators[3] = {
    {NULL, own_malloc, own_calloc, own_realloc, own_free},
    {NULL, own_malloc, own_calloc, own_realloc, own_free},
    {NULL, own_malloc, own_calloc, own_realloc, own_free},
};

static char text[4096];
char PyCode_Type[4096];
char PyUnicode_Type[4096];
char PyBytes_Type[4096];
char _PyRuntime[4096];
unsigned long Py_Version = VERSION;

void PyMem_GetAllocator(int domain, struct allocator *to) { *to = allocators[domain]; }
void PyMem_SetAllocator(int domain, const struct allocator *from) { allocators[domain] = *from; }
int Py_IsInitialized(void) { return 1; }
void *_PyThreadState_UncheckedGet(void) { return text; }
void *PyGILState_GetThisThreadState(void) { return text; }
void *_PyEval_EvalFrameDefault(void) { return text; }

int main(void) {
    memset(text, 'x', sizeof text);
    unsigned long self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    /* Where the versions have what tells a thread's own state. */
    memcpy(text + 136, &self, sizeof self);
    memcpy(text + 152, &self, sizeof self);
    memcpy(text + 176, &self, sizeof self);
    for (int i = 0; i < 100; i++) {
        struct allocator *obj = &allocators[2];
        char *block = obj->malloc(obj->context, 1000);
        block = obj->realloc(obj->context, block, 2000);
        free(malloc(10));
        if (i % 2) {
            obj->free(obj->context, block);
        }
    }
    heaptape_mark("done");
    puts("done");
    return 0;
}
