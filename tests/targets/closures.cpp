// Threads and tasks whose closures a compiler puts into the standard library's functions. Each
// keeps blocks of a size of its own until the process leaves without tidying up.
#include <cstdlib>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

static void keep(void *block) { asm volatile("" ::"r"(block) : "memory"); }

namespace work {

void first() {
    std::thread thread([] {
        for (int i = 0; i < 10; i++) keep(new char[1001]);
    });
    thread.join();
}

void second() {
    std::thread thread([] {
        for (int i = 0; i < 20; i++) keep(new char[2002]);
    });
    thread.join();
}

void task() {
    std::async(std::launch::async, [] {
        for (int i = 0; i < 30; i++) keep(new char[3003]);
    }).wait();
}

}

int main() {
    work::first();
    work::second();
    work::task();
    std::_Exit(0);
}
