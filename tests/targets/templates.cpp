// A program whose symbols have every kind of name: it is compiled for its symbol table alone.
#include <algorithm>
#include <any>
#include <array>
#include <atomic>
#include <chrono>
#include <compare>
#include <cstdio>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <variant>
#include <vector>

namespace work {

enum class Color { red, green };
enum Plain { one = 1, minus = -1 };

struct Base {
    template <class T> explicit Base(T value, int = 0) : size(sizeof value) {}
    Base(const Base &) = default;
    virtual ~Base() = default;
    virtual Base *clone() const { return new Base(*this); }
    size_t size;
};

struct Other {
    virtual void other() {}
    virtual ~Other() = default;
};

struct Derived : Other, virtual Base {
    using Base::Base;
    Derived() : Base(1) {}
    Derived *clone() const override { return new Derived(*this); }
    void other() override {}
};

struct Everything {
    int member = 0;
    int (*pointer)(char) = nullptr;
    void plain() {}
    void constant() const noexcept {}
    void left() & {}
    void right() && {}
    void both() const volatile && {}
    operator bool() const { return true; }
    using Function = int (*)(char);
    operator Function() const { return pointer; }
    template <class T> operator std::vector<T>() const { return {}; }
    template <class T> operator T *() const { return nullptr; }
    auto operator<=>(const Everything &) const = default;
    int operator()(int value, int) { return value; }
    int operator[](std::string) { return 1; }
    template <class T> bool operator<(T) { return false; }
    template <class T> Everything &operator<<(T) { return *this; }
    Everything &operator,(int) { return *this; }
    Everything *operator->() { return this; }
    Everything &operator++() { return *this; }
    Everything operator++(int) { return *this; }
    static void *operator new(size_t size) { return ::operator new(size); }
    static void operator delete(void *block) { ::operator delete(block); }
};

long double operator""_unit(long double value) { return value; }
template <char... letters> int operator""_letters() { return sizeof...(letters); }

template <class T, std::enable_if_t<!std::is_class<T>::value, int> = 0> T pick(T value) { return
    value; }
template <class T> typename std::enable_if<std::is_class<T>::value, T>::type pick(T value) {
    return value; }
template <class... T> auto sum(T... values) -> decltype((values + ...)) { return (values + ...); }
template <class... T> std::enable_if_t<(std::is_integral_v<T> && ...), size_t> count(T...) {
    return sizeof...(T); }
template <class F, class... T> auto call(F &&function, T &&...values)
    -> decltype(std::forward<F>(function)(std::forward<T>(values)...)) {
    return std::forward<F>(function)(std::forward<T>(values)...);
}
template <class... A> struct Pack {
    template <class... B> static int both(A..., B...) { return sizeof...(A) + sizeof...(B); }
    template <class... B> static int pairs(std::pair<A, B>...) { return 0; }
};
template <template <class...> class T, class... A> T<A...> *made() { return nullptr; }
template <auto value> void constant() {}
template <Color color, Plain plain> void enums() {}
template <unsigned u, long l, unsigned long long ull, bool b, char c, short s, __int128 i> void
    numbers() {}
template <class T, size_t n> size_t length(T (&)[n]) { return n; }
template <class T> auto size_of(const T &value) -> decltype(value.size() + sizeof(T)) { return
    value.size(); }
template <class T> auto negative(T value) -> decltype(value.member, value->member, T{}) { return
    value; }
template <class T> auto cast(T value) -> decltype(static_cast<long>(value) ? (int)value :
    int(value)) { return 0; }
template <class T> auto made_new(T value) -> decltype(new T(value)) { return nullptr; }
template <class T> auto index(T value) -> decltype(value[0]) { return value[0]; }
template <class T> int (*returns_function(T))(char) { return nullptr; }
template <class T> int (&returns_array(T))[3] { static int array[3]; return array; }
template <class T> void takes(T, void (*)(std::set<T>), int (*const *)(T *, char)) {}
void arrays(int (*)[3], const char (&)[4][5], int (*(*)[2])(char)) {}
void members(int Everything::*, void (Everything::*)() const noexcept, int
    (*Everything::*)(char)) {}
void functions(void (*)() noexcept, void (&)(int, ...), int (*(*)(char))(long)) {}
void qualified(const char *const *, volatile int &, const volatile void *, int *__restrict) {}
void types(char8_t, char16_t, char32_t, wchar_t, long double, __float128, __int128, unsigned
    __int128,
           std::nullptr_t, _Complex float) {}
typedef float Vector __attribute__((vector_size(16)));
void vectors(Vector, Vector *) {}
inline namespace tagged __attribute__((abi_tag("tag"))) {
    struct Tagged {};
    Tagged make_tagged() { return {}; }
}
template <class T> requires std::is_integral_v<T> T constrained(T value) { return value; }

struct {
    struct Inner {};
    void take(int *) {}
} unnamed;

template <class T> void take(T) {}
template <class T> int local(T) {
    struct Local {
        int run(T value, Local *) {
            auto inner = [value](auto more, T) { return sizeof more + sizeof value; };
            return inner(std::string(), value);
        }
    };
    static const int limit = [] { return 3; }();
    Local it;
    return it.run(T(), &it) + limit;
}

struct Defaults {
    int run(int first = [] { return 1; }(), int second = [](std::string) { return 2; }("")) {
        return first + second; }
    std::function<int()> field = [] { return 1; };
};

template <class... T> struct Overloaded : T... { using T::operator()...; };
template <class... T> Overloaded(T...) -> Overloaded<T...>;

void lambdas() {
    auto by_value = [](std::string text, int) { return text; };
    auto generic = [](auto &&...values) { return sizeof...(values); };
    auto headed = []<class T, size_t n>(T, std::array<T, n>) { return n; };
    auto pointer = +[](int (*function)(char)) { return function == nullptr; };
    auto nested = [](auto first) { return [first](auto second) { return first + second; }; };
    by_value("", 1);
    generic(1, 2L, "three");
    headed(1, std::array<int, 2>());
    pointer(nullptr);
    nested(1)(2L);
    take([] {});
    take(by_value);
    auto [first, second] = std::pair(1, 2);
    static auto [third, fourth] = std::pair(first, second);
    take(third + fourth);
}

}

