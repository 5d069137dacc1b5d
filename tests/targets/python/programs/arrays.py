"""Arrays of numpy: their memory is the C library's, told to tracemalloc as a domain of its own."""
import numpy

kept = []


def made():
    kept.append([numpy.zeros(1000 + i) for i in range(200)])
    kept.append(numpy.arange(100_000).reshape(100, 1000))
    kept.append(numpy.ones((50, 60), dtype="float32") * 2.5)


def computed():
    values = numpy.linspace(0, 1, 5000)
    kept.append(numpy.sin(values) + numpy.cos(values))
    kept.append(numpy.sort(values[::-1]))
    kept.append([numpy.outer(values[:40], values[:i + 30]) for i in range(50)])
    kept.append(numpy.concatenate([values] * 5))
    kept.append(numpy.vectorize(lambda value: value * 2)(values[:300]))


def grown():
    array = numpy.empty(2000)
    for size in range(2000, 6000, 500):
        array = numpy.resize(array, size)
    kept.append(array)
    text = numpy.array(["text %d" % i for i in range(500)])
    kept.append(numpy.char.upper(text))
    objects = numpy.empty(300, dtype=object)
    for i in range(300):
        objects[i] = [i, str(i)]
    kept.append(objects)


made()
computed()
grown()
