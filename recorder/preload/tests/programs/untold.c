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

/* As the dynamic linker's entry code: no tables, and the frame pointer of the outermost frame. */
__asm__(".globl outermost\n"
        ".type outermost, @function\n"
        "outermost:\n"
        "    push %rbp\n"
        "    xor %ebp, %ebp\n"
        "    call *%rdi\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size outermost, . - outermost\n");
