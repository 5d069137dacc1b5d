// Templates of the standard library with conditions in their mangled names.
#include <array>
#include <cstdlib>
#include <functional>
#include <memory>

namespace work {

struct Wide {
    char bytes[1001];
};

void *volatile sink;

void share() {
    static auto wide = std::make_shared<Wide>();
    sink = wide.get();
}

void assign() {
    static std::function<void()> action;
    std::array<char, 301> captured{};
    action = [captured] { sink = (void *)&captured; };
}

}

int main() {
    work::share();
    work::assign();
    std::_Exit(0);
}
