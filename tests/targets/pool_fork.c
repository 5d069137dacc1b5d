// A child frees blocks of its parent's: two of the heap, one of the three of a pool.
#include "heaptape.h"
#include "target.h"
#include <sys/wait.h>

static char memory[3][64];

int main(void) {
    void *volatile blocks[] = {malloc(1000), malloc(2000)};
    uint16_t domain = heaptape_domain("pool");
    for (int i = 0; i < 3; i++) {
        heaptape_report_alloc(domain, memory[i], 64);
    }
    pid_t child = fork();
    if (child == 0) {
        free(blocks[0]);
        free(blocks[1]);
        heaptape_report_free(domain, memory[1]);
        _exit(0);
    }
    int status = 0;
    return child < 0 || waitpid(child, &status, 0) != child ? 90 : status;
}
