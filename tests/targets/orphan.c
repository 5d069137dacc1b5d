// A child of vfork, or of posix_spawn before its exec, that outlives its parent: it goes on in the
// memory, and in the recording, of the process that is gone.
//
//     orphan FILE BLOCKS [PROGRAM]
//
// FILE (4096 bytes, shared): u64 pid of the parent, then u64 how many blocks the child has made,
// then u64 1 when the parent may be killed. The child's k-th block (from 0) has 24 + k % 8 bytes;
// it makes BLOCKS of them, half before and half after its parent is gone. Then it becomes PROGRAM,
// or ends.
#include "target.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>

FRAME void parent_grabs(void) {
    for (int i = 0; i < 100; i++) {
        sink = malloc(50);
    }
    KEEP_FRAME();
}

FRAME void orphan_grabs(uint64_t from, uint64_t to, volatile uint64_t *made) {
    for (uint64_t k = from; k < to; k++) {
        sink = malloc(24 + k % 8);
        *made = k + 1;
    }
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
    volatile uint64_t *report =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (report == MAP_FAILED) {
        return 2;
    }
    close(fd);
    uint64_t blocks = strtoull(argv[2], NULL, 10);
    parent_grabs();
    pid_t parent = getpid();
    report[0] = (uint64_t)parent;
    if (vfork() == 0) {
        orphan_grabs(0, blocks / 2, report + 1);
        report[2] = 1;
        // Until the parent is gone, and the drainer had time to see that.
        while (getppid() == parent) {
            usleep(1000);
        }
        usleep(300 * 1000);
        orphan_grabs(blocks / 2, blocks, report + 1);
        if (argc > 3) {
            execv(argv[3], argv + 3);
        }
        _exit(0);
    }
    return 0;
}
