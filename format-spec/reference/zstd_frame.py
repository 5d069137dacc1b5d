"""Decompresses one zstd frame (SPEC.md §4.2) with whatever this machine has.

`compression.zstd` of Python 3.14, the `zstandard` module, or libzstd itself. `one_zstd_frame(stored,
length)` gives the bytes of the frame, at most about `length` of them, or None when `stored` is not
exactly one frame or holds more.
"""

import ctypes
import ctypes.util
import io
import sys


def zstd_of_python(module):
    def one_frame(stored, length):
        decompressor = module.ZstdDecompressor()
        try:
            payload = decompressor.decompress(stored, length + 1)
        except module.ZstdError:
            return None
        return payload if decompressor.eof and not decompressor.unused_data else None

    return one_frame


def zstd_of_zstandard(module):
    def one_frame(stored, length):
        try:
            with module.ZstdDecompressor().stream_reader(io.BytesIO(stored)) as reader:
                if len(reader.read(length + 1)) > length:
                    return None
            frame = module.ZstdDecompressor().decompressobj()
            payload = frame.decompress(stored)
        except module.ZstdError:
            return None
        return payload if frame.eof and not frame.unused_data else None

    return one_frame


def zstd_of_library(name):
    library = ctypes.CDLL(name)
    for function in ("ZSTD_findFrameCompressedSize", "ZSTD_decompress"):
        getattr(library, function).restype = ctypes.c_size_t
    library.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_decompress.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]

    def one_frame(stored, length):
        # Errors are sizes near 2^64.
        if library.ZSTD_findFrameCompressedSize(stored, len(stored)) != len(stored):
            return None
        payload = ctypes.create_string_buffer(max(length, 1))
        found = library.ZSTD_decompress(payload, length, stored, len(stored))
        return payload.raw[:found] if found <= length else None

    return one_frame


def find_zstd():
    try:
        from compression import zstd

        return zstd_of_python(zstd)
    except ImportError:
        pass
    try:
        import zstandard

        if hasattr(zstandard.ZstdDecompressor().decompressobj(), "unused_data"):
            return zstd_of_zstandard(zstandard)
    except ImportError:
        pass
    for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
        try:
            if name:
                return zstd_of_library(name)
        except OSError:
            pass
    sys.exit("decode.py: no zstd: install libzstd1, or the zstandard module of Python")


one_zstd_frame = find_zstd()
