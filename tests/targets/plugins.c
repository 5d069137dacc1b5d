// Loads and unloads two plugins in turn, 200 times, while threads allocate through whichever is
// loaded. The second usually takes the first one's addresses; says how often it did.
//
//     plugins LIBRARY_A LIBRARY_B ROUNDS THREADS
//
// Output: `reused N`, `a CALLS`, `b CALLS`; each call makes 10 blocks.
#include "target.h"
#include <dlfcn.h>
#include <pthread.h>

enum { BLOCKS = 10 };
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static void (*current)(int);
static int current_which, done;
static long calls[2];

static void call(void) {
    pthread_rwlock_rdlock(&lock);
    if (current) {
        current(BLOCKS);
        __atomic_fetch_add(&calls[current_which], 1, __ATOMIC_RELAXED);
    }
    pthread_rwlock_unlock(&lock);
}

static void *run(void *argument) {
    (void)argument;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        call();
        sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        return 2;
    }
    int rounds = atoi(argv[3]), threads = atoi(argv[4]), reused = 0;
    static const char *const names[2] = {"plugin_a", "plugin_b"};
    pthread_t ids[8];
    for (int i = 0; i < threads; i++) {
        pthread_create(&ids[i], NULL, run, NULL);
    }
    void *last = NULL;
    for (int round = 0; round < rounds * 2; round++) {
        int which = round % 2;
        void *library = dlopen(argv[1 + which], RTLD_NOW);
        void *function = library ? dlsym(library, names[which]) : NULL;
        if (!function) {
            say("%s\n", dlerror());
            return 1;
        }
        reused += function == last;
        last = function;
        pthread_rwlock_wrlock(&lock);
        current = (void (*)(int))function, current_which = which;
        pthread_rwlock_unlock(&lock);
        for (int i = 0; i < 5; i++) {
            call();
        }
        if (threads) {
            usleep(200);
        }
        pthread_rwlock_wrlock(&lock);
        current = NULL;
        pthread_rwlock_unlock(&lock);
        dlclose(library);
    }
    done = 1;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    say("reused %d\na %ld\nb %ld\n", reused, calls[0], calls[1]);
    return 0;
}
