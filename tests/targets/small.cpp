// A small C++ file that brings in much of the standard library: something to compile.
#include <map>
#include <string>
#include <vector>
template <int N> struct Table { std::map<std::string, std::vector<int>> rows; int sum() const { int s = N; for (auto &r : rows) for (int v : r.second) s += v; return s; } };
int main() { Table<1> a; Table<2> b; a.rows["x"].push_back(1); b.rows["y"].push_back(2); return a.sum() + b.sum(); }
