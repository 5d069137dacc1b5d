// Allocates COUNT blocks of BYTES bytes; none is freed.
//
//     amounts COUNT BYTES
#include "target.h"

GRAB(grab)

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    grab(atoi(argv[1]), (size_t)atol(argv[2]));
    return 0;
}
