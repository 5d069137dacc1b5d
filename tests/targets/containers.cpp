// C++ containers, each filled by a function of its own. `PLACE name` marks the line that grows it.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#define FRAME __attribute__((noinline))
// Behind an allocation, so that it is no jump out of the function that asked for it.
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

namespace store {
FRAME void fill_vector(std::vector<long> &v) {
    v.reserve(1000); // PLACE vector-reserve
    KEEP_FRAME();
}
FRAME void grow_vector(std::vector<long> &v) {
    for (int i = 0; i < 64; i++) {
        v.push_back(i); // PLACE vector-push
    }
}
FRAME void fill_string(std::string &s) {
    s.assign(500, 'x'); // PLACE string
    KEEP_FRAME();
}
FRAME void fill_map(std::map<int, int> &m) {
    for (int i = 0; i < 10; i++) {
        m[i] = i; // PLACE map
    }
}
FRAME void fill_table(std::unordered_map<int, int> &m) {
    for (int i = 0; i < 10; i++) {
        m.emplace(i, i); // PLACE unordered-map
    }
}
FRAME std::shared_ptr<long> make_number() {
    return std::make_shared<long>(7); // PLACE number
}

FRAME std::function<long()> make_function(long a, long b) {
    return [a, b, sum = a + b] { return a * b * sum; }; // PLACE function
}

FRAME std::shared_ptr<int[16]> make_shared() {
    return std::make_shared<int[16]>(); // PLACE shared
}
FRAME char *make_new() {
    char *p = new char[333]; // PLACE new
    KEEP_FRAME();
    return p;
}
template <typename T> struct Holder {
    T *value;
    FRAME void keep() {
        value = new T(); // PLACE template
    }
};
} // namespace store

int main() {
    static std::vector<long> reserved, grown;
    static std::string text;
    static std::map<int, int> ordered;
    static std::unordered_map<int, int> table;
    static std::shared_ptr<int[16]> shared;
    static char *plain;
    static store::Holder<std::map<std::string, long>> holder;
    store::fill_vector(reserved);
    store::grow_vector(grown);
    store::fill_string(text);
    store::fill_map(ordered);
    store::fill_table(table);
    shared = store::make_shared();
    static std::shared_ptr<long> number = store::make_number();
    static std::function<long()> function = store::make_function(2, 3);
    plain = store::make_new();
    holder.keep();
    // Nothing is given back: the end of the tape has it all.
    _Exit(plain && shared && *number == 7 && function() == 30 && holder.value ? 0 : 1);
}
