// Frames of many shapes in C++: exceptions in flight, destructors, templates, closures.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using Descend = void (*)(std::uint32_t depth, std::uint64_t seed);

#define KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

namespace {

struct Goes {
    std::uint32_t depth;
    std::uint64_t seed;
    Descend descend;
    ~Goes() {
        descend(depth, seed);
        KEEP(this);
    }
};

[[gnu::noinline]] void throws(std::uint64_t seed) {
    if (seed % 2 == 0) throw std::runtime_error("even");
    throw seed;
}

// The destructor runs while the exception passes through this frame.
[[gnu::noinline]] void passed_through(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    Goes goes{depth, seed, descend};
    KEEP(&goes);
    throws(seed);
}

template <int N>
struct Deep {
    [[gnu::noinline]] static std::uint64_t go(std::uint32_t depth, std::uint64_t seed,
                                              Descend descend) {
        std::uint64_t below = Deep<N - 1>::go(depth, seed, descend);
        KEEP(&below);
        return below + N;
    }
};

template <>
struct Deep<0> {
    [[gnu::noinline]] static std::uint64_t go(std::uint32_t depth, std::uint64_t seed,
                                              Descend descend) {
        descend(depth, seed);
        return seed;
    }
};

struct Base {
    virtual ~Base() = default;
    virtual void run(std::uint32_t depth, std::uint64_t seed, Descend descend) = 0;
};

struct Left {
    virtual ~Left() = default;
    virtual void other() {}
    std::uint64_t padding = 0;
};

// Called through a thunk that adjusts `this`.
struct Both : Left, Base {
    void run(std::uint32_t depth, std::uint64_t seed, Descend descend) override {
        KEEP(this);
        descend(depth, seed);
        KEEP(this);
    }
};

}  // namespace

extern "C" {

void shape_catch(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    try {
        throws(seed);
    } catch (const std::exception &error) {
        descend(depth, seed);
        KEEP(&error);
    } catch (std::uint64_t value) {
        descend(depth, value);
        KEEP(&value);
    }
}

void shape_unwinding(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    try {
        passed_through(depth, seed, descend);
    } catch (...) {
        KEEP(&depth);
    }
}

void shape_rethrown(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    try {
        try {
            throws(seed);
        } catch (...) {
            Goes goes{depth, seed, descend};
            KEEP(&goes);
            throw;
        }
    } catch (...) {
        KEEP(&seed);
    }
}

void shape_templates(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    auto sum = Deep<12>::go(depth, seed, descend);
    KEEP(&sum);
}

void shape_function_object(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    std::string text(40, 'x');
    std::function<void()> inner = [&] { descend(depth, seed); KEEP(&text); };
    std::function<void()> outer = [inner] { inner(); KEEP(&inner); };
    outer();
    KEEP(&outer);
}

void shape_virtual(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    std::unique_ptr<Base> object = std::make_unique<Both>();
    object->run(depth, seed, descend);
    KEEP(object.get());
}

void shape_algorithm(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    std::vector<int> numbers{5, 2, 8, 1, 9, 3};
    bool is_done = false;
    std::sort(numbers.begin(), numbers.end(), [&](int left, int right) {
        if (!is_done) {
            is_done = true;
            descend(depth, seed);
        }
        return left < right;
    });
    KEEP(numbers.data());
}

void shape_tree(std::uint32_t depth, std::uint64_t seed, Descend descend) {
    struct Compare {
        std::function<void()> *hook;
        bool operator()(int left, int right) const {
            if (*hook) {
                auto call = std::move(*hook);
                *hook = nullptr;
                call();
            }
            return left < right;
        }
    };
    std::function<void()> hook;
    std::map<int, std::string, Compare> tree(Compare{&hook});
    for (int i = 0; i < 8; i++) tree[i] = "x";
    hook = [&] { descend(depth, seed); };
    tree[4] = "y";
    KEEP(&tree);
}

}
