// A known chain of calls, and the same from another thread's stack.
#include "say.h"
#include <pthread.h>
static void *volatile block;
__attribute__((noinline)) void leaf(size_t size) { block = malloc(size); free(block); say(" "); }
__attribute__((noinline)) void middle(size_t size) { leaf(size + 1); say(" "); }
__attribute__((noinline)) void *outer(void *size) { middle((size_t)size); say(" "); return 0; }
int main(void) {
    pthread_t thread;
    outer((void *)1000);
    pthread_create(&thread, NULL, outer, (void *)2000);
    pthread_join(thread, NULL);
    return 0;
}
