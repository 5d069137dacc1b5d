// A library whose constructor allocates before the recorder's own constructor runs.
#include <stdlib.h>
void *early_block;
__attribute__((constructor)) static void construct(void) { early_block = malloc(4242); }
