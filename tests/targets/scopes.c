// A library that is opened so that it finds the C library before anything that was preloaded
// (RTLD_DEEPBIND), or in a namespace of its own with its own C library (dlmopen): it allocates,
// frees, and gives blocks to the program and takes the program's.
//
//     scopes deep|space LIBRARY
#include "known.h"
#include <dlfcn.h>
#include <pthread.h>

MAKER(scopes_makes)

static void *(*makes)(size_t);
static void (*frees)(void *);
static int sum;

static void *in_thread(void *unused) {
    for (int i = 0; i < 100; i++) {
        void *block = makes(30 + (size_t)i);
        memset(block, 1, 30);
        frees(block);
        use_and_free(scopes_makes(30), 30);
    }
    return unused;
}

int main(int argc, char **argv) {
    MUST(argc == 3);
    int is_deep = !strcmp(argv[1], "deep");
    for (int round = 0; round < 5; round++) {
        void *library = is_deep ? dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND)
                                : dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW);
        if (!library) {
            say("%s\n", dlerror());
            return 1;
        }
        int (*count)(void) = NULL;
        *(void **)&makes = dlsym(library, "scoped_makes");
        *(void **)&frees = dlsym(library, "scoped_frees");
        *(void **)&count = dlsym(library, "scoped_count");
        MUST(makes && frees && count);
        for (int i = 0; i < 200; i++) {
            void *theirs = makes(50), *ours = scopes_makes(60);
            memset(theirs, 1, 50);
            memset(ours, 2, 60);
            // One C library: blocks go both ways. Two: each to its own.
            is_deep ? free(theirs) : frees(theirs);
            is_deep ? frees(ours) : free(ours);
        }
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, in_thread, NULL) == 0);
        MUST(pthread_join(thread, NULL) == 0);
        sum += count();
        MUST(dlclose(library) == 0);
    }
    say("%d blocks of the library's\n", sum);
    TELL(scopes_makes);
    return 11;
}
