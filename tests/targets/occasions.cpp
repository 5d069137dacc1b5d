// Allocates on occasions when few programs do: constructors and destructors of the program and of
// its threads, handlers of exit and of fork, in several threads at once.
//
//     occasions exit|quick|fork
#include "known.h"
#include <pthread.h>
#include <sys/wait.h>

extern "C" {
MAKER(in_constructor)
MAKER(in_destructor)
MAKER(in_object)
MAKER(in_exit_handler)
MAKER(in_thread_object)
MAKER(in_key_destructor)
MAKER(before_fork)
MAKER(after_fork)
MAKER(in_forked_child)
MAKER(in_main)
}

namespace {
// A block that is made in a constructor and freed in the destructor, which makes another one.
template <void *(*MAKE)(size_t)> struct Object {
    void *block;
    explicit Object(size_t size) : block(MAKE(size)) { memset(block, 1, size); }
    ~Object() {
        free(block);
        sink = MAKE(7);
    }
};

Object<in_object> at_start(40);
thread_local Object<in_thread_object> *pointer;
pthread_key_t key;

void at_key(void *block) {
    free(block);
    static thread_local int rounds;
    // Again and again, as often as the C library goes round.
    if (++rounds < 4) {
        pthread_setspecific(key, in_key_destructor(20));
    }
}

void *in_thread(void *unused) {
    thread_local Object<in_thread_object> first(50);
    thread_local Object<in_thread_object> second(60);
    pointer = &second;
    MUST(first.block != second.block);
    pthread_setspecific(key, in_key_destructor(10));
    return unused;
}

void run_threads() {
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        for (pthread_t &thread : threads) {
            MUST(pthread_create(&thread, nullptr, in_thread, nullptr) == 0);
        }
        for (pthread_t thread : threads) {
            MUST(pthread_join(thread, nullptr) == 0);
        }
    }
}

void prepare() {
    void *block = before_fork(30);
    use_and_free(block, 30);
    sink = before_fork(31);
}
void in_parent() { sink = after_fork(32); }
void in_child() { sink = in_forked_child(33); }

void fork_some() {
    MUST(pthread_atfork(prepare, in_parent, in_child) == 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            sink = in_forked_child(34);
            _exit(in_forked_child_blocks == 2 ? 0 : 1);
        }
        int status = -1;
        MUST(child > 0 && waitpid(child, &status, 0) == child);
        MUST(status == 0);
    }
}

void at_end() { sink = in_exit_handler(70); }
void at_end_with(int, void *) { sink = in_exit_handler(80); }
void at_quick_end() {
    sink = in_exit_handler(90);
    TELL(in_constructor);
    TELL(in_exit_handler);
    TELL(in_main);
}
} // namespace

__attribute__((constructor(101))) static void early() { sink = in_constructor(11); }
__attribute__((constructor)) static void later() { sink = in_constructor(12); }
__attribute__((destructor)) static void end() { sink = in_destructor(13); }
// The last of all: what was made is known.
__attribute__((destructor(101))) static void very_end() {
    sink = in_destructor(14);
    TELL(in_constructor);
    TELL(in_destructor);
    TELL(in_object);
    TELL(in_exit_handler);
    TELL(in_thread_object);
    TELL(in_key_destructor);
    TELL(before_fork);
    TELL(after_fork);
    TELL(in_forked_child);
    TELL(in_main);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    MUST(pthread_key_create(&key, at_key) == 0);
    sink = in_main(100);
    if (!strcmp(how, "quick")) {
        MUST(at_quick_exit(at_quick_end) == 0);
        quick_exit(4);
    }
    MUST(atexit(at_end) == 0 && on_exit(at_end_with, nullptr) == 0);
    run_threads();
    if (!strcmp(how, "fork")) {
        fork_some();
    }
    return 5;
}
