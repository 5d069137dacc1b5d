"""A thousand functions, each made, called once and dropped: their code objects take each other's
places. Each keeps one block, whose size is its name."""
import ctypes

keep = []
for size in range(2000, 6000, 4):
    names = {"keep": keep}
    exec("def f%d():\n    keep.append(bytes(%d - 32))\nf%d()" % (size, size, size), names)
# The same bytes in memory, and another width of character: another name, another file.
for name, file, size in [("g", "abcd", 70_005), ("g", "\u6261\u6463", 70_007)]:
    code = compile("def %s(): keep.append(bytes(%d - 32))\n%s()" % (name, size, name), file, "exec")
    exec(code, {"keep": keep})
mark = getattr(ctypes.CDLL(None), "heaptape_mark", None)
if mark is not None:
    mark(b"done")
