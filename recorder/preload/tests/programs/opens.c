// Loads a library that loads another one by a name that only its own RUNPATH explains, and
// unloads both, many times.
#include "say.h"
#include <dlfcn.h>
int main(int count, char **arguments) {
    for (int i = 0; i < 50; i++) {
        void *library = dlopen(arguments[1], RTLD_NOW);
        if (!library) say("failed: %s", dlerror());
        void *(*load)(void) = dlsym(library, "load_inner");
        void *inner = load();
        if (!inner) say("failed: %s", dlerror());
        void *(*allocate)(size_t) = dlsym(inner, "inner_allocate");
        free(allocate(3000 + i));
        CHECK(dlclose(inner) == 0 && dlclose(library) == 0);
    }
    CHECK(dlopen("/nonexistent.so", RTLD_NOW) == NULL);
    say("loaded");
    return 0;
}
