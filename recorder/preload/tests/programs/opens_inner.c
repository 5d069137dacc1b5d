#include <stdlib.h>
void *inner_allocate(size_t size) { void *volatile block = malloc(size); return block; }
