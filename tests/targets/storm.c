// Two threads load and unload libraries as fast as they can, whose constructors and destructors
// allocate and start a thread, while others allocate, are born, walk the list of libraries, and
// fork: whoever takes locks in another order than the loader hangs.
//
//     storm LIBRARY_A LIBRARY_B ROUNDS
#include "known.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

enum { LOADERS = 2, WORKERS = 3 };
MAKER(worker_makes)
MAKER(newborn_makes)
MAKER(forked_makes)

static char **names;
static int rounds, is_over;
static uint64_t calls[LOADERS];

static void *load(void *argument) {
    int which = (int)(intptr_t)argument;
    for (int i = 0; i < rounds; i++) {
        void *library = dlopen(names[which], i % 2 ? RTLD_NOW : RTLD_LAZY | RTLD_GLOBAL);
        MUST(library);
        void *(*makes)(size_t) = NULL;
        *(void **)&makes = dlsym(library, which ? "storm_b" : "storm_a");
        MUST(makes);
        use_and_free(makes(40), 40);
        calls[which]++;
        MUST(dlclose(library) == 0);
    }
    return NULL;
}

static void *work(void *argument) {
    uint64_t state = (uint64_t)(intptr_t)argument;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        size_t size = 16 + next_random(&state) % 3000;
        use_and_free(worker_makes(size), size);
        sched_yield();
    }
    return NULL;
}

static void *be_born(void *unused) {
    use_and_free(newborn_makes(64), 64);
    return unused;
}

static int visit(struct dl_phdr_info *info, size_t size, void *count) {
    // Under the loader's lock.
    use_and_free(newborn_makes(65), 65);
    *(int *)count += info->dlpi_phnum > 0 && size > 0;
    return 0;
}

static void *walk(void *unused) {
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        int count = 0;
        dl_iterate_phdr(visit, &count);
        MUST(count > 2);
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, be_born, NULL) == 0);
        MUST(pthread_join(thread, NULL) == 0);
        usleep(100);
    }
    return unused;
}

static void *fork_on(void *unused) {
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            use_and_free(forked_makes(50), 50);
            _exit(0);
        }
        int status = -1;
        MUST(child > 0 && waitpid(child, &status, 0) == child && status == 0);
        usleep(1000);
    }
    return unused;
}

int main(int argc, char **argv) {
    MUST(argc == 4);
    names = argv + 1;
    rounds = atoi(argv[3]);
    pthread_t loaders[LOADERS], workers[WORKERS], walker, forker;
    for (intptr_t i = 0; i < WORKERS; i++) {
        MUST(pthread_create(&workers[i], NULL, work, (void *)(i + 1)) == 0);
    }
    for (intptr_t i = 0; i < LOADERS; i++) {
        MUST(pthread_create(&loaders[i], NULL, load, (void *)i) == 0);
    }
    MUST(pthread_create(&walker, NULL, walk, NULL) == 0);
    MUST(pthread_create(&forker, NULL, fork_on, NULL) == 0);
    for (int i = 0; i < LOADERS; i++) {
        MUST(pthread_join(loaders[i], NULL) == 0);
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    MUST(pthread_join(walker, NULL) == 0);
    MUST(pthread_join(forker, NULL) == 0);
    for (int i = 0; i < WORKERS; i++) {
        MUST(pthread_join(workers[i], NULL) == 0);
    }
    TELL(worker_makes);
    TELL(newborn_makes);
    // Each round: the constructor's two blocks, its thread's one, the call's and the destructor's.
    for (int i = 0; i < LOADERS; i++) {
        say("made storm_%c %llu %llu\n", 'a' + i, (unsigned long long)calls[i] * 5,
            (unsigned long long)calls[i] * (100 + 101 + 102 + 40 + 103));
    }
    return 10;
}