namespace {
struct Hidden {
    template <class T> void run(T) {}
};
}

using namespace work;

int main() {
    Base(Derived{}), Base(1.0, 2), Derived(3L).clone();
    Everything all;
    all.plain(), all.constant(), all.left(), Everything().right(), Everything().both();
    static_cast<void>(static_cast<bool>(all)), static_cast<std::vector<int>>(all),
        static_cast<long *>(all);
    static_cast<int (*)(char)>(all);
    all < 1, all << 2 << "x", (all, 1), all->plain(), ++all, all++, all(1, 2),
        all[std::string()], delete new Everything;
    1.0_unit, 12_letters;
    pick(1), pick(std::string()), sum(1, 2L), sum(1), count(), count(1, 2), call(sum<int, int>,
        1, 2);
    Pack<>::both(), Pack<int>::both(1), Pack<int, long>::both<char>(1, 2, 'c'), Pack<>::both(1);
    Pack<int, char>::pairs<long, short>({1, 2}, {'a', 3});
    made<std::tuple>(), made<std::vector, int>(), made<std::map, int, std::string>();
    constant<1>(), constant<2u>(), constant<'c'>(), constant<Color::green>(), constant<nullptr>();
    constant<&Everything::member>(), constant<&Everything::plain>(), constant<&work::lambdas>();
    enums<Color::red, minus>(), numbers<1, -2, 3, true, 'x', -4, 5>();
    int array[3] = {};
    length(array), size_of(std::string()), negative(all), cast(1), made_new(1), index(array);
    returns_function(1), returns_array(1), takes<int>(1, nullptr, nullptr);
    arrays(nullptr, {}, nullptr), members(nullptr, nullptr, nullptr);
    qualified(nullptr, array[0], nullptr, nullptr), vectors(Vector(), nullptr), make_tagged(),
        constrained(1);
    unnamed.take(nullptr), take(unnamed), take(decltype(unnamed)::Inner()), local(1), local(2.0);
    Defaults().run(), Defaults().field(), lambdas(), Hidden().run([] {}), Hidden().run(Hidden());

    std::function<std::string(int)> function = [](int) { return std::string(); };
    auto bound = std::bind(&Everything::operator(), &all, std::placeholders::_1, 3);
    std::mem_fn(&Everything::plain)(all), bound(1), function(1);
    std::thread([](std::unique_ptr<int>) {}, std::make_unique<int>(1)).join();
    std::async(std::launch::async, [] { return 1; }).get();
    auto shared = std::make_shared<Derived>();
    std::weak_ptr<Base> weak = shared;
    std::variant<int, std::string, std::vector<int>> variant = "text";
    std::visit(Overloaded{[](int) {}, [](const std::string &) {}, [](auto &&) {}}, variant);
    std::optional<std::any> any = std::any(std::string());
    std::regex_match("abc", std::regex("a(b|c)*", std::regex::icase));
    std::pmr::vector<std::pmr::string> strings(1, "x", std::pmr::get_default_resource());
    std::map<std::string, std::set<int>> map{{"a", {1}}};
    std::unordered_map<int, std::tuple<int, char>> table{{1, {2, 'c'}}};
    std::vector<int> vector{3, 1, 2};
    std::sort(vector.begin(), vector.end(), [](auto a, auto b) { return a > b; });
    std::stable_sort(vector.begin(), vector.end(), std::greater<>());
    std::ostringstream() << map.size() << table.size() << std::chrono::seconds(1).count();
    std::once_flag once;
    std::call_once(once, [] {});
}
