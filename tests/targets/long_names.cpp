// Three functions whose names differ behind byte 16,384 alone.
#include "target.h"
#include <utility>

struct Red {};
struct Green {};
struct Blue {};

template <class Numbers, class End> struct Deep {
    static FRAME void grab(int bytes) {
        static char *volatile block;
        block = new char[bytes];
        KEEP_FRAME();
    }
};

using Numbers = std::make_index_sequence<4000>;

int main(void) {
    Deep<Numbers, Red>::grab(1001);
    Deep<Numbers, Green>::grab(2002);
    Deep<Numbers, Blue>::grab(4004);
    return 0;
}
