// Many pools: COUNT domains, each with one block of its own.
//
//     domains COUNT
//
// The block of domain K has K + 1 bytes.
#include "heaptape.h"
#include "target.h"

static char memory[4096];

FRAME void pools(int count) {
    for (int k = 0; k < count; k++) {
        char name[16];
        snprintf(name, sizeof name, "pool-%d", k);
        uint16_t domain = heaptape_domain(name);
        if (domain != heaptape_domain(name)) {
            _exit(3);
        }
        heaptape_report_alloc(domain, memory + k, (size_t)k + 1);
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    pools(argc > 1 ? atoi(argv[1]) : 0);
    return 0;
}
