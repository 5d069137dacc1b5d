#include "say.h"
extern void *early_block;
int main(void) {
    event(0, 0, early_block, 4242, 0);
    event(32, early_block, 0, 0, 0);
    free(early_block);
    return 0;
}
