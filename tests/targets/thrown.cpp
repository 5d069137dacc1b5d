// Exceptions and jumps across frames that allocate: through many frames, from one thread to
// another, out of a failed operator new; threads that leave or are cancelled; and `longjmp` over
// many frames and out of signal handlers.
//
//     thrown
#include "known.h"
#include <csetjmp>
#include <csignal>
#include <exception>
#include <new>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <thread>

extern "C" {
MAKER(thrown_makes)
MAKER(thrown_keeps)
}

namespace {
int unwound, caught;

struct Guard {
    void *block = thrown_makes(32);
    ~Guard() {
        use_and_free(block, 32);
        sink = thrown_keeps(8);
        unwound++;
    }
};

FRAME void deep(int depth, int kind) {
    Guard guard;
    if (depth > 0) {
        deep(depth - 1, kind);
        KEEP_FRAME();
        return;
    }
    switch (kind) {
    case 0:
        throw std::runtime_error("a text on the heap " + std::string(99, 'x'));
    case 1:
        sink = ::operator new(PTRDIFF_MAX);
        break;
    case 2:
        throw 7;
    default:
        try {
            throw std::logic_error("inner");
        } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
        }
    }
}

void catch_all() {
    for (int round = 0; round < 50; round++) {
        for (int kind = 0; kind < 4; kind++) {
            try {
                deep(20, kind);
            } catch (const std::bad_alloc &) {
                caught += 1;
            } catch (const std::exception &error) {
                try {
                    std::rethrow_if_nested(error);
                    caught += 100;
                } catch (const std::logic_error &) {
                    caught += 10000;
                }
            } catch (int number) {
                MUST(number == 7);
                caught += 1000000;
            }
        }
    }
    MUST(caught == 50 * 1010101 && unwound == 200 * 21);
}

// operator new asks this handler again and again, until it throws.
int asked;
void no_memory() {
    sink = thrown_keeps(9);
    if (++asked % 3 == 0) {
        throw std::bad_alloc();
    }
}

void handlers_of_new() {
    std::set_new_handler(no_memory);
    for (int i = 0; i < 10; i++) {
        try {
            sink = ::operator new(PTRDIFF_MAX);
            MUST(false);
        } catch (const std::bad_alloc &) {
            MUST(errno == ENOMEM);
        }
        MUST(::operator new[](PTRDIFF_MAX, std::nothrow) == nullptr);
    }
    std::set_new_handler(nullptr);
    MUST(asked == 60);
}

void from_thread_to_thread() {
    for (int i = 0; i < 20; i++) {
        std::exception_ptr found;
        std::thread thread([&found] {
            try {
                deep(10, 0);
            } catch (...) {
                found = std::current_exception();
            }
        });
        thread.join();
        try {
            std::rethrow_exception(found);
        } catch (const std::runtime_error &error) {
            MUST(strlen(error.what()) > 99);
        }
    }
}

sigjmp_buf away;

FRAME void jump_from(int depth) {
    sink = thrown_keeps(16);
    if (depth == 0) {
        siglongjmp(away, 1);
    }
    jump_from(depth - 1);
    KEEP_FRAME();
}

void on_signal(int) {
    sink = thrown_keeps(17);
    jump_from(5);
}

void jump() {
    for (volatile int i = 0; i < 100; i = i + 1) {
        if (sigsetjmp(away, 1) == 0) {
            jump_from(i % 30);
        }
    }
    // Also out of handlers, on this stack and on another.
    static char memory[1 << 16];
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    MUST(sigaltstack(&stack, nullptr) == 0);
    for (volatile int i = 0; i < 100; i = i + 1) {
        struct sigaction action = {};
        action.sa_handler = on_signal;
        action.sa_flags = i % 2 ? SA_ONSTACK : 0;
        MUST(sigaction(SIGUSR1, &action, nullptr) == 0);
        if (sigsetjmp(away, 1) == 0) {
            raise(SIGUSR1);
            MUST(false);
        }
        void *block = thrown_makes(33);
        use_and_free(block, 33);
    }
}

// Ends its thread: the stack is unwound as by an exception, destructors run.
void *leaves(void *unused) {
    Guard guard;
    try {
        Guard inner;
        pthread_exit(unused);
    } catch (...) {
        unwound += 1000;
        throw;
    }
}

// Is cancelled while it waits.
void *waits(void *unused) {
    Guard guard;
    for (;;) {
        usleep(1000);
    }
    return unused;
}

void leave() {
    unwound = 0;
    for (int i = 0; i < 30; i++) {
        pthread_t thread;
        MUST(pthread_create(&thread, nullptr, leaves, nullptr) == 0);
        MUST(pthread_join(thread, nullptr) == 0);
    }
    MUST(unwound == 30 * 1002);
    for (int i = 0; i < 30; i++) {
        pthread_t thread;
        uint64_t before = __atomic_load_n(&thrown_makes_blocks, __ATOMIC_ACQUIRE);
        MUST(pthread_create(&thread, nullptr, waits, nullptr) == 0);
        while (__atomic_load_n(&thrown_makes_blocks, __ATOMIC_ACQUIRE) == before) {
            sched_yield();
        }
        MUST(pthread_cancel(thread) == 0);
        MUST(pthread_join(thread, nullptr) == 0);
    }
    MUST(unwound == 30 * 1003);
}
} // namespace

int main() {
    catch_all();
    handlers_of_new();
    from_thread_to_thread();
    jump();
    leave();
    TELL(thrown_makes);
    TELL(thrown_keeps);
    return 8;
}
