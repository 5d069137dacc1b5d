// Compresses what it is given and decompresses it again: linked with zstd and libFuzzer, both
// built by the compilers whose work is looked at.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "zstd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int level : {1, 3, 9, 19}) {
        std::vector<uint8_t> packed(ZSTD_compressBound(size));
        size_t length = ZSTD_compress(packed.data(), packed.size(), data, size, level);
        if (ZSTD_isError(length)) {
            abort();
        }
        std::vector<uint8_t> unpacked(size);
        size_t back = ZSTD_decompress(unpacked.data(), size, packed.data(), length);
        if (back != size || !std::equal(unpacked.begin(), unpacked.end(), data)) {
            abort();
        }
        printf("level %d: %zu bytes from %zu\n", level, length, size);
    }
    fflush(stdout);
    return 0;
}
