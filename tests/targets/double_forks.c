// Double forks whose process in the middle leaves at once; the launcher is killed meanwhile.
//
//     double_forks ROUNDS KILLED MICROSECONDS
//
// The first process makes 50 blocks of 100 to 149 bytes, 6225 in all. In each round it forks a
// process that forks the grandchild and leaves. In every third round there is one more process in
// between, and in every third one the process in the middle makes a block of 77 bytes before its
// fork. The grandchild waits a while, frees 20 of the first process's blocks, makes 7 of 33 bytes,
// and says so. In round KILLED, so many microseconds after the grandchild was forked, the process
// that started us gets SIGKILL; the first process ends after that.
#include "target.h"
#include <signal.h>
#include <sys/wait.h>

enum { BLOCKS = 50, FREED = 20 };
static void *volatile blocks[BLOCKS];

FRAME void first_grabs(void) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(100 + (size_t)i);
    }
    KEEP_FRAME();
}

FRAME void middle_grabs(void) {
    sink = malloc(77);
    KEEP_FRAME();
}

FRAME void grandchild_grabs(void) {
    for (int i = 0; i < 7; i++) {
        sink = malloc(33);
    }
    KEEP_FRAME();
}

// Forks and leaves; the child goes on.
static void go_on_in_child(void) {
    pid_t child = fork();
    if (child != 0) {
        _exit(child < 0 ? 90 : 0);
    }
}

static void middle(int round, pid_t launcher, int is_killed, useconds_t after) {
    if (round % 3 == 1) {
        go_on_in_child();
    }
    if (round % 3 == 2) {
        middle_grabs();
    }
    go_on_in_child();
    if (is_killed) {
        usleep(after);
        kill(launcher, SIGKILL);
    }
    usleep((useconds_t)(round * 7 % 5) * 2000);
    for (int i = 0; i < FREED; i++) {
        free(blocks[i]);
    }
    grandchild_grabs();
    _exit(write(STDOUT_FILENO, "done\n", 5) == 5 ? 6 : 90);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    int rounds = atoi(argv[1]), killed = atoi(argv[2]);
    pid_t launcher = getppid();
    first_grabs();
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        if (child == 0) {
            middle(round, launcher, round == killed, (useconds_t)atoi(argv[3]));
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            return 90;
        }
    }
    while (getppid() == launcher) {
        usleep(200);
    }
    return 0;
}
