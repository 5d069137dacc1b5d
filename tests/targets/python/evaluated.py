"""A thousand functions, each made, called once and dropped: their code objects take each other's
places. Each keeps one block, whose size is its name."""
keep = []
for size in range(2000, 3000):
    names = {"keep": keep}
    exec("def f%d():\n    keep.append(bytearray(%d))\nf%d()" % (size, size, size), names)
