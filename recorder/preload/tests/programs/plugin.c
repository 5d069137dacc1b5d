/* One of two libraries that take turns at the same addresses; PLUGIN names the function. */
typedef void (*probe_fn)(void);

#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

__attribute__((noinline)) static void inner(probe_fn probe) {
    char local[40];
    KEEP(local);
    probe();
    KEEP(local);
}

void PLUGIN(probe_fn probe) {
    char local[PADDING];
    KEEP(local);
    inner(probe);
    KEEP(local);
}
