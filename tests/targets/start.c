// Becomes another program: `start PROGRAM ARGUMENTS…`.
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argc;
    execv(argv[1], argv + 1);
    return 127;
}
