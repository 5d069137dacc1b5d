// Marks and domains, through the header.
#include "heaptape.h"
#include "say.h"
#include <sys/wait.h>

int main(void) {
    void *volatile block = malloc(10);
    uint16_t pool = heaptape_domain("pool"), other = heaptape_domain("other");
    CHECK(heaptape_domain("pool") == pool && pool != other);
    say("domains %d %d", pool, other);
    heaptape_mark("first");
    free(block);
    heaptape_report_alloc(pool, (void *)4096, 100);
    heaptape_report_realloc(pool, (void *)4096, (void *)8192, 6000000000);
    heaptape_report_realloc(other, NULL, (void *)12288, 5);
    heaptape_report_free(pool, (void *)8192);
    heaptape_report_realloc(other, (void *)12288, NULL, 0);
    heaptape_report_free(0, (void *)8192);
    heaptape_report_alloc(pool, NULL, 5);
    heaptape_mark("second");
    if (fork() == 0) {
        heaptape_report_alloc(other, (void *)64, 1);
        _exit(0);
    }
    wait(NULL);
    return 0;
}
