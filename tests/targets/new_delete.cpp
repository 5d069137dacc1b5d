// Allocations by operator new in all its forms, in functions that the test knows by name. With an
// argument, one that fails by an exception.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

struct alignas(64) Wide {
    char bytes[128];
};

static void *kept[64];
static int keeps;

extern "C" __attribute__((noinline)) void keep_new(int count) {
    for (int i = 0; i < count; i++) kept[keeps++] = ::operator new(48);
}

extern "C" __attribute__((noinline)) void keep_array(int count) {
    for (int i = 0; i < count; i++) kept[keeps++] = new char[1000];
}

extern "C" __attribute__((noinline)) void keep_aligned(int count) {
    for (int i = 0; i < count; i++) kept[keeps++] = new Wide;
}

extern "C" __attribute__((noinline)) void keep_nothrow(int count) {
    for (int i = 0; i < count; i++) kept[keeps++] = ::operator new(24, std::nothrow);
}

extern "C" __attribute__((noinline)) void churn_new(int count) {
    for (int i = 0; i < count; i++) {
        ::operator delete(::operator new(32));
        // Volatile, or the compiler leaves both calls out.
        char *volatile array = new char[64];
        delete[] array;
        Wide *volatile wide = new Wide;
        delete wide;
        // What new handed out, free takes where both are one allocator's.
        std::free(::operator new(16));
    }
}

extern "C" __attribute__((noinline)) void containers() {
    std::vector<int> numbers;
    std::map<int, std::string> names;
    for (int i = 0; i < 1000; i++) {
        numbers.push_back(i);
        names[i] = std::string(100, 'x');
    }
    std::printf("%zu %zu\n", numbers.size(), names.size());
}

// Deeper than the call that threw: what that call left behind must not hide these.
extern "C" __attribute__((noinline)) void deep_after_throw(int depth) {
    volatile char room[512];
    room[0] = static_cast<char>(depth);
    if (depth > 0) {
        deep_after_throw(depth - 1);
        room[1] = room[0];
        return;
    }
    for (int i = 0; i < 7; i++) kept[keeps++] = ::operator new(80);
}

extern "C" __attribute__((noinline)) void throws() {
    volatile std::size_t huge = std::size_t{1} << 60;
    for (int i = 0; i < 5; i++) {
        try {
            std::printf("%p\n", ::operator new(huge));
        } catch (const std::bad_alloc &) {
            std::puts("caught");
        }
    }
}

int main(int count, char **) {
    keep_new(10);
    keep_array(3);
    keep_aligned(4);
    keep_nothrow(5);
    churn_new(100);
    containers();
    if (count > 1) {
        throws();
        deep_after_throw(3);
    }
    std::puts("done");
    return 0;
}
