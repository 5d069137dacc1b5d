// A plugin whose one function makes blocks of its own size; built twice, of equal layout.
#include "target.h"

FRAME void NAME(int count) {
    for (int i = 0; i < count; i++) {
        sink = malloc(SIZE);
    }
    KEEP_FRAME();
}
