"""Calls a module that Cython made, which calls back: through_cython.py; the module is on the
path."""
import shapes

kept = []


def called_back(value):
    kept.append([value, str(value)])
    return bytearray(value + 100)


kept.append(shapes.texts(300))
kept.append([shapes.Shape(i) for i in range(300)])
kept.append(shapes.each(called_back, 200))
kept.append(list(shapes.generated(150)))
kept.append([shapes.Shape(3).grown(i) for i in range(50)])
kept.append(sorted(range(100), key=lambda value: shapes.texts(value)))
