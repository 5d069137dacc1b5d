// Domains with the names of others, and reports for numbers that no domain has.
#include "heaptape.h"
#include "target.h"

static char memory[4096];

FRAME void report(uint16_t domain, size_t size) {
    heaptape_report_alloc(domain, memory + size, size);
    KEEP_FRAME();
}

int main(void) {
    sink = malloc(10);
    report(heaptape_domain("mmap"), 100);
    report(heaptape_domain("native"), 200);
    report(heaptape_domain("all"), 300);
    report(heaptape_domain(""), 400);
    report(heaptape_domain(NULL), 401);
    // 0 to 15 are no program's, 16 to 18 are the above.
    const uint16_t nobodys[] = {0, 1, 4, 15, 19, 20, 255, 271, 272, 1000, 65535};
    for (size_t i = 0; i < sizeof nobodys / sizeof *nobodys; i++) {
        report(nobodys[i], 500 + i);
        heaptape_report_realloc(nobodys[i], memory + 100, memory + 100, 600);
        heaptape_report_realloc(nobodys[i], NULL, memory + 700, 700);
        heaptape_report_free(nobodys[i], memory + 200);
    }
    return 0;
}
