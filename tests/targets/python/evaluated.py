"""A thousand functions, each made, called once and dropped: their code objects take each other's
places. Each keeps one block, whose size is its name."""
import ctypes

keep = []
for size in range(2000, 6000, 4):
    names = {"keep": keep}
    exec("def f%d():\n    keep.append(bytearray(%d))\nf%d()" % (size, size, size), names)
mark = getattr(ctypes.CDLL(None), "heaptape_mark", None)
if mark is not None:
    mark(b"done")
