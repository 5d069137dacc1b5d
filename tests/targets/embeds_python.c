/* Loads an interpreter of Python by dlopen, in a namespace of its own, and runs a script in it:
   embeds_python LIBRARY */
#include "heaptape.h"
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    void (*start)(int) = (void (*)(int))dlsym(library, "Py_InitializeEx");
    int (*run)(const char *, void *) =
        (int (*)(const char *, void *))dlsym(library, "PyRun_SimpleStringFlags");
    void (*end)(void) = (void (*)(void))dlsym(library, "Py_Finalize");
    start(0);
    int result = run("def keep():\n    return bytes(70001 - 32)\nkept = keep()\n", NULL);
    heaptape_mark("done");
    end();
    return result;
}
