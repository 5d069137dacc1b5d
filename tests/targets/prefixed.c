/* An allocator's own entry points, those of the family that the compiler was told. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TWO(a, b) a##b
#define NAME(prefix, name) TWO(prefix, name)
#define F(name) NAME(PREFIX, name)

extern void *F(malloc)(size_t);
extern void *F(calloc)(size_t, size_t);
extern void *F(realloc)(void *, size_t);
extern void F(free)(void *);
extern int F(posix_memalign)(void **, size_t, size_t);

static void *kept[64];
static int keeps;

#define HERE __attribute__((noinline))

HERE void keep_malloc(void) {
    for (int i = 0; i < 10; i++) kept[keeps++] = F(malloc)(100);
}

HERE void keep_calloc(void) {
    for (int i = 0; i < 5; i++) kept[keeps++] = F(calloc)(3, 50);
}

HERE void keep_aligned(void) {
    for (int i = 0; i < 4; i++) {
        if (F(posix_memalign)(&kept[keeps], 128, 512)) puts("no memory");
        if ((size_t)kept[keeps++] % 128) puts("not aligned");
    }
}

HERE void keep_realloc(void) {
    for (int i = 0; i < 6; i++) {
        char *block = F(malloc)(10);
        strcpy(block, "text");
        block = F(realloc)(block, 70000);
        if (strcmp(block, "text")) puts("lost");
        kept[keeps++] = block;
    }
}

HERE void churn_malloc(void) {
    for (int i = 0; i < 100; i++) F(free)(F(realloc)(F(malloc)(24), 48));
    F(free)(F(realloc)(NULL, 20));
    F(free)(NULL);
}

#if defined(MIMALLOC)
extern void *mi_zalloc(size_t), *mi_malloc_aligned(size_t, size_t), *mi_heap_new(void);
extern void *mi_heap_malloc(void *, size_t), *mi_heap_calloc(void *, size_t, size_t);
extern void *mi_mallocn(size_t, size_t), *mi_recalloc(void *, size_t, size_t);
extern char *mi_strdup(const char *), *mi_strndup(const char *, size_t);
extern void mi_free_size(void *, size_t);
HERE void others(void) {
    void *heap = mi_heap_new();
    kept[keeps++] = mi_zalloc(11);
    kept[keeps++] = mi_malloc_aligned(22, 64);
    kept[keeps++] = mi_heap_malloc(heap, 33);
    kept[keeps++] = mi_heap_calloc(heap, 4, 11);
    kept[keeps++] = mi_recalloc(mi_mallocn(5, 5), 11, 5);
    kept[keeps++] = mi_strdup("12345");
    kept[keeps++] = mi_strndup("12345", 3);
    mi_free_size(mi_malloc_aligned(22, 64), 22);
}
#elif defined(TCMALLOC)
extern void *tc_new(size_t), *tc_newarray(size_t), *tc_memalign(size_t, size_t);
extern void tc_delete(void *), tc_free_sized(void *, size_t);
HERE void others(void) {
    kept[keeps++] = tc_new(11);
    kept[keeps++] = tc_newarray(22);
    kept[keeps++] = tc_memalign(64, 33);
    tc_delete(tc_new(44));
    tc_free_sized(tc_malloc(55), 55);
}
#elif defined(JEMALLOC)
extern void *mallocx(size_t, int), *rallocx(void *, size_t, int);
extern size_t xallocx(void *, size_t, size_t, int);
extern void dallocx(void *, int), sdallocx(void *, size_t, int);
HERE void others(void) {
    kept[keeps++] = mallocx(11, 0);
    kept[keeps++] = mallocx(22, 6);
    kept[keeps++] = rallocx(mallocx(33, 0x40), 5000, 0);
    kept[keeps] = mallocx(100, 0);
    /* Grows within its size class, and cannot grow beyond. */
    xallocx(kept[keeps], 110, 0, 0);
    xallocx(kept[keeps++], 1 << 20, 0, 0);
    dallocx(mallocx(44, 0), 0);
    sdallocx(mallocx(55, 0), 55, 0);
}
#else
HERE void others(void) {}
#endif

/* Another allocator's, which is not there: whoever has it must work. */
extern void *mi_zalloc_small(size_t) __attribute__((weak));
extern void mi_free(void *) __attribute__((weak));

HERE void look_for_another(void) {
    void *(*volatile found)(size_t) = mi_zalloc_small;
    if (!found) return;
    char *block = found(40);
    for (int i = 0; i < 40; i++) if (block[i]) puts("not zeroed");
    mi_free(block);
}

int main(void) {
    keep_malloc();
    keep_calloc();
    keep_aligned();
    keep_realloc();
    churn_malloc();
    others();
    look_for_another();
    printf("%d blocks\n", keeps);
    return 0;
}
