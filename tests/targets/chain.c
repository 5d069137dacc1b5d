// Becomes itself again every few milliseconds, as long as a file "go" is there; then exits with 7.
// No image allocates anything.
#include "target.h"

int main(int argc, char **argv) {
    if (argc == 1) {
        say("pid %d\n", (int)getpid());
    }
    usleep(5000);
    if (access("go", F_OK) != 0) {
        say("end\n");
        return 7;
    }
    char *again[] = {argv[0], "again", NULL};
    execv(argv[0], again);
    return 3;
}
