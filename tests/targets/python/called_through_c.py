"""Each function here keeps one block of a size of its own; the comments say through what C code
it is called. (An object of bytes is one block, 33 bytes larger than what it holds.)"""
import ctypes
import functools


class Holder:
    def __init__(self, size):  # type_call
        self.block = bytes(size - 32)


def mapped(size):  # map_next
    return bytes(size - 32)


def keyed(size):  # list_sort
    keep.append(bytes(size - 32))
    return size


def reduced(before, size):  # functools_reduce
    return before + [bytes(size - 32)]


def generated(size):  # list_extend
    yield bytes(size - 32)


def plain(size):
    return bytes(size - 32)


def outer(size):
    return plain(size)


keep = []


def run():
    keep.append(Holder(100_001))
    keep.extend(map(mapped, [100_003]))
    sorted([100_005], key=keyed)
    keep.append(functools.reduce(reduced, [100_007], []))
    keep.append(list(generated(100_009)))
    keep.append(outer(100_011))


run()
mark = getattr(ctypes.CDLL(None), "heaptape_mark", None)
if mark is not None:
    mark(b"done")
