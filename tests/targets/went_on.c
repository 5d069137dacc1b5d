// Goes on while it forks.
//
//     went_on raw              forks without the C library; the child waits until its parent has
//                              changed its blocks, and then frees those that it got
//     went_on twice            the same, but the child forks with the C library, and its child
//                              frees
//     went_on ended            as raw, but each block was made by a thread that has ended
//     went_on threads FORKS    a thread changes its blocks all the time; each child frees those
//                              that it got, and says how many
#include "target.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { BLOCKS = 200 };
static void *volatile blocks[BLOCKS];

FRAME void first_takes(void) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(100);
    }
    KEEP_FRAME();
}

FRAME void later_takes(void) {
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = malloc(100);
    }
    KEEP_FRAME();
}

static pthread_barrier_t all_live;

FRAME static void *thread_takes(void *place) {
    *(void *volatile *)place = malloc(100);
    pthread_barrier_wait(&all_live);
    KEEP_FRAME();
    return NULL;
}

static int threads_take(void) {
    static pthread_t threads[BLOCKS];
    pthread_barrier_init(&all_live, NULL, BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        if (pthread_create(&threads[i], NULL, thread_takes, (void *)&blocks[i])) {
            return 0;
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        pthread_join(threads[i], NULL);
    }
    return 1;
}

static int free_all(void) {
    int count = 0;
    for (int i = 0; i < BLOCKS; i++) {
        count += blocks[i] != NULL;
        free(blocks[i]);
    }
    return count;
}

static int raw(const char *how) {
    int ends[2];
    char byte = 0;
    if (strcmp(how, "ended")) {
        first_takes();
    } else if (!threads_take()) {
        return 89;
    }
    if (pipe(ends)) {
        return 90;
    }
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        if (read(ends[0], &byte, 1) != 1) {
            _exit(91);
        }
        pid_t grandchild = strcmp(how, "twice") ? 0 : fork();
        if (grandchild) {
            int status = 1;
            waitpid(grandchild, &status, 0);
            _exit(status != 0);
        }
        free_all();
        _exit(0);
    }
    later_takes();
    int status = 0;
    if (write(ends[1], &byte, 1) != 1 || waitpid(child, &status, 0) != child) {
        return 92;
    }
    return status;
}

// Each block is changed by this thread alone.
static void *change(void *argument) {
    uint64_t state = 1;
    for (;;) {
        void *volatile *place = &blocks[next_random(&state) % BLOCKS];
        void *old = *place;
        uint64_t number = next_random(&state);
        *place = NULL;
        if (!old) {
            *place = malloc(100 + number % 500);
        } else if (number & 1) {
            *place = realloc(old, 1 + number % 900);
        } else {
            free(old);
        }
    }
    return argument;
}

static int threads(int forks) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, change, NULL)) {
        return 93;
    }
    for (int i = 0; i < forks; i++) {
        usleep(1000);
        pid_t child = fork();
        if (child == 0) {
            int count = free_all();
            say("%d %d\n", getpid(), count);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            return 94;
        }
    }
    // The thread never ends.
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc > 2) {
        return threads(atoi(argv[2]));
    }
    return argc > 1 ? raw(argv[1]) : 95;
}
