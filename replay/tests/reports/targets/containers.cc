// Each function makes one container grow. The allocation's place is the line marked "HERE name".
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

extern "C" void probe_start(const char *tag);
extern "C" void probe_stop();

#define OUTLINE __attribute__((noinline))
static volatile int sink;

OUTLINE void fill_vector(int n) {
  std::vector<int> v;
  for (int i = 0; i < n; i++)
    v.push_back(i);  // HERE vector
  sink = v.back();
}

OUTLINE void fill_string(const char *word, int n) {
  std::string s;
  for (int i = 0; i < n; i++)
    s += word;  // HERE string
  sink = s[3];
}

OUTLINE void fill_map(int n) {
  std::map<int, std::string> m;
  for (int i = 0; i < n; i++)
    m[i];  // HERE map
  sink = m.size();
}

OUTLINE void fill_unordered(int n) {
  std::unordered_map<int, long> m;
  for (int i = 0; i < n; i++)
    m.emplace(i, i);  // HERE unordered
  sink = m.size();
}

OUTLINE void fill_list(int n) {
  std::list<long> l;
  l.resize(n);  // HERE list
  sink = l.size();
}

struct Node {
  long values[9];
};

OUTLINE void make_shared_node() {
  auto node = std::make_shared<Node>();  // HERE shared
  sink = node->values[0];
}

OUTLINE void plain_new(int n) {
  char *block = new char[n];  // HERE new
  sink = block[0];
  delete[] block;
}

OUTLINE void c_strings(const char *text) {
  char *copy = strdup(text);  // HERE strdup
  sink = copy[0];
  free(copy);
}

OUTLINE void formatted(int n) {
  char *text = nullptr;
  int length = asprintf(&text, "%d and more", n);  // HERE asprintf
  sink = length + text[0];
  free(text);
}

namespace app {
struct Deep {
  std::vector<std::string> names;
  // Inlined into its caller: an inlined frame is the place.
  inline __attribute__((always_inline)) void add(const char *name) {
    names.emplace_back(name);  // HERE inlined
  }
};
}  // namespace app

namespace {
OUTLINE void hidden(const char *name) {
  app::Deep deep;
  deep.add(name);
  sink = deep.names.size();
}
}  // namespace

template <typename T>
OUTLINE T *generic(int n) {
  return new T[n]();  // HERE generic
}

OUTLINE void closure(int n) {
  std::function<void(int)> grow = [](int size) {
    void *block = malloc(size);  // HERE lambda
    sink = reinterpret_cast<long>(block) >> 4;
    free(block);
  };
  grow(n);
}

#define PROBED(name, call) \
  probe_start(name);       \
  call;                    \
  probe_stop();

int main() {
  PROBED("vector", fill_vector(1000))
  PROBED("string", fill_string("some words ", 200))
  PROBED("map", fill_map(50))
  PROBED("unordered", fill_unordered(50))
  PROBED("list", fill_list(20))
  PROBED("shared", make_shared_node())
  PROBED("new", plain_new(77))
  PROBED("strdup", c_strings("a text that is copied"))
  PROBED("asprintf", formatted(12345))
  PROBED("inlined", hidden("a name that is too long for the string itself"))
  PROBED("generic", delete[] generic<double>(9))
  PROBED("lambda", closure(333))
  return 0;
}
