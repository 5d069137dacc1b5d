// Memory resources (`std::pmr`), each asked for memory by a function of its own. `PLACE name` marks
// the line that asks.
#include <list>
#include <memory_resource>
#include <string>
#include <vector>

#define FRAME __attribute__((noinline))
// Behind an allocation, so that it is no jump out of the function that asked for it.
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

namespace store {
FRAME void *take_plain(std::pmr::memory_resource *upstream) {
    void *p = upstream->allocate(777, 8); // PLACE plain
    KEEP_FRAME();
    return p;
}
FRAME void *take_aligned(std::pmr::memory_resource *upstream) {
    void *p = upstream->allocate(4096, 256); // PLACE aligned
    KEEP_FRAME();
    return p;
}
FRAME void *take_buffer(std::pmr::monotonic_buffer_resource &buffer) {
    void *p = buffer.allocate(5000, 8); // PLACE buffer
    KEEP_FRAME();
    return p;
}
FRAME void *take_pooled(std::pmr::unsynchronized_pool_resource &pool) {
    void *p = pool.allocate(48, 8); // PLACE pooled
    KEEP_FRAME();
    return p;
}
FRAME void *take_large(std::pmr::unsynchronized_pool_resource &pool) {
    void *p = pool.allocate(8 << 20, 8); // PLACE large
    KEEP_FRAME();
    return p;
}
FRAME void *take_shared(std::pmr::synchronized_pool_resource &pool) {
    void *p = pool.allocate(48, 8); // PLACE shared
    KEEP_FRAME();
    return p;
}
FRAME void fill_vector(std::pmr::vector<long> &v) {
    v.reserve(1000); // PLACE vector
    KEEP_FRAME();
}
FRAME void fill_string(std::pmr::string &s) {
    s.assign(500, 'x'); // PLACE string
    KEEP_FRAME();
}
FRAME void fill_list(std::pmr::list<int> &l) {
    for (int i = 0; i < 10; i++) {
        l.push_back(i); // PLACE list
    }
}
} // namespace store

int main() {
    auto *upstream = std::pmr::new_delete_resource();
    static std::pmr::monotonic_buffer_resource buffer(upstream);
    static std::pmr::unsynchronized_pool_resource pool(upstream);
    static std::pmr::synchronized_pool_resource shared(upstream);
    static std::pmr::monotonic_buffer_resource of_list(upstream);
    static std::pmr::vector<long> numbers(upstream);
    static std::pmr::string text(upstream);
    static std::pmr::list<int> list(&of_list);
    bool all = store::take_plain(upstream) && store::take_aligned(upstream);
    all = all && store::take_buffer(buffer) && store::take_pooled(pool);
    all = all && store::take_large(pool) && store::take_shared(shared);
    store::fill_vector(numbers);
    store::fill_string(text);
    store::fill_list(list);
    // Nothing is given back: the end of the tape has it all.
    _Exit(all && list.size() == 10 ? 0 : 1);
}
