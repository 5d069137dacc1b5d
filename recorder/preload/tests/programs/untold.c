/* Code without any unwind tables, as just-in-time compilers make it. */
typedef void (*probe_fn)(void);

#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

__attribute__((noinline)) static void inner(probe_fn probe) {
    char local[40];
    KEEP(local);
    probe();
    KEEP(local);
}

void untold(probe_fn probe) {
    char local[100];
    KEEP(local);
    inner(probe);
    KEEP(local);
}
