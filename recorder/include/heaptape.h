/*
 * heaptape.h - what a program may tell the recorder.
 *
 * All functions are weak: a program that includes this header links and runs without heaptape, and
 * the calls cost one test of an address. Under `heaptape run` they are in the preloaded library.
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

#if defined(__GNUC__) || defined(__clang__)
#define HEAPTAPE_WEAK __attribute__((weak))
#else
#error "heaptape.h needs weak symbols (GCC or Clang)"
#endif

/* The functions themselves. The inline ones below test whether they are there. */
extern void heaptape_weak_mark(const char *name) __asm__("heaptape_mark") HEAPTAPE_WEAK;
extern uint16_t heaptape_weak_domain(const char *name) __asm__("heaptape_domain") HEAPTAPE_WEAK;
extern void heaptape_weak_alloc(uint16_t domain, const void *block, size_t size)
    __asm__("heaptape_report_alloc") HEAPTAPE_WEAK;
extern void heaptape_weak_realloc(uint16_t domain, const void *old_block, const void *block,
                                  size_t size) __asm__("heaptape_report_realloc") HEAPTAPE_WEAK;
extern void heaptape_weak_free(uint16_t domain, const void *block)
    __asm__("heaptape_report_free") HEAPTAPE_WEAK;

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

/* Sets a mark at this moment. The name is copied. */
HEAPTAPE_INLINE void heaptape_mark(const char *name) {
    if (heaptape_weak_mark) heaptape_weak_mark(name);
}

/*
 * The number of the domain with this name (at most 63 bytes count), the same for every call with
 * the same name; 0 when nothing is recorded. Reports with the number 0 are not recorded.
 */
HEAPTAPE_INLINE uint16_t heaptape_domain(const char *name) {
    return heaptape_weak_domain ? heaptape_weak_domain(name) : 0;
}

/* A block of `size` bytes was handed out. */
HEAPTAPE_INLINE void heaptape_report_alloc(uint16_t domain, const void *block, size_t size) {
    if (heaptape_weak_alloc) heaptape_weak_alloc(domain, block, size);
}

/*
 * The block at `old_block` became the one of `size` bytes at `block`, perhaps at the same place.
 * NULL for `old_block` is an allocation, NULL for `block` a free.
 */
HEAPTAPE_INLINE void heaptape_report_realloc(uint16_t domain, const void *old_block,
                                             const void *block, size_t size) {
    if (heaptape_weak_realloc) heaptape_weak_realloc(domain, old_block, block, size);
}

/* A block was given back. */
HEAPTAPE_INLINE void heaptape_report_free(uint16_t domain, const void *block) {
    if (heaptape_weak_free) heaptape_weak_free(domain, block);
}

#ifdef __cplusplus
}
#endif

#endif
