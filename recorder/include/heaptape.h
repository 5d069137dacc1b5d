/*
 * heaptape.h - what a program may tell the recorder.
 *
 * All functions are weak: a program that includes this header links and runs without heaptape, and
 * the calls cost one test of an address, also in programs at a fixed address (-no-pie) and in
 * static ones. Under `heaptape run` they are in the preloaded library; static programs are recorded
 * when they are linked with heaptape_recorder, which has them.
 * They may be called from any thread and from signal handlers, never fail, never change errno, and
 * do nothing while the process is not recorded.
 *
 * A mark names a moment, for `heaptape stats --at mark:loaded` and its kin:
 *
 *     heaptape_mark("loaded");
 *
 * A program with allocators of its own (pools, arenas, garbage collectors) tells which blocks they
 * hand out. Each domain is its own heap, apart from malloc's:
 *
 *     static uint16_t domain;
 *
 *     void *pool_take(struct pool *pool, size_t size) {
 *         void *block = take(pool, size);
 *         heaptape_report_alloc(domain, block, size);
 *         return block;
 *     }
 *
 *     void pool_give(struct pool *pool, void *block) {
 *         heaptape_report_free(domain, block);
 *         give(pool, block);
 *     }
 *
 *     int main(void) {
 *         domain = heaptape_domain("pool");
 *         ...
 *     }
 *
 * Report a free before the block can be handed out again, and an allocation after it was taken: then
 * the order of events is right whatever other threads do.
 */
#ifndef HEAPTAPE_H
#define HEAPTAPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if !defined(__GNUC__) && !defined(__clang__)
#error "heaptape.h needs weak symbols (GCC or Clang)"
#endif

/*
 * Finds the function NAME at run time: its address comes into POINTER, NULL when nobody has it.
 *
 * A weak reference in C alone would not do: in a program that is linked to a fixed address
 * (-no-pie) the linker takes it for absent for good, also when a library that is preloaded later
 * has the function. An entry of the global offset table is what the dynamic loader fills in in any
 * program, and what the linker makes NULL in a static one.
 */
#if defined(__x86_64__) && !defined(__ILP32__)
#define HEAPTAPE_FIND(POINTER, NAME)                                                     \
    __asm__(".weak " NAME "\n\t"                                                         \
            "mov{q} {" NAME "@GOTPCREL(%%rip), %0|%0, QWORD PTR " NAME "@GOTPCREL[rip]}" \
            : "=r"(POINTER))
#else
/* Programs of other machines are not recorded. */
#define HEAPTAPE_FIND(POINTER, NAME) ((POINTER) = 0)
#endif

/*
 * The inline functions' own symbols must differ from those. They are always inlined, so that no
 * call is added; debug information still names them, and reports take their caller for the place.
 */
#define HEAPTAPE_INLINE static inline __attribute__((always_inline, unused))
HEAPTAPE_INLINE void heaptape_mark(const char *name) __asm__("heaptape_inline_mark");
HEAPTAPE_INLINE uint16_t heaptape_domain(const char *name) __asm__("heaptape_inline_domain");
HEAPTAPE_INLINE void heaptape_report_alloc(uint16_t domain, const void *block, size_t size)
    __asm__("heaptape_inline_alloc");
HEAPTAPE_INLINE void heaptape_report_realloc(uint16_t domain, const void *old_block,
                                             const void *block, size_t size)
    __asm__("heaptape_inline_realloc");
HEAPTAPE_INLINE void heaptape_report_free(uint16_t domain, const void *block)
    __asm__("heaptape_inline_free");

/* Sets a mark at this moment. The name is copied; `mark:` stands for those with an empty one. */
HEAPTAPE_INLINE void heaptape_mark(const char *name) {
    void (*found)(const char *);
    HEAPTAPE_FIND(found, "heaptape_mark");
    if (found) found(name);
}

/*
 * The number of the domain with this name (at most 63 bytes count), the same for every call with
 * the same name; 0 when nothing is recorded, and for NULL and "". Reports with the number 0, or
 * with one that this function did not return in this program, are not recorded. A program has 255
 * domains; all further names get the number of one that is called "other". Reports call one that
 * has the name of a domain that every recording has (native, raw, mem, obj, mmap, arena)
 * "native (custom)".
 */
HEAPTAPE_INLINE uint16_t heaptape_domain(const char *name) {
    uint16_t (*found)(const char *);
    HEAPTAPE_FIND(found, "heaptape_domain");
    return found ? found(name) : (uint16_t)0;
}

/* A block of `size` bytes was handed out. */
HEAPTAPE_INLINE void heaptape_report_alloc(uint16_t domain, const void *block, size_t size) {
    void (*found)(uint16_t, const void *, size_t);
    HEAPTAPE_FIND(found, "heaptape_report_alloc");
    if (found) found(domain, block, size);
}

/*
 * The block at `old_block` became the one of `size` bytes at `block`, perhaps at the same place.
 * NULL for `old_block` is an allocation, NULL for `block` a free.
 */
HEAPTAPE_INLINE void heaptape_report_realloc(uint16_t domain, const void *old_block,
                                             const void *block, size_t size) {
    void (*found)(uint16_t, const void *, const void *, size_t);
    HEAPTAPE_FIND(found, "heaptape_report_realloc");
    if (found) found(domain, old_block, block, size);
}

/* A block was given back. */
HEAPTAPE_INLINE void heaptape_report_free(uint16_t domain, const void *block) {
    void (*found)(uint16_t, const void *);
    HEAPTAPE_FIND(found, "heaptape_report_free");
    if (found) found(domain, block);
}

#ifdef __cplusplus
}
#endif

#endif
