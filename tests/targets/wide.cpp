// What makes lines wide: long names, names that are not ASCII, huge amounts, many digits.
#include "heaptape.h"
#include "target.h"
#include <map>
#include <string>
#include <vector>

namespace a_namespace_of_a_long_name::and_another_one {
template <class Key, class Value> struct MapOfManyVectors {
    std::map<Key, std::vector<Value>> inner;
    FRAME void insert_all_of(const std::map<Key, Value> &other) {
        for (auto &[key, value] : other) {
            inner[key].assign(10, value);
        }
        KEEP_FRAME();
    }
};

FRAME void größe_und_割り当て(void) {
    static void *volatile one;
    one = malloc(1);
    KEEP_FRAME();
}
} // namespace a_namespace_of_a_long_name::and_another_one

using namespace a_namespace_of_a_long_name::and_another_one;

int main(void) {
    MapOfManyVectors<std::string, std::string> all;
    std::map<std::string, std::string> some;
    for (int i = 0; i < 50; i++) {
        some["a key with more than sixteen letters " + std::to_string(i)] = "a value of its own";
    }
    heaptape_mark("a mark with a name of some length, which needs room of its own");
    all.insert_all_of(some);
    größe_und_割り当て();
    uint16_t pool = heaptape_domain("a pool with a name of some length, which needs its room");
    heaptape_report_alloc(pool, (void *)0x1000, (size_t)12345 << 40);
    heaptape_report_alloc(pool, (void *)0x2000, 1 << 20);
    heaptape_mark("");
    heaptape_mark("");
    say("made\n");
    return 0;
}
