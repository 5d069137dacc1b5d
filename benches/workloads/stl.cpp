// What the compiler proper compiles: a file that leans on the standard library's templates.
#include <algorithm>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

template <int N> struct Key {
    int value;
    bool operator<(const Key &other) const { return value < other.value; }
};

template <int N> int fill() {
    std::map<Key<N>, std::vector<std::string>> words;
    std::unordered_map<std::string, std::shared_ptr<std::tuple<int, Key<N>>>> known;
    for (int i = 0; i < N; i++) {
        words[Key<N>{i}].push_back(std::to_string(i));
        known[std::to_string(i)] = std::make_shared<std::tuple<int, Key<N>>>(i, Key<N>{i});
    }
    std::set<std::string, std::greater<>> sorted;
    for (const auto &[key, list] : words) sorted.insert(list.begin(), list.end());
    std::ostringstream text;
    std::copy(sorted.begin(), sorted.end(), std::ostream_iterator<std::string>(text, " "));
    std::function<int(int)> twice = [&](int x) { return x + static_cast<int>(known.size()); };
    return twice(static_cast<int>(text.str().size()));
}

int main() {
    std::regex number("[0-9]+(\\.[0-9]+)?");
    int sum = std::regex_match("12.5", number) ? 1 : 0;
    sum += fill<1>() + fill<2>() + fill<3>() + fill<4>();
    std::cout << sum << '\n';
}
