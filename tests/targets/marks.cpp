// The same in C++.
#include "marks.c"
