// Uses what the C library offers around its allocator, and checks what it answers.
#include "known.h"
#include <malloc.h>
#include <pthread.h>

MAKER(tools_makes)

static void *in_thread(void *unused) {
    for (int i = 0; i < 1000; i++) {
        void *block = tools_makes(16 + (size_t)i);
        MUST(malloc_usable_size(block) >= 16 + (size_t)i);
        use_and_free(block, malloc_usable_size(block));
    }
    return unused;
}

// All that a block can hold is the program's, also after it grew into that. (Larger blocks are
// mapped: those the C library moves to a larger mapping.)
static void usable_sizes(void) {
    MUST(malloc_usable_size(NULL) == 0);
    for (size_t size = 0; size < 100000; size = size * 2 + 1) {
        char *block = tools_makes(size);
        size_t usable = malloc_usable_size(block);
        MUST(usable >= size);
        say("usable %zu %zu\n", size, usable);
        memset(block, 0x7e, usable);
        char *grown = realloc(block, usable);
        MUST(grown == block && malloc_usable_size(grown) == usable);
        grown = realloc(grown, usable + 5000);
        MUST(grown && malloc_usable_size(grown) >= usable + 5000);
        for (size_t i = 0; i < usable; i++) {
            MUST(grown[i] == 0x7e);
        }
        free(grown);
    }
}

// The heap holds what the program made, and nothing of anybody else's.
static void figures(void) {
    static void *blocks[1000];
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 1000; i++) {
        blocks[i] = tools_makes(100);
    }
    struct mallinfo2 after = mallinfo2();
    say("in use %zu more\n", after.uordblks - before.uordblks);
    for (int i = 0; i < 1000; i++) {
        free(blocks[i]);
    }
    struct mallinfo2 big_before = mallinfo2();
    void *big = tools_makes(1 << 20);
    struct mallinfo2 big_after = mallinfo2();
    say("mapped %zu more\n", big_after.hblks - big_before.hblks);
    free(big);
}

static void settings(void) {
    MUST(mallopt(M_MMAP_THRESHOLD, 4096) == 1);
    struct mallinfo2 before = mallinfo2();
    void *block = tools_makes(5000);
    say("mapped %zu more\n", mallinfo2().hblks - before.hblks);
    free(block);
    MUST(mallopt(M_PERTURB, 0xa5) == 1);
    unsigned char *filled = tools_makes(1000);
    for (int i = 0; i < 1000; i++) {
        MUST(filled[i] == (0xa5 ^ 0xff));
    }
    free(filled);
    unsigned char *zeroed = calloc(10, 100);
    MUST(zeroed[0] == 0 && zeroed[999] == 0);
    free(zeroed);
    MUST(mallopt(M_PERTURB, 0) == 1);
    MUST(mallopt(M_ARENA_MAX, 1) == 1);
    MUST(mallopt(M_TRIM_THRESHOLD, 1 << 16) == 1);
    MUST(mallopt(M_TOP_PAD, 1 << 12) == 1);
    say("an unknown setting %d\n", mallopt(-1000, 5));
}

static void reports(void) {
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    MUST(file);
    MUST(malloc_info(0, file) == 0);
    errno = 0;
    MUST(malloc_info(1, file) != 0);
    MUST(fclose(file) == 0);
    MUST(!strncmp(text, "<malloc version=", 16) && strstr(text, "</malloc>"));
    free(text);
}

static void trim(void) {
    static void *blocks[500];
    for (int i = 0; i < 500; i++) {
        blocks[i] = tools_makes(3000);
    }
    for (int i = 0; i < 500; i++) {
        use_and_free(blocks[i], 3000);
    }
    errno = 41;
    int first = malloc_trim(0), second = malloc_trim(0);
    MUST(errno == 41 && (first == 0 || first == 1));
    MUST(second == 0 || second == 1);
}

int main(void) {
    usable_sizes();
    figures();
    settings();
    reports();
    trim();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&threads[i], NULL, in_thread, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    reports();
    trim();
    TELL(tools_makes);
    return 12;
}
