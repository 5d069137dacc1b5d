# cython: language_level=3
"""What programs/through_cython.py calls."""


def texts(int count):
    cdef int i
    found = []
    for i in range(count):
        found.append("text %d" % i)
    return found


def each(function, int count):
    return [function(i) for i in range(count)]


def generated(int count):
    cdef int i
    for i in range(count):
        yield {"number": i, "texts": texts(3)}


cdef class Shape:
    cdef public list corners
    cdef int count

    def __init__(self, int count):
        self.count = count
        self.corners = [(i, i * 2.5) for i in range(count % 7)]

    def grown(self, int by):
        self.corners.extend([(by, float(i)) for i in range(by)])
        return Shape(self.count + by)
