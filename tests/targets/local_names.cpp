// Functions with internal linkage whose names debug information spells otherwise than symbols, and
// namespaces that are called like crates of Rust.
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#define NOINLINE __attribute__((noinline))

static void *volatile kept[16];

// No call is the last thing that its function does; and no function of ours is inlined.
#define KEEP(bytes)                                                                                \
    do {                                                                                           \
        kept[(bytes) % 16] = malloc(bytes);                                                        \
        kept[0] = nullptr;                                                                         \
    } while (0)

namespace {
struct Local {
    NOINLINE operator unsigned long() {
        KEEP(1004);
        return 1;
    }
    NOINLINE operator std::vector<int>() {
        KEEP(1005);
        return {};
    }
};

template <class T> NOINLINE void operator_helper(T) { KEEP(1007); }

NOINLINE long operator""_kept(unsigned long long) {
    KEEP(1008);
    return 1;
}
} // namespace

namespace core {
struct Engine {
    NOINLINE void load() { KEEP(1009); }
};
} // namespace core

namespace alloc::boxed {
NOINLINE void pool(int) { KEEP(1010); }
} // namespace alloc::boxed

namespace hashbrown {
template <class T> struct Table {
    NOINLINE void fill() const { KEEP(1011); }
};
} // namespace hashbrown

int main() {
    auto first = [](auto) NOINLINE { KEEP(1001); };
    auto second = [](auto given) NOINLINE { KEEP(sizeof(given) == 8 ? 1002 : 1003); };
    first(size_t(1));
    second(size_t(1));
    second(std::pair<std::string, int>());
    Local local;
    volatile unsigned long number = local;
    std::vector<int> list = local;
    operator_helper(number);
    core::Engine().load();
    alloc::boxed::pool(int(1_kept));
    hashbrown::Table<int>().fill();
    return list.empty() ? 0 : 1;
}
