#include <dlfcn.h>
void *load_inner(void) { return dlopen("libinner.so", RTLD_NOW); }
