// Makes and frees blocks: `churn COUNT`.
#include "known.h"

int main(int argc, char **argv) {
    MUST(argc > 1);
    for (long i = atol(argv[1]); i > 0; i--) {
        sink = malloc((size_t)i % 500);
        free(sink);
    }
    return 0;
}
